#include "wire/run_record.h"

#include "base/alloc.h"
#include "base/test.h"

#define LARGE (FRAME_INLINE_MAX + 4)

static struct run_record make_run(uint64_t index, struct tensor *tensors, size_t count)
{
	return (struct run_record){ .type = FRAME_RUN, .index = index, .flags = FRAME_WANTS_OUTPUT,
				    .run = { STR("run"), STR("{\"a\":1}"), tensors, count } };
}

static struct run_record read_one(const struct buf *bytes, size_t *at, struct arena *arena)
{
	struct run_record_span span;
	struct run_record record;
	assert_int_equal(run_record_next((uint8_t *)bytes->data, bytes->len, at, &span, NULL), ERR_OK);
	assert_int_equal(*at % RUN_RECORD_ALIGN, 0);
	assert_int_equal(run_record_decode(&span, arena, &record, NULL), ERR_OK);
	return record;
}

static void test_records_follow_each_other(void **state)
{
	float small[] = { 1, 2, 3 };
	_cleanup_free_ uint8_t *large = xmalloc(LARGE), *text = xmalloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7);
	uint32_t len = LARGE - 4;
	memcpy(text, &len, 4);
	memset(text + 4, 'x', LARGE - 4);
	struct tensor tensors[] = { { STR("x"), DTYPE_FP32, 1, { 3 }, (uint8_t *)small, sizeof(small) },
				    { STR("image"), DTYPE_UINT8, 1, { LARGE }, large, LARGE },
				    { STR("empty"), DTYPE_FP32, 2, { 0, 4 }, NULL, 0 },
				    { STR("words"), DTYPE_BYTES, 1, { 1 }, text, LARGE } };
	struct buf bytes;
	struct arena arena;
	buf_init(&bytes, 1 << 20);
	arena_init(&arena, 1 << 20);
	struct run_record run = make_run(5, tensors, ARRAY_SIZE(tensors)), one = make_run(6, tensors, 1);
	struct run_record error = { .type = FRAME_ERROR, .index = 7, .error = STR("{\"code\":\"UNKNOWN\"}") };
	struct run_record result = { .type = FRAME_RESULT, .index = 8, .run_ns = 99, .run = { .tensors = tensors, .count = 2 } };
	const struct run_record *all[] = { &run, &one, &error, &result };
	size_t most = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		most += run_record_size(all[i]);
		assert_int_equal(run_record_encode(&bytes, all[i], NULL), ERR_OK);
		assert_true(bytes.len <= most);
	}
	size_t at = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct run_record got = read_one(&bytes, &at, &arena);
		assert_int_equal(got.type, all[i]->type);
		assert_int_equal(got.index, 5 + i);
		assert_int_equal(got.flags, all[i]->flags);
		assert_int_equal(got.run_ns, all[i]->run_ns);
		assert_true(str_eq(got.error, all[i]->error) && str_eq(got.run.method, all[i]->run.method) &&
			    str_eq(got.run.parameters, all[i]->run.parameters));
		assert_int_equal(got.run.count, all[i]->run.count);
		for (size_t k = 0; k < got.run.count; k++) {
			assert_true(str_eq(got.run.tensors[k].name, tensors[k].name));
			assert_int_equal(got.run.tensors[k].len, tensors[k].len);
			if (tensors[k].len)
				assert_memory_equal(got.run.tensors[k].data, tensors[k].data, tensors[k].len);
		}
	}
	assert_int_equal(at, bytes.len);
	arena_done(&arena);
	buf_done(&bytes);
}

static void test_what_does_not_fit_changes_nothing(void **state)
{
	static uint8_t data[LARGE];
	struct tensor tensor = { STR("x"), DTYPE_UINT8, 1, { LARGE }, data, LARGE };
	struct run_record run = make_run(0, &tensor, 1);
	struct buf bytes;
	for (size_t ceiling = 1; ceiling < LARGE; ceiling += 1000) {
		buf_init(&bytes, ceiling);
		assert_int_equal(run_record_encode(&bytes, &run, NULL), ERR_OUT_OF_RANGE);
		assert_int_equal(bytes.len, 0);
		assert_false(bytes.overflowed);
		buf_done(&bytes);
	}
}

/* Cut anywhere, or with any byte changed, it is read whole or refused, within its bytes (AddressSanitizer looks). */
static void test_damage(void **state)
{
	static uint8_t data[LARGE];
	struct tensor tensors[] = { { STR("x"), DTYPE_UINT8, 1, { LARGE }, data, LARGE },
				    { STR("j"), DTYPE_JSON, 0, { 0 }, (uint8_t *)"[1]", 3 } };
	struct run_record run = make_run(0, tensors, 2), ret;
	struct run_record_span span;
	struct buf bytes;
	buf_init(&bytes, 1 << 20);
	assert_int_equal(run_record_encode(&bytes, &run, NULL), ERR_OK);
	for (size_t len = 0; len < bytes.len; len += len < 300 ? 1 : 997) {
		_cleanup_free_ uint8_t *copy = xmalloc(len + 1);
		memcpy(copy, bytes.data, len);
		size_t at = 0;
		assert_int_equal(run_record_next(copy, len, &at, &span, NULL), ERR_DATA_LOSS);
		assert_int_equal(at, 0);
	}
	for (size_t i = 0; i < 300; i++) {
		_cleanup_free_ uint8_t *copy = xmalloc(bytes.len);
		struct arena arena;
		arena_init(&arena, 1 << 20);
		memcpy(copy, bytes.data, bytes.len);
		copy[i] ^= 0xff;
		size_t at = 0;
		enum err_code code = run_record_next(copy, bytes.len, &at, &span, NULL);
		if (code == ERR_OK)
			code = run_record_decode(&span, &arena, &ret, NULL);
		assert_true(code == ERR_OK || code == ERR_DATA_LOSS);
		arena_done(&arena);
	}
	buf_done(&bytes);
}

TEST_MAIN(cmocka_unit_test(test_records_follow_each_other), cmocka_unit_test(test_what_does_not_fit_changes_nothing),
	  cmocka_unit_test(test_damage))
