#include "base/test.h"
#include "wire/json_scan_build.h"

#include "base/alloc.h"
#include "base/buf.h"

static uint32_t random_below(uint32_t n)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % n;
}

static void put_space(struct buf *out)
{
	if (random_below(4) == 0)
		buf_putc(out, " \n\t\r"[random_below(4)]);
}

static void put_random_string(struct buf *out)
{
	static const char *const parts[] = { "a",
					     "plain text of some length",
					     "\xc3\xa9",
					     "\xe2\x82\xac",
					     "\xf0\x9f\x98\x80",
					     "\\n",
					     "\\u0041",
					     "\\ud83d\\ude00",
					     "\\\\",
					     "\\\"",
					     "\\/",
					     "\\u00e9",
					     "\x7f" };
	buf_putc(out, '"');
	for (uint32_t n = random_below(6); n > 0; n--)
		buf_puts(out, parts[random_below(ARRAY_SIZE(parts))]);
	buf_putc(out, '"');
}

static void put_random(struct buf *out, int depth)
{
	static const char *const scalars[] = { "true",
					       "false",
					       "null",
					       "0",
					       "-0",
					       "12",
					       "-9223372036854775808",
					       "1.5",
					       "-2.25e-3",
					       "1E+5",
					       "123456789.123456789",
					       "0.1" };
	uint32_t kind = random_below(depth ? 4 : 2);
	put_space(out);
	if (kind == 0) {
		buf_puts(out, scalars[random_below(ARRAY_SIZE(scalars))]);
	} else if (kind == 1) {
		put_random_string(out);
	} else {
		buf_putc(out, kind == 2 ? '[' : '{');
		uint32_t count = random_below(5);
		for (uint32_t i = 0; i < count; i++) {
			if (i)
				buf_putc(out, ',');
			put_space(out);
			if (kind == 3) {
				put_random_string(out);
				put_space(out);
				buf_putc(out, ':');
			}
			put_random(out, depth - 1);
		}
		put_space(out);
		buf_putc(out, kind == 2 ? ']' : '}');
	}
	put_space(out);
}

/* As jansson takes or refuses it, whole and in pieces of each size. */
static void compare(const char *text, size_t len)
{
	char why[JSON_SCAN_WHY_MAX], why_cut[JSON_SCAN_WHY_MAX];
	bool unlike;
	_cleanup_json_ json_t *theirs = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	_cleanup_json_ json_t *whole = json_scan_build(text, len, len + 1, why, &unlike);
	if (unlike)
		return;
	if (!whole != !theirs || (whole && !json_equal(whole, theirs)))
		fail_msg("%.*s: %s", (int)len, text, whole ? "another document" : why);
	static const size_t pieces[] = { 1, 2, 3, 5, 8, 13 };
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		_cleanup_json_ json_t *cut = json_scan_build(text, len, pieces[i], why_cut, &unlike);
		if (!cut != !whole || (whole && !json_equal(whole, cut)) || strcmp(why, why_cut) != 0)
			fail_msg("%.*s: in pieces of %zu: %s, but whole: %s", (int)len, text, pieces[i], why_cut, why);
	}
}

static void test_random_documents(void **state)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	for (int i = 0; i < 1500; i++) {
		buf_clear(&text);
		put_random(&text, 5);
		compare(text.data, text.len);
		/* And damaged: a byte changed, left out, or the end cut off. */
		size_t at = random_below((uint32_t)text.len);
		switch (i % 3) {
		case 0:
			text.data[at] = "\"\\[]{},:01-.eEtfn\x01\xff\xc3\xa9 u"[random_below(23)];
			break;
		case 1:
			memmove(text.data + at, text.data + at + 1, text.len - at);
			text.len--;
			break;
		default:
			text.len = at;
		}
		compare(text.data, text.len);
	}
	buf_done(&text);
}

static void test_limits(void **state)
{
	struct json_scan scan;
	char text[2 * SCAN_DEPTH_MAX + 4];
	for (uint32_t depth = 1; depth <= SCAN_DEPTH_MAX; depth += 73) {
		memset(text, '[', depth + 1);
		memset(text + depth + 1, ']', depth + 1);
		assert_true(json_scan_check(&scan, (struct str){ text + 1, 2 * depth }, depth));
		assert_false(json_scan_check(&scan, (struct str){ text, 2 * depth + 2 }, depth));
		assert_int_equal(scan.error_offset, depth);
	}
	char number[SCAN_NUMBER_MAX + 3];
	memset(number, '1', sizeof(number));
	assert_true(json_scan_check(&scan, (struct str){ number, SCAN_NUMBER_MAX }, 1));
	assert_false(json_scan_check(&scan, (struct str){ number, SCAN_NUMBER_MAX + 1 }, 1));
	number[SCAN_NUMBER_MAX] = ' ';
	assert_true(json_scan_check(&scan, (struct str){ number, SCAN_NUMBER_MAX + 1 }, 1));
}

static void test_offsets(void **state)
{
	static const struct {
		const char *text;
		uint64_t offset;
	} rows[] = {
		{ "[1,x]", 3 },	     { "[1,,2]", 3 }, { "{\"a\" 1}", 5 },
		{ "{1:2}", 1 },	     { "[1}", 2 },    { "{\"a\":1]", 6 },
		{ "[01]", 1 },	     { "[1.e1]", 1 }, { "[\"a\\x\"]", 3 },
		{ "[\"\x80\"]", 2 }, { "[truf]", 4 }, { "1 2", 2 },
		{ "", 0 },	     { "[", 1 },      { "\"a", 2 },
		{ "[1,2", 5 },	     { "{\"a\"", 4 }, { "[\"\\ud800\\u0041\"]", 2 },
	};
	struct json_scan scan;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_false(json_scan_check(&scan, str_of(rows[i].text), 8));
		if (scan.error_offset != rows[i].offset)
			fail_msg("%s: %llu", rows[i].text, (unsigned long long)scan.error_offset);
		assert_non_null(scan.why);
		assert_int_equal(json_scan_next(&scan), SCAN_ERROR);
	}
}

TEST_MAIN(cmocka_unit_test(test_random_documents), cmocka_unit_test(test_limits), cmocka_unit_test(test_offsets))
