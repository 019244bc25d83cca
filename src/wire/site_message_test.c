/* Notes between hub and site: what is encoded is decoded, and what is not whole is refused. */
#include "wire/site_message.h"

#include "base/alloc.h"
#include "base/test.h"

static struct buf out;
static struct arena arena;

static int set_up(void **state)
{
	buf_init(&out, (size_t)8 << 20);
	arena_init(&arena, (size_t)8 << 20);
	return 0;
}

static int tear_down(void **state)
{
	buf_done(&out);
	arena_done(&arena);
	return 0;
}

static const uint8_t *bytes(void)
{
	return (const uint8_t *)out.data;
}

static void test_notes_follow_each_other(void **state)
{
	struct site_header header;
	const uint8_t *body;
	assert_true(site_encode(&out, &(struct site_header){ .type = SITE_PING, .id = 7 }, NULL));
	assert_true(site_encode(&out, &(struct site_header){ .type = SITE_READY, .worker = 3, .length = 2 }, "{}"));
	assert_int_equal(site_peek(bytes(), out.len, &header, &body), 1);
	assert_int_equal(header.type, SITE_PING);
	assert_int_equal(header.id, 7);
	size_t at = sizeof(header) + header.length;
	assert_int_equal(site_peek(bytes() + at, out.len - at, &header, &body), 1);
	assert_int_equal(header.worker, 3);
	assert_memory_equal(body, "{}", 2);
	at += sizeof(header) + header.length;
	assert_int_equal(at, out.len);
	assert_int_equal(site_peek(bytes() + at, 0, &header, &body), 0);
}

static void test_what_is_no_note(void **state)
{
	static const struct site_header rows[] = {
		{ .type = 0 },
		{ .type = SITE_NOTE_COUNT },
		{ .type = SITE_PING, .length = 1 },
		{ .type = SITE_FETCH, .length = 31 },
		{ .type = SITE_PART, .length = sizeof(struct site_part) },
		{ .type = SITE_PIECE, .length = 8 },
		{ .type = SITE_HELLO, .length = 0 },
		{ .type = SITE_RESULT, .length = 4 },
		{ .type = SITE_READY, .length = SITE_TEXT_BYTES + 1ull },
		{ .type = SITE_RUN, .length = UINT64_MAX },
	};
	struct site_header header;
	const uint8_t *body;
	uint8_t message[128] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memcpy(message, &rows[i], sizeof(rows[i]));
		assert_int_equal(site_peek(message, sizeof(message), &header, &body), -1);
	}
	memcpy(message, &(struct site_header){ .type = SITE_HELLO, .length = 50 }, sizeof(header));
	assert_int_equal(site_peek(message, 74, &header, &body), 1);
	assert_int_equal(site_peek(message, 73, &header, &body), -1);
	assert_int_equal(site_peek(message, 10, &header, &body), -1);
}

/* Encodes a run of two FP32 vectors of these lengths, puts the large ones behind, and decodes it. */
static void round_trip(int64_t first, int64_t second, size_t large_expected)
{
	float *values = xcalloc((size_t)MAX(first, second) + 1, sizeof(*values));
	for (int64_t i = 0; i < MAX(first, second); i++)
		values[i] = (float)i;
	struct tensor tensors[] = {
		{ .name = STR("a"), .dtype = DTYPE_FP32, .rank = 1, .shape = { first }, .data = (uint8_t *)values,
		  .len = (size_t)first * 4 },
		{ .name = STR("b"), .dtype = DTYPE_FP32, .rank = 1, .shape = { second }, .data = (uint8_t *)values,
		  .len = (size_t)second * 4 },
	};
	struct run_frame run = { .method = STR("run"), .parameters = STR("{\"k\":1}"), .tensors = tensors, .count = 2 };
	struct frame_header frame = { .type = FRAME_RUN, .flags = FRAME_WANTS_OUTPUT, .deadline_ns = 5000 };
	struct site_header header = { .type = SITE_RUN, .worker = 9, .id = 77 };
	static struct site_large large[FRAME_TENSORS_MAX];
	size_t count;
	buf_clear(&out);
	assert_int_equal(site_encode_run(&out, &header, &frame, &run, large, &count, NULL), ERR_OK);
	assert_int_equal(count, large_expected);
	memcpy(&header, out.data, sizeof(header));
	for (size_t i = 0; i < count; i++) {
		static const char zeros[FRAME_DATA_ALIGN];
		size_t gap = sizeof(header) + large[i].offset - out.len;
		assert_true(gap < FRAME_DATA_ALIGN && buf_append(&out, zeros, gap));
		assert_true(buf_append(&out, tensors[large[i].tensor].data, tensors[large[i].tensor].len));
	}
	const uint8_t *body;
	assert_int_equal(site_peek(bytes(), out.len, &header, &body), 1);
	assert_int_equal(sizeof(header) + header.length, out.len);
	struct run_frame again;
	struct frame_header frame_again;
	assert_int_equal(site_decode_run(body, header.length, &arena, NULL, NULL, &frame_again, &again, NULL), ERR_OK);
	assert_int_equal(frame_again.flags, FRAME_WANTS_OUTPUT);
	assert_int_equal(frame_again.deadline_ns, 5000);
	assert_true(str_eq(again.method, run.method) && str_eq(again.parameters, run.parameters));
	assert_int_equal(again.count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(again.tensors[i].len, tensors[i].len);
		assert_memory_equal(again.tensors[i].data, tensors[i].data, tensors[i].len);
	}
	/* Cut anywhere, it is refused. */
	for (size_t cut = 1; cut < header.length; cut += 1 + header.length / 50)
		assert_int_equal(site_decode_run(body, header.length - cut, &arena, NULL, NULL, &frame_again, &again, NULL),
				 ERR_INVALID_ARGUMENT);
	free(values);
}

/* A tensor in a file is named and not sent, whatever else is large. */
static bool get_file(void *context, uint32_t number, uint8_t **ret_data, size_t *ret_size)
{
	if (number != FRAME_FILE_FIRST + 1)
		return false;
	*ret_data = context;
	*ret_size = 400064;
	return true;
}

static void test_files(void **state)
{
	static uint8_t file[400064], inline_bytes[12];
	static const uint32_t files[] = { FRAME_INLINE, FRAME_FILE_FIRST + 1 };
	static const uint64_t offsets[] = { 0, 64 };
	static struct site_large large[FRAME_TENSORS_MAX];
	struct tensor tensors[] = {
		{ .name = STR("a"), .dtype = DTYPE_FP32, .rank = 1, .shape = { 3 }, .data = inline_bytes, .len = 12 },
		{ .name = STR("b"), .dtype = DTYPE_FP32, .rank = 1, .shape = { 100000 }, .data = file + 64, .len = 400000 },
	};
	struct run_frame run = { .method = STR("run"), .tensors = tensors, .count = 2, .files = files, .file_offsets = offsets };
	struct run_frame again;
	struct frame_header frame = { .type = FRAME_RUN }, frame_again;
	struct site_header header = { .type = SITE_RUN };
	const uint8_t *body;
	size_t count;
	buf_clear(&out);
	assert_int_equal(site_encode_run(&out, &header, &frame, &run, large, &count, NULL), ERR_OK);
	assert_int_equal(count, 0);
	assert_true(out.len < 400);
	assert_int_equal(site_peek(bytes(), out.len, &header, &body), 1);
	assert_int_equal(site_decode_run(body, header.length, &arena, get_file, file, &frame_again, &again, NULL), ERR_OK);
	assert_ptr_equal(again.tensors[1].data, file + 64);
	assert_int_equal(site_decode_run(body, header.length, &arena, NULL, NULL, &frame_again, &again, NULL), ERR_INVALID_ARGUMENT);
}

static void test_runs(void **state)
{
	round_trip(3, 0, 0);
	round_trip(10000, 10000, 0);
	round_trip(100000, 3, 1);
	round_trip(100001, 200003, 2);
	round_trip(1, 300000, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_notes_follow_each_other), T(test_what_is_no_note), T(test_runs), T(test_files))
