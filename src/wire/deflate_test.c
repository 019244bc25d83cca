#include "base/test.h"

#include "wire/deflate.h"

static void chooses_what_is_accepted(void **state)
{
	static const struct {
		const char *header;
		enum coding expect;
	} cases[] = {
		{ NULL, CODING_IDENTITY },
		{ "", CODING_IDENTITY },
		{ "identity", CODING_IDENTITY },
		{ "br", CODING_IDENTITY },
		{ "gzip, deflate", CODING_GZIP },
		{ "deflate, gzip", CODING_GZIP },
		{ "Deflate", CODING_DEFLATE },
		{ "x-gzip", CODING_GZIP },
		{ "gzip;q=0, deflate", CODING_DEFLATE },
		{ "gzip;q=0", CODING_IDENTITY },
		{ "gzip;q=0.000,*;q=0", CODING_IDENTITY },
		{ "deflate;q=0.9,gzip; q=0.25", CODING_DEFLATE },
		{ "gzip;q=0.5, identity;q=0.8", CODING_IDENTITY },
		{ "gzip;q=0.5, identity;q=0.2", CODING_GZIP },
		{ "*", CODING_GZIP },
		{ "*;q=0.1, gzip;q=0", CODING_DEFLATE },
		{ ",, ;q=1,gzip;level=1", CODING_GZIP },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (coding_accepted(cases[i].header) != cases[i].expect)
			fail_msg("%s: %s", cases[i].header, coding_name(coding_accepted(cases[i].header)));
}

static void knows_codings(void **state)
{
	enum coding coding = CODING_GZIP;
	assert_true(coding_parse(STR(""), &coding));
	assert_int_equal(coding, CODING_IDENTITY);
	assert_true(coding_parse(STR("GZip"), &coding));
	assert_int_equal(coding, CODING_GZIP);
	assert_false(coding_parse(STR("br"), &coding));
	assert_false(coding_parse(STR("gzip, deflate"), &coding));
}

/* Compresses `len` bytes of a pattern in two pieces, reads them in pieces of `piece` into rooms of `room`. */
static void goes_there_and_back(enum coding coding, size_t len, size_t piece, size_t room)
{
	struct buf text, packed, back;
	buf_init(&text, 1 << 22);
	buf_init(&packed, 1 << 22);
	buf_init(&back, 1 << 22);
	for (size_t i = 0; i < len; i++)
		buf_putc(&text, (char)(i * i >> 3 ^ i >> 9));
	struct deflater *deflater = deflater_create(coding, &packed);
	assert_true(deflater_add(deflater, text.data, len / 3, false));
	assert_true(deflater_add(deflater, (text.data ?: "") + len / 3, len - len / 3, true));
	deflater_destroy(deflater);
	struct inflater *inflater = inflater_create(coding);
	size_t at = 0, used, made;
	do {
		char to[4096];
		assert_int_equal(inflater_feed(inflater, packed.data + at, MIN(piece, packed.len - at), &used, to,
					       MIN(room, sizeof(to)), &made, NULL),
				 ERR_OK);
		buf_append(&back, to, made);
		at += used;
	} while (at < packed.len || made);
	assert_int_equal(inflater_finish(inflater, NULL), ERR_OK);
	inflater_destroy(inflater);
	assert_int_equal(back.len, len);
	if (len)
		assert_memory_equal(back.data, text.data, len);
	buf_done(&text);
	buf_done(&packed);
	buf_done(&back);
}

static void reads_what_it_writes(void **state)
{
	static const size_t lengths[] = { 0, 1, 100, 100000, 1 << 20 };
	for (enum coding coding = CODING_GZIP; coding <= CODING_DEFLATE; coding++)
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			goes_there_and_back(coding, lengths[i], 1 << 20, 4096);
			goes_there_and_back(coding, lengths[i], 1000, 17);
		}
}

/* What of a whole body comes out; the error's text where it is refused. */
static const char *inflate_all(enum coding coding, const void *data, size_t len, char *text, size_t size)
{
	struct inflater *inflater = inflater_create(coding);
	struct err err = ERR_INIT;
	size_t at = 0, filled = 0, used, made;
	do {
		if (inflater_feed(inflater, (const char *)data + at, len - at, &used, text + filled, size - 1 - filled, &made,
				  &err) != ERR_OK)
			break;
		at += used;
		filled += made;
	} while (at < len || made);
	if (err.code == ERR_OK)
		(void)!inflater_finish(inflater, &err);
	text[filled] = '\0';
	if (err.code != ERR_OK)
		str_copy(text, size, err_text(&err));
	err_done(&err);
	inflater_destroy(inflater);
	return text;
}

static void reads_what_others_write(void **state)
{
	/* Python: zlib.compress(b"hello"), its bare form, gzip.compress(b"hello") twice */
	static const uint8_t zlib[] = { 0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x06, 0x2c, 0x02, 0x15 };
	static const uint8_t gzip[] = { 0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xcb, 0x48, 0xcd,
					0xc9, 0xc9, 0x07, 0x00, 0x86, 0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00 };
	char text[128];
	assert_string_equal(inflate_all(CODING_DEFLATE, zlib, sizeof(zlib), text, sizeof(text)), "hello");
	assert_string_equal(inflate_all(CODING_DEFLATE, zlib + 2, 7, text, sizeof(text)), "hello");
	assert_string_equal(inflate_all(CODING_GZIP, gzip, sizeof(gzip), text, sizeof(text)), "hello");
	uint8_t twice[2 * sizeof(gzip)];
	memcpy(twice, gzip, sizeof(gzip));
	memcpy(twice + sizeof(gzip), gzip, sizeof(gzip));
	assert_string_equal(inflate_all(CODING_GZIP, twice, sizeof(twice), text, sizeof(text)), "hellohello");
}

static void refuses(void **state)
{
	static const uint8_t zlib[] = { 0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x06, 0x2c, 0x02, 0x15, 'x' };
	char text[128];
	assert_non_null(strstr(inflate_all(CODING_DEFLATE, zlib, 12, text, sizeof(text)), "cut short"));
	assert_non_null(strstr(inflate_all(CODING_DEFLATE, zlib, 0, text, sizeof(text)), "cut short"));
	assert_non_null(strstr(inflate_all(CODING_DEFLATE, zlib, 14, text, sizeof(text)), "left over"));
	assert_non_null(strstr(inflate_all(CODING_GZIP, zlib, 13, text, sizeof(text)), "not gzip"));
	assert_non_null(strstr(inflate_all(CODING_GZIP, "{\"inputs\":[]}", 13, text, sizeof(text)), "not gzip"));
	uint8_t damaged[13];
	memcpy(damaged, zlib, 13);
	damaged[12] ^= 1; /* its checksum */
	assert_non_null(strstr(inflate_all(CODING_DEFLATE, damaged, 13, text, sizeof(text)), "damaged"));
}

TEST_MAIN(cmocka_unit_test(chooses_what_is_accepted), cmocka_unit_test(knows_codings), cmocka_unit_test(reads_what_it_writes),
	  cmocka_unit_test(reads_what_others_write), cmocka_unit_test(refuses))
