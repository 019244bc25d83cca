#include "base/test.h"
#include "wire/base64.h"

static enum base64_result decode(const char *text, size_t piece, struct arena *arena, struct str *ret)
{
	struct sink sink;
	struct base64_decoder decoder = { 0 };
	sink_init(&sink, arena);
	for (size_t at = 0, len = strlen(text); at < len; at += piece) {
		enum base64_result result =
			base64_decode(&decoder, &sink, (struct str){ text + at, MIN(piece, len - at) });
		if (result != BASE64_OK)
			return result;
	}
	*ret = (struct str){ (char *)sink.data, 0 };
	enum base64_result result = base64_finish(&decoder, &sink);
	*ret = (struct str){ (char *)sink.data, sink.len };
	return result;
}

static void test_decode(void **state)
{
	static const struct {
		const char *text, *bytes; /* NULL: refused */
	} rows[] = {
		{ "", "" },	    { "Zg==", "f" },	  { "Zg", "f" },	  { "Zm8=", "fo" },
		{ "Zm8", "fo" },    { "Zm9v", "foo" },	  { "Zm9vYg==", "foob" }, { "+/+/", "\xfb\xff\xbf" },
		{ "Z", NULL },	    { "Zg=", NULL },	  { "Zg===", NULL },	  { "Zm8==", NULL },
		{ "=", NULL },	    { "Z===", NULL },	  { "Zh==", NULL },	  { "Zm9=", NULL },
		{ "Zm9v=", NULL },  { "Zg==Zg==", NULL }, { "Zm 9v", NULL },	  { "Zm-_", NULL },
		{ "Zm9v\n", NULL },
	};
	struct arena arena;
	arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t piece = 1; piece < 6; piece++) {
			struct str bytes;
			enum base64_result result = decode(rows[i].text, piece, &arena, &bytes);
			if (result != (rows[i].bytes ? BASE64_OK : BASE64_BAD))
				fail_msg("\"%s\" in pieces of %zu", rows[i].text, piece);
			if (rows[i].bytes) {
				assert_int_equal(bytes.len, strlen(rows[i].bytes));
				assert_int_equal(bytes.len && memcmp(bytes.data, rows[i].bytes, bytes.len), 0);
			}
		}
	arena_done(&arena);
}

static void test_round_trip(void **state)
{
	uint8_t data[300];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + i / 7);
	for (size_t len = 0; len <= sizeof(data); len++) {
		struct arena arena;
		struct buf text;
		struct str bytes;
		arena_init(&arena, 1 << 20);
		buf_init(&text, 1000);
		assert_true(base64_encode(&text, data, len));
		assert_int_equal(text.len, (len + 2) / 3 * 4);
		assert_int_equal(decode(text.data, 1 + len % 50, &arena, &bytes), BASE64_OK);
		assert_int_equal(bytes.len, len);
		assert_int_equal(len && memcmp(bytes.data, data, len), 0);
		buf_done(&text);
		arena_done(&arena);
	}
}

TEST_MAIN(cmocka_unit_test(test_decode), cmocka_unit_test(test_round_trip))
