#include "wire/protobuf.h"

#include "base/test.h"

static struct protobuf over(const void *bytes, size_t len)
{
	return protobuf_of((struct str){ bytes, len });
}

static void test_fields(void **state)
{
	static const uint8_t bytes[] = { 0x08, 0x96, 0x01,			       /* 1: varint 150 */
					 0x12, 0x03, 'a', 'b', 'c',		       /* 2: "abc" */
					 0x1d, 1, 0, 0, 0,			       /* 3: fixed32 1 */
					 0x21, 2, 0, 0, 0, 0, 0, 0, 0x80,	       /* 4: fixed64 */
					 0xfa, 0x07, 0x00 };			       /* 127: "" */
	struct protobuf cursor = over(bytes, sizeof(bytes));
	struct protobuf_field field;

	assert_int_equal(protobuf_next(&cursor, &field), 1);
	assert_true(field.number == 1 && field.type == PROTOBUF_VARINT && field.value == 150);
	assert_int_equal(protobuf_next(&cursor, &field), 1);
	assert_true(field.number == 2 && str_eq(field.bytes, STR("abc")));
	assert_int_equal(protobuf_next(&cursor, &field), 1);
	assert_true(field.number == 3 && field.type == PROTOBUF_FIXED32 && field.value == 1);
	assert_int_equal(protobuf_next(&cursor, &field), 1);
	assert_true(field.number == 4 && field.value == 0x8000000000000002);
	assert_int_equal(protobuf_next(&cursor, &field), 1);
	assert_true(field.number == 127 && field.bytes.len == 0);
	assert_int_equal(protobuf_next(&cursor, &field), 0);
	assert_true(protobuf_is_valid((struct str){ (const char *)bytes, sizeof(bytes) }));
	/* Cut anywhere within a field, it is malformed. */
	for (size_t len = 1; len < sizeof(bytes); len++) {
		bool whole = len == 3 || len == 8 || len == 13 || len == 22;
		assert_int_equal(protobuf_is_valid((struct str){ (const char *)bytes, len }), whole);
	}
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\x00\x01", 2 },					    /* field 0 */
		{ "\x0b", 1 },						    /* a group */
		{ "\x0f\x01", 2 },					    /* wire type 7 */
		{ "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 },	    /* a length of 2^64-1 */
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 },	    /* 65 bits */
		{ "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 }, /* eleven bytes */
		{ "\x80\x80\x80\x80\x10\x01", 6 },			    /* a number past 2^29 */
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct protobuf cursor = over(cases[i].bytes, cases[i].len);
		struct protobuf_field field;
		assert_int_equal(protobuf_next(&cursor, &field), -1);
	}
}

TEST_MAIN(cmocka_unit_test(test_fields), cmocka_unit_test(test_malformed))
