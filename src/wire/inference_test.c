#include "wire/inference.h"

#include "base/buf.h"
#include "base/test.h"
#include "wire/protobuf.h"

#define CEILING ((size_t)64 << 20)

/* --- building messages --- */

static struct arena arena;

static int set_up(void **state)
{
	arena_init(&arena, CEILING);
	return 0;
}

static int tear_down(void **state)
{
	arena_done(&arena);
	return 0;
}

static struct sink bytes(void)
{
	struct sink sink;
	sink_init(&sink, &arena);
	return sink;
}

static struct str text_of(const struct sink *sink)
{
	return (struct str){ (const char *)sink->data, sink->len };
}

/* A field whose content is there even where it is empty. */
static void put_message(struct sink *to, uint32_t number, const struct sink *content)
{
	assert_true(protobuf_put_varint(to, protobuf_tag(number, PROTOBUF_BYTES)) && protobuf_put_varint(to, content->len) &&
		    sink_put(to, content->data, content->len));
}

static void put_text(struct sink *to, uint32_t number, const char *text)
{
	assert_true(protobuf_put_bytes(to, number, str_of(text)));
}

static void put_number(struct sink *to, uint32_t number, uint64_t value)
{
	assert_true(protobuf_put_varint(to, protobuf_tag(number, PROTOBUF_VARINT)) && protobuf_put_varint(to, value));
}

enum { REQUEST_MODEL = 1, REQUEST_VERSION, REQUEST_ID, REQUEST_PARAMETERS, REQUEST_INPUTS, REQUEST_OUTPUTS, REQUEST_RAW };

/* An input "x" of shape [axis], with what `contents` is; NULL: none. */
static void put_input(struct sink *to, const char *datatype, uint64_t axis, const struct sink *contents)
{
	struct sink input = bytes(), shape = bytes();
	put_text(&input, 1, "x");
	put_text(&input, 2, datatype);
	assert_true(protobuf_put_varint(&shape, axis));
	put_message(&input, 3, &shape);
	if (contents)
		put_message(&input, 5, contents);
	put_message(to, REQUEST_INPUTS, &input);
}

/* key → an InferParameter with this choice. */
static void put_parameter(struct sink *to, const char *key, uint32_t choice, uint64_t number, const char *text)
{
	struct sink entry = bytes(), value = bytes();
	if (text)
		put_text(&value, choice, text);
	else if (choice == 4) {
		assert_true(protobuf_put_varint(&value, protobuf_tag(choice, PROTOBUF_FIXED64)) && sink_put(&value, &number, 8));
	} else
		put_number(&value, choice, number);
	put_text(&entry, 1, key);
	put_message(&entry, 2, &value);
	put_message(to, REQUEST_PARAMETERS, &entry);
}

static struct signature *signature_of(const char *dtype)
{
	char text[512];
	struct signature *signature = NULL;
	_cleanup_json_ json_t *json = NULL;
	int len = snprintf(text, sizeof(text),
			   "{\"methods\":{\"run\":{\"input\":{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":[null],\"item_type\":"
			   "{\"dtype\":\"%s\"}},\"output\":{\"name\":\"y\",\"type\":\"ndarray\",\"shape\":[null]}}}}",
			   dtype);
	assert_int_equal(json_read(text, (size_t)len, 64, "test", &json, NULL), ERR_OK);
	assert_int_equal(signature_parse(json, &signature, NULL), ERR_OK);
	return signature;
}

static enum err_code parse(const struct sink *message, const struct signature *signature, int64_t budget_ns,
			   struct run_request *ret, size_t *ret_steps, struct err *err)
{
	struct inference_message *scanned = arena_alloc(&arena, sizeof(*scanned));
	enum err_code code = inference_scan(&arena, text_of(message), scanned, err);
	if (code != ERR_OK)
		return code;
	struct inference_parser *parser =
		inference_parser_create(&arena, signature_method(signature, STR("run")), scanned, 64);
	bool done = false;
	code = inference_parser_begin(parser, err);
	for (*ret_steps = 0; code == ERR_OK && !done; ++*ret_steps)
		code = inference_parser_step(parser, budget_ns, &done, err);
	return code == ERR_OK ? inference_parser_finish(parser, ret, err) : code;
}

/* --- requests --- */

static void test_names_and_parameters(void **state)
{
	struct sink message = bytes();
	struct run_request request;
	struct err err = ERR_INIT;
	size_t steps;
	double half = 0.5;
	uint64_t half_bits;
	memcpy(&half_bits, &half, 8);
	put_text(&message, REQUEST_MODEL, "admin/one");
	put_text(&message, REQUEST_ID, "seven");
	put_parameter(&message, "timeout", 2, 250, NULL);
	put_parameter(&message, "priority", 5, 2, NULL);
	put_parameter(&message, "triton_enable_empty_final_response", 1, 1, NULL);
	put_parameter(&message, "sequence_id", 2, 9, NULL);
	put_parameter(&message, "b", 1, 1, NULL);
	put_parameter(&message, "i", 2, (uint64_t)-3, NULL);
	put_parameter(&message, "s", 3, 0, "a \"b\"\n");
	put_parameter(&message, "d", 4, half_bits, NULL);
	put_parameter(&message, "u", 5, UINT64_MAX, NULL);
	put_input(&message, "FP32", 1, NULL);
	assert_true(protobuf_put_bytes(&message, REQUEST_RAW, (struct str){ "\0\0\x80\x3f", 4 }));
	struct signature *signature = signature_of("FP32");
	assert_int_equal(parse(&message, signature, 0, &request, &steps, &err), ERR_OK);
	assert_true(str_eq(request.id, STR("seven")));
	assert_int_equal(request.timeout_us, 250);
	assert_int_equal(request.priority, 2);
	assert_true(str_eq(request.parameters,
			   STR("{\"b\":true,\"i\":-3,\"s\":\"a \\\"b\\\"\\u000a\",\"d\":0.5,\"u\":18446744073709551615}")));
	assert_int_equal(request.input_count, 1);
	/* The bytes are those of the message. */
	assert_ptr_equal(request.inputs[0].data, message.data + message.len - 4);
	signature_destroy(signature);
}

static void test_integers_in_contents(void **state)
{
	static const struct {
		const char *datatype;
		uint32_t field;
		uint64_t values[3];
		const char *expected; /* the tensor; NULL: an error */
		size_t len;
	} rows[] = {
		{ "BOOL", 1, { 0, 1, 77 }, "\0\1\1", 3 },
		{ "INT8", 2, { 127, (uint64_t)-128, 0 }, "\x7f\x80\0", 3 },
		{ "INT8", 2, { 127, (uint64_t)-129, 0 }, NULL, 0 },
		{ "INT8", 2, { 127, 0xffffff80u, 0 }, "\x7f\x80\0", 3 }, /* an int32 in 32 bits */
		{ "INT16", 2, { 0x7fff, (uint64_t)-2, 1 }, "\xff\x7f\xfe\xff\1\0", 6 },
		{ "INT32", 2, { (uint64_t)-1, 1, 0 }, "\xff\xff\xff\xff\1\0\0\0\0\0\0\0", 12 },
		{ "UINT8", 4, { 255, 0, 1 }, "\xff\0\1", 3 },
		{ "UINT8", 4, { 256, 0, 1 }, NULL, 0 },
		{ "UINT16", 4, { 65535, 0, 1 }, "\xff\xff\0\0\1\0", 6 },
		{ "UINT16", 4, { 65536, 0, 1 }, NULL, 0 },
		{ "UINT8", 2, { 1, 2, 3 }, NULL, 0 }, /* the wrong field */
		{ "FP16", 6, { 1, 2, 3 }, NULL, 0 },  /* raw only */
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int packed = 0; packed < 2; packed++) {
			struct sink message = bytes(), contents = bytes(), values = bytes();
			struct run_request request;
			struct err err = ERR_INIT;
			size_t steps;
			for (size_t k = 0; k < 3; k++)
				if (packed)
					assert_true(protobuf_put_varint(&values, rows[i].values[k]));
				else
					put_number(&contents, rows[i].field, rows[i].values[k]);
			if (packed)
				put_message(&contents, rows[i].field, &values);
			put_input(&message, rows[i].datatype, 3, &contents);
			struct signature *signature = signature_of(rows[i].datatype);
			enum err_code code = parse(&message, signature, 0, &request, &steps, &err);
			assert_int_equal(code, rows[i].expected ? ERR_OK : ERR_INVALID_ARGUMENT);
			if (rows[i].expected) {
				assert_int_equal(request.inputs[0].len, rows[i].len);
				assert_memory_equal(request.inputs[0].data, rows[i].expected, rows[i].len);
			} else {
				assert_non_null(strstr(err_text(&err), "input 'x'"));
			}
			err_done(&err);
			signature_destroy(signature);
		}
}

/* Long values take several steps, and give the same. */
static void test_steps(void **state)
{
	enum { COUNT = 50000 };
	struct sink message = bytes(), contents = bytes(), values = bytes();
	struct run_request request;
	struct err err = ERR_INIT;
	size_t steps;
	for (uint64_t i = 0; i < COUNT; i++)
		assert_true(protobuf_put_varint(&values, i * i));
	put_message(&contents, 3, &values);
	put_input(&message, "INT64", COUNT, &contents);
	struct signature *signature = signature_of("INT64");
	assert_int_equal(parse(&message, signature, 1, &request, &steps, &err), ERR_OK);
	assert_true(steps > 5);
	for (int64_t i = 0; i < COUNT; i++) {
		int64_t value;
		memcpy(&value, request.inputs[0].data + 8 * i, 8);
		assert_int_equal(value, i * i);
	}
	signature_destroy(signature);
}

static void test_floats_stay_where_they_lie(void **state)
{
	struct sink message = bytes(), contents = bytes(), values = bytes();
	struct run_request request;
	struct err err = ERR_INIT;
	size_t steps;
	float number = 1.5f;
	for (int i = 0; i < 100; i++)
		assert_true(sink_put(&values, &number, sizeof(number)));
	put_message(&contents, 6, &values);
	put_input(&message, "FP32", 100, &contents);
	struct signature *signature = signature_of("FP32");
	assert_int_equal(parse(&message, signature, 0, &request, &steps, &err), ERR_OK);
	assert_true(request.inputs[0].data > message.data && request.inputs[0].data < message.data + message.len);
	/* One value that is not packed is copied. */
	message = bytes();
	contents = bytes();
	assert_true(protobuf_put_varint(&contents, protobuf_tag(6, PROTOBUF_FIXED32)) && sink_put(&contents, &number, 4));
	put_input(&message, "FP32", 1, &contents);
	assert_int_equal(parse(&message, signature, 0, &request, &steps, &err), ERR_OK);
	assert_memory_equal(request.inputs[0].data, &number, 4);
	signature_destroy(signature);
}

static void test_bytes_in_contents(void **state)
{
	struct sink message = bytes(), contents = bytes(), empty = bytes();
	struct run_request request;
	struct err err = ERR_INIT;
	size_t steps;
	put_text(&contents, 8, "ab");
	put_message(&contents, 8, &empty);
	put_input(&message, "BYTES", 2, &contents);
	struct signature *signature = signature_of("BYTES");
	assert_int_equal(parse(&message, signature, 0, &request, &steps, &err), ERR_OK);
	assert_int_equal(request.inputs[0].len, 10);
	assert_memory_equal(request.inputs[0].data, "\2\0\0\0ab\0\0\0\0", 10);
	signature_destroy(signature);
}

static void test_more_parts_than_arguments(void **state)
{
	struct sink message = bytes();
	struct inference_message scanned;
	struct err err = ERR_INIT;
	for (int i = 0; i < ARGUMENTS_MAX + 2; i++)
		put_text(&message, REQUEST_RAW, "a");
	assert_int_equal(inference_scan(&arena, text_of(&message), &scanned, &err), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_text(&err), "raw_input_contents: more than 1024 came"));
	err_done(&err);
	message = bytes();
	for (int i = 0; i < 1000; i++)
		put_number(&message, 99, 1);
	assert_int_equal(inference_scan(&arena, text_of(&message), &scanned, &err), ERR_INVALID_ARGUMENT);
	err_done(&err);
}

/* --- responses --- */

static struct str joined(const struct inference_pieces *pieces)
{
	struct sink all = bytes();
	for (size_t i = 0; i < pieces->count; i++)
		assert_true(sink_put(&all, pieces->items[i].data, pieces->items[i].len));
	return text_of(&all);
}

/* The nth field of that number. */
static struct str field_of(struct str message, uint32_t number, int nth)
{
	struct protobuf cursor = protobuf_of(message);
	struct protobuf_field field;
	while (protobuf_next(&cursor, &field) > 0)
		if (field.number == number && nth-- == 0)
			return field.bytes;
	fail_msg("no field %u", number);
	return (struct str){ 0 };
}

static void test_response(void **state)
{
	static uint8_t large[5000] = { 1, 2, 3 }, small[3] = { 7, 8, 9 };
	const struct tensor outputs[] = {
		{ .name = STR("y"), .dtype = DTYPE_UINT8, .rank = 2, .shape = { 3, 1 }, .data = small, .len = 3 },
		{ .name = STR("large"), .dtype = DTYPE_UINT8, .rank = 1, .shape = { 5000 }, .data = large, .len = 5000 },
		{ .name = STR("empty"), .dtype = DTYPE_FP32, .rank = 1, .shape = { 0 }, .data = NULL, .len = 0 },
	};
	for (int stream = 0; stream < 2; stream++) {
		struct inference_pieces pieces;
		const struct inference_answer answer = { .model_name = STR("admin/one"), .version = STR("3"), .id = STR("id"),
							 .memo = STR("hit"), .outputs = outputs, .count = 3 };
		assert_int_equal(inference_write(&arena, &answer, stream, &pieces, NULL), ERR_OK);
		bool pointed = false;
		for (size_t i = 0; i < pieces.count; i++)
			pointed |= pieces.items[i].data == (const char *)large;
		assert_true(pointed);
		struct str message = joined(&pieces);
		assert_true(protobuf_is_valid(message));
		if (stream)
			message = field_of(message, 2, 0);
		assert_true(str_eq(field_of(message, 1, 0), STR("admin/one")));
		assert_true(str_eq(field_of(message, 2, 0), STR("3")));
		assert_true(str_eq(field_of(message, 3, 0), STR("id")));
		assert_true(str_eq(field_of(field_of(message, 4, 0), 1, 0), STR("memo")));
		assert_true(str_eq(field_of(field_of(field_of(message, 4, 0), 2, 0), 3, 0), STR("hit")));
		assert_true(str_eq(field_of(field_of(message, 5, 1), 1, 0), STR("large")));
		assert_true(str_eq(field_of(field_of(message, 5, 0), 3, 0), STR("\3\1")));
		assert_true(str_eq(field_of(message, 6, 0), (struct str){ (const char *)small, 3 }));
		assert_true(str_eq(field_of(message, 6, 1), (struct str){ (const char *)large, 5000 }));
		assert_int_equal(field_of(message, 6, 2).len, 0);
	}
}

static void test_error_of_a_stream(void **state)
{
	struct inference_pieces pieces;
	assert_int_equal(inference_write_error(&arena, STR("NOT_FOUND: gone"), STR("admin/one"), STR("id"), &pieces, NULL), ERR_OK);
	struct str message = joined(&pieces);
	assert_true(str_eq(field_of(message, 1, 0), STR("NOT_FOUND: gone")));
	assert_true(str_eq(field_of(field_of(message, 2, 0), 3, 0), STR("id")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_names_and_parameters), TEST(test_integers_in_contents), TEST(test_steps),
	  TEST(test_floats_stay_where_they_lie), TEST(test_bytes_in_contents), TEST(test_more_parts_than_arguments),
	  TEST(test_response), TEST(test_error_of_a_stream))
