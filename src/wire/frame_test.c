#include "base/test.h"
#include "wire/frame.h"

struct fake_slab {
	uint8_t data[256];
	size_t size;
};

static bool get_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	struct fake_slab *fake = context;
	if (slab != 7)
		return false;
	*ret_data = fake->data;
	*ret_size = fake->size;
	return true;
}

static float floats[] = { 1, 2, 3, 4, 5, 6 };
static uint8_t bytes[] = { 2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0 };

static void make_tensors(struct tensor *tensors)
{
	tensors[0] = (struct tensor){ STR("x"), DTYPE_FP32, 2, { 2, 3 }, (uint8_t *)floats, sizeof(floats) };
	tensors[1] = (struct tensor){ STR("a longer name"), DTYPE_BYTES, 1, { 2 }, bytes, sizeof(bytes) };
	tensors[2] = (struct tensor){ STR(""), DTYPE_JSON, 0, { 0 }, (uint8_t *)"[1]", 3 };
	tensors[3] = (struct tensor){ STR("none"), DTYPE_INT64, 2, { 0, 5 }, NULL, 0 };
}

static void assert_same_tensor(const struct tensor *a, const struct tensor *b)
{
	assert_true(str_eq(a->name, b->name));
	assert_int_equal(a->dtype, b->dtype);
	assert_int_equal(a->rank, b->rank);
	for (uint32_t i = 0; i < a->rank; i++)
		assert_int_equal(a->shape[i], b->shape[i]);
	assert_int_equal(a->len, b->len);
	if (a->len)
		assert_memory_equal(a->data, b->data, a->len);
}

static void test_round_trip(void **state)
{
	struct tensor tensors[4];
	struct buf out;
	struct arena arena;
	buf_init(&out, 1 << 20);
	arena_init(&arena, 1 << 20);
	make_tensors(tensors);
	struct run_frame run = { STR("run"), STR("{\"a\":1}"), tensors, 4 }, got;
	struct frame_header header = { .type = FRAME_RUN, .flags = FRAME_WANTS_OUTPUT, .run = 9, .deadline_ns = 5 },
			    seen;
	const uint8_t *payload;
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_OK);
	for (size_t len = 0; len < out.len; len++)
		assert_int_equal(frame_peek((uint8_t *)out.data, len, &seen, &payload), 0);
	assert_int_equal(frame_peek((uint8_t *)out.data, out.len, &seen, &payload), 1);
	assert_int_equal(seen.type, FRAME_RUN);
	assert_int_equal(seen.flags, FRAME_WANTS_OUTPUT);
	assert_int_equal(seen.run, 9);
	assert_int_equal(seen.deadline_ns, 5);
	assert_int_equal(seen.length, out.len - sizeof(seen));
	assert_int_equal(frame_decode_run(payload, seen.length, &arena, NULL, NULL, &got, NULL), ERR_OK);
	assert_true(str_eq(got.method, run.method));
	assert_true(str_eq(got.parameters, run.parameters));
	assert_int_equal(got.count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_same_tensor(&got.tensors[i], &tensors[i]);
		assert_int_equal((got.tensors[i].data - payload) % FRAME_DATA_ALIGN, 0);
	}
	/* Every shorter payload is refused, none is read past its end (ASan sees to that). */
	for (size_t len = 0; len < seen.length; len++) {
		uint8_t *cut = malloc(len ? len : 1);
		memcpy(cut, payload, len);
		if (frame_decode_run(cut, len, &arena, NULL, NULL, &got, NULL) == ERR_OK)
			assert_true(len >=
				    seen.length - 13); /* only the padding before the empty tensor is dispensable */
		free(cut);
	}
	arena_done(&arena);
	buf_done(&out);
}

/* The bytes that api/worker-frames.md shows. */
static void test_golden(void **state)
{
	static const uint8_t golden[] = {
		0x44, 0,   0,	 0,    3,    0,	   1,	 0,    0x2a, 0, 0, 0, 0, 0, 0, 0,
		0,    0,   0,	 0,    0,    0,	   0,	 0,				  /* header */
		1,    0,   0,	 0,    2,    0,	   0,	 0,    3,    0, 0, 0, 0, 0, 0, 0, /* head */
		'r',  'u', 'n',	 '{',  '}',  0,	   0,	 0,				  /* method, parameters */
		12,   1,   1,	 0,    0xff, 0xff, 0xff, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0,
		4,    0,   0,	 0,    0,    0,	   0,	 0, /* record */
		1,    0,   0,	 0,    0,    0,	   0,	 0, /* shape */
		'x',  0,   0,	 0,    0,    0,	   0,	 0, /* name */
		0,    0,   0x80, 0x3f,			    /* data */
	};
	struct tensor tensor = { STR("x"), DTYPE_FP32, 1, { 1 }, (uint8_t *)floats, 4 };
	struct run_frame run = { STR("run"), STR("{}"), &tensor, 1 };
	struct frame_header header = { .type = FRAME_RUN, .flags = FRAME_WANTS_OUTPUT, .run = 42 };
	struct buf out;
	buf_init(&out, 4096);
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_OK);
	assert_int_equal(out.len, sizeof(golden));
	assert_memory_equal(out.data, golden, sizeof(golden));
	buf_done(&out);
}

static void test_slabs(void **state)
{
	struct tensor tensors[4];
	struct buf out;
	struct arena arena;
	struct fake_slab slab = { .size = 128 };
	buf_init(&out, 1 << 20);
	arena_init(&arena, 1 << 20);
	make_tensors(tensors);
	const uint32_t slabs[] = { 7, 7, FRAME_INLINE, 7 };
	const uint64_t offsets[] = { 32, 96, 0, 128 };
	memcpy(slab.data + 32, floats, sizeof(floats));
	memcpy(slab.data + 96, bytes, sizeof(bytes));
	struct run_frame run = { STR("run"), STR(""), tensors, 4 }, got;
	struct frame_header header = { .type = FRAME_RESULT };
	assert_int_equal(frame_encode_run(&out, &header, &run, slabs, offsets, NULL), ERR_OK);
	const uint8_t *payload = (uint8_t *)out.data + sizeof(header);
	size_t len = out.len - sizeof(header);
	assert_int_equal(frame_decode_run(payload, len, &arena, get_slab, &slab, &got, NULL), ERR_OK);
	for (size_t i = 0; i < 4; i++)
		assert_same_tensor(&got.tensors[i], &tensors[i]);
	assert_ptr_equal(got.tensors[0].data, slab.data + 32);
	assert_true(got.tensors[1].data < slab.data || got.tensors[1].data >= slab.data + sizeof(slab.data));

	struct err err = ERR_INIT;
	assert_int_equal(frame_decode_run(payload, len, &arena, NULL, NULL, &got, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "tensor 0: slab 7 is not known here");
	slab.size = 100; /* the second one now lies outside */
	assert_int_equal(frame_decode_run(payload, len, &arena, get_slab, &slab, &got, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "tensor 1: bytes 96+10 lie outside slab 7 of 100 bytes");
	slab.size = 128;
	slab.data[96] = 200; /* a length inside BYTES that goes too far */
	assert_int_equal(frame_decode_run(payload, len, &arena, get_slab, &slab, &got, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "tensor 1: element 0 of 2: 200 bytes are announced, but only 6 follow");
	err_done(&err);
	arena_done(&arena);
	buf_done(&out);
}

/* One field of a good payload is changed: offset in the payload, bytes, and what is said about it. */
static void test_hostile(void **state)
{
	static const struct {
		size_t at;
		uint8_t bytes[9];
		size_t len;
		const char *error;
	} rows[] = {
		{ 0, { 0xff, 0xff, 0xff, 0xff }, 4, "cut short" },
		{ 4, { 0xff, 0xff, 0xff, 0xff }, 4, "cut short" },
		{ 8, { 0xff, 0xff }, 2, "cut short" },
		{ 19, { '[' }, 1, "parameters: expected an object" },
		{ 24, { 0 }, 1, "tensor 0: unknown datatype 0" },
		{ 24, { 200 }, 1, "tensor 0: unknown datatype 200" },
		{ 25, { 33 }, 1, "tensor 0: rank 33 is over 32" },
		{ 26, { 0xff, 0xff }, 2, "tensor 0: cut short" },
		{ 28, { 1, 0, 0, 0 }, 4, "tensor 0: slab 1 is not known here" },
		{ 32, { 1 }, 1, "tensor 0: offset" },
		{ 32,
		  { 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		  8,
		  "tensor 0: bytes 18446744073709551600+24 lie outside" },
		{ 40,
		  { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		  8,
		  "tensor 0: bytes 80+18446744073709551615 lie outside" },
		{ 48,
		  { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		  8,
		  "tensor 0: shape [-1,3] has a negative axis" },
		{ 48, { 3 }, 1, "tensor 0: shape [3,3] of FP32 takes 36 bytes, but 24 came" },
	};
	struct tensor tensors[4];
	struct buf out;
	struct arena arena;
	struct fake_slab slab = { .size = 128 };
	buf_init(&out, 1 << 20);
	arena_init(&arena, 1 << 20);
	make_tensors(tensors);
	struct run_frame run = { STR("run"), STR("{ }"), tensors, 1 }, got = { .count = 77 };
	assert_int_equal(frame_encode_run(&out, &(struct frame_header){ .type = FRAME_RUN }, &run, NULL, NULL, NULL),
			 ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		uint8_t copy[256];
		size_t len = out.len - sizeof(struct frame_header);
		memcpy(copy, out.data + sizeof(struct frame_header), len);
		memcpy(copy + rows[i].at, rows[i].bytes, rows[i].len);
		assert_int_equal(frame_decode_run(copy, len, &arena, get_slab, &slab, &got, &err),
				 ERR_INVALID_ARGUMENT);
		if (!str_starts(err_text(&err), rows[i].error))
			fail_msg("row %zu: %s", i, err_text(&err));
		assert_int_equal(got.count, 77);
		err_done(&err);
	}
	arena_done(&arena);
	buf_done(&out);
}

static void test_limits(void **state)
{
	struct tensor tensors[1] = { { STR("x"), DTYPE_UINT8, 1, { 1000 }, (uint8_t *)floats, 1000 } };
	struct run_frame run = { STR("run"), STR(""), tensors, 1 }, got;
	struct frame_header header = { .type = FRAME_RUN };
	struct buf out;
	struct arena arena;
	buf_init(&out, 100);
	buf_puts(&out, "before");
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_OUT_OF_RANGE);
	assert_string_equal(out.data, "before");
	assert_false(out.overflowed);
	header = (struct frame_header){ .type = FRAME_LOG, .length = 1000 };
	assert_false(frame_encode(&out, &header, floats));
	assert_false(out.overflowed);
	tensors[0].len = (size_t)FRAME_LENGTH_MAX + 1;
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_OUT_OF_RANGE);
	tensors[0].rank = TENSOR_RANK_MAX + 1;
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_INVALID_ARGUMENT);
	run.count = FRAME_TENSORS_MAX + 1;
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_INVALID_ARGUMENT);
	assert_string_equal(out.data, "before");
	buf_done(&out);

	/* A small slab that is named often must not become more memory than the run may take. */
	struct tensor many[16];
	uint32_t slabs[16];
	struct fake_slab slab = { .size = 256 };
	slab.data[0] = 252;
	for (size_t i = 0; i < 16; i++) {
		many[i] = (struct tensor){ STR("x"), DTYPE_BYTES, 1, { 1 }, NULL, 256 };
		slabs[i] = 7;
	}
	run = (struct run_frame){ STR("run"), STR(""), many, 16 };
	buf_init(&out, 1 << 16);
	arena_init(&arena, 8 << 10);
	assert_int_equal(frame_encode_run(&out, &header, &run, slabs, NULL, NULL), ERR_OK);
	assert_int_equal(frame_decode_run((uint8_t *)out.data + sizeof(header), out.len - sizeof(header), &arena,
					  get_slab, &slab, &got, NULL),
			 ERR_OUT_OF_RANGE);
	arena_done(&arena);
	buf_done(&out);
}

static void test_peek(void **state)
{
	static const struct {
		struct frame_header header;
		int result;
	} rows[] = {
		{ { .type = FRAME_CANCEL, .run = 3 }, 1 },
		{ { .type = FRAME_CANCEL, .length = 1 }, -1 },
		{ { .type = FRAME_SLAB, .length = 8 }, -1 },
		{ { .type = FRAME_RELEASE, .length = 16 }, 0 },
		{ { .type = FRAME_FILE, .length = 16 }, 0 },
		{ { .type = FRAME_FILE, .length = 0 }, -1 },
		{ { .type = FRAME_FORK, .run = 1 }, 1 },
		{ { .type = FRAME_FORK, .length = 1 }, -1 },
		{ { .type = FRAME_FORKED, .length = 4 }, -1 },
		{ { .type = FRAME_REFUSED, .length = 4 }, 0 },
		{ { .type = FRAME_EXITED, .length = 4 }, -1 },
		{ { .type = FRAME_EXITED, .length = 8 }, 0 },
		{ { .type = FRAME_PROGRESS, .run = 1, .length = FRAME_PROGRESS_MAX }, 0 },
		{ { .type = FRAME_PROGRESS, .run = 1, .length = FRAME_PROGRESS_MAX + 1 }, -1 },
		{ { .type = 0 }, -1 },
		{ { .type = FRAME_TYPE_COUNT }, -1 },
		{ { .type = 0xffff }, -1 },
		{ { .type = FRAME_LOG, .length = FRAME_LENGTH_MAX + 1 }, -1 },
		{ { .type = FRAME_LOG, .length = FRAME_LENGTH_MAX }, 0 },
		{ { .type = FRAME_LOG, .length = 0 }, 1 },
	};
	struct frame_header seen;
	const uint8_t *payload;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out;
		buf_init(&out, 4096);
		buf_append(&out, &rows[i].header, sizeof(rows[i].header));
		assert_int_equal(frame_peek((uint8_t *)out.data, out.len, &seen, &payload), rows[i].result);
		buf_done(&out);
	}
	struct buf out;
	buf_init(&out, 4096);
	assert_true(frame_encode(&out, &(struct frame_header){ .type = FRAME_LOG, .length = 5 }, "hello"));
	assert_int_equal(frame_peek((uint8_t *)out.data, out.len, &seen, &payload), 1);
	assert_memory_equal(payload, "hello", 5);
	buf_done(&out);
}

TEST_MAIN(cmocka_unit_test(test_golden), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_slabs),
	  cmocka_unit_test(test_hostile), cmocka_unit_test(test_limits), cmocka_unit_test(test_peek))
