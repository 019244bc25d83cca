#include "base/test.h"

#include "base/alloc.h"
#include "wire/npy.h"

/* A file of version 1 with this header and data. */
static size_t file_of(uint8_t *file, const char *header, const void *data, size_t len)
{
	size_t n = strlen(header);
	memcpy(file, "\x93NUMPY\x01\x00", 8);
	file[8] = (uint8_t)n;
	file[9] = (uint8_t)(n >> 8);
	memcpy(file + 10, header, n);
	memcpy(file + 10 + n, data, len);
	return 10 + n + len;
}

static int setup(void **state)
{
	static struct arena arena;
	arena_init(&arena, 1 << 20);
	*state = &arena;
	return 0;
}

static int teardown(void **state)
{
	arena_done(*state);
	return 0;
}

static void reads_what_numpy_writes(void **state)
{
	uint8_t file[512];
	const float values[6] = { 1, 2, 3, 4, 5, 6 };
	size_t len = file_of(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }        \n", values,
			     sizeof(values));
	struct tensor tensor;
	assert_int_equal(npy_parse(file, len, "x.npy", *state, &tensor, NULL), ERR_OK);
	assert_int_equal(tensor.dtype, DTYPE_FP32);
	assert_int_equal(tensor.rank, 2);
	assert_int_equal(tensor.shape[1], 3);
	assert_memory_equal(tensor.data, values, sizeof(values));
}

static void reads_the_other_orders(void **state)
{
	uint8_t file[512];
	/* [[1, 2, 3], [4, 5, 6]] big endian, first axis fastest */
	const uint8_t data[] = { 0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6 };
	size_t len = file_of(file, "{'shape': (2, 3), 'descr': '>i2', 'fortran_order': True}", data, sizeof(data));
	const int16_t expect[] = { 1, 2, 3, 4, 5, 6 };
	struct tensor tensor;
	assert_int_equal(npy_parse(file, len, "x.npy", *state, &tensor, NULL), ERR_OK);
	assert_memory_equal(tensor.data, expect, sizeof(expect));
}

static void reads_strings(void **state)
{
	uint8_t file[512];
	const uint32_t points[] = { 'a', 0xe9, 0x1f600, 0, 0, 0 };
	size_t len = file_of(file, "{'descr': '<U3', 'fortran_order': False, 'shape': (2,)}", points, sizeof(points));
	struct tensor tensor;
	assert_int_equal(npy_parse(file, len, "x.npy", *state, &tensor, NULL), ERR_OK);
	assert_int_equal(tensor.dtype, DTYPE_BYTES);
	assert_int_equal(tensor_check(&tensor, NULL), ERR_OK);
	assert_int_equal(tensor.len, 4 + 7 + 4);
	assert_memory_equal(tensor.data + 4, "a\xc3\xa9\xf0\x9f\x98\x80", 7);
}

static void refuses(void **state)
{
	static const struct {
		const char *header, *expect;
	} cases[] = {
		{ "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "Python objects" },
		{ "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "records" },
		{ "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "complex" },
		{ "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,)}", "dates" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (100,)}", "cut short" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 8)}", "larger" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "damaged" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "damaged" },
		{ "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", "damaged" },
		{ "{'descr': '<f4', 'shape': (1,)}", "damaged" },
		{ "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "damaged" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1", "damaged" },
		{ "", "damaged" },
	};
	uint8_t file[512];
	struct tensor tensor;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		size_t len = file_of(file, cases[i].header, "12345678", 8);
		assert_int_equal(npy_parse(file, len, "x.npy", *state, &tensor, &err), ERR_INVALID_ARGUMENT);
		if (!strstr(err_text(&err), cases[i].expect) || !strstr(err_text(&err), "x.npy"))
			fail_msg("%s: %s", cases[i].header, err_text(&err));
		err_done(&err);
	}
	uint8_t cut[] = "\x93NUMPY\x01\x00\xff\xff{";
	for (size_t len = 0; len < sizeof(cut); len++)
		assert_int_equal(npy_parse(cut, len, "x.npy", *state, &tensor, NULL), ERR_INVALID_ARGUMENT);
}

static void writes_what_it_reads(void **state)
{
	uint8_t bytes[64];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 3 & 1); /* also a sound BOOL */
	static const int64_t shapes[][3] = { { 2, 2, 2 }, { 8, 0, 0 }, { 0, 0, 0 } };
	static const uint32_t ranks[] = { 3, 1, 0 };
	for (enum dtype dtype = DTYPE_BOOL; dtype < DTYPE_BYTES; dtype++)
		for (size_t s = 0; s < ARRAY_SIZE(ranks); s++) {
			struct tensor tensor = { .dtype = dtype, .rank = ranks[s], .data = bytes }, again;
			memcpy(tensor.shape, shapes[s], sizeof(shapes[s]));
			tensor.len = dtype_size(dtype) * (ranks[s] ? 8 : 1);
			struct buf out;
			buf_init(&out, 4096);
			assert_int_equal(npy_write(&out, &tensor, NULL), ERR_OK);
			assert_int_equal((size_t)(strchr(out.data + 10, '\n') + 1 - out.data) % 64, 0);
			assert_int_equal(npy_parse((uint8_t *)out.data, out.len, "x", *state, &again, NULL), ERR_OK);
			assert_int_equal(again.rank, tensor.rank);
			assert_int_equal(again.dtype, dtype == DTYPE_BF16 ? DTYPE_FP32 : dtype);
			if (dtype != DTYPE_BF16)
				assert_memory_equal(again.data, bytes, tensor.len);
			buf_done(&out);
		}
}

static void writes_strings(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		const char *descr;
	} cases[] = {
		{ "\2\0\0\0\xc3\xa9\3\0\0\0abc", 13, "'<U3'" },
		{ "\1\0\0\0\xff\2\0\0\0ab", 11, "'|S2'" },
		{ "\0\0\0\0\0\0\0\0", 8, "'<U1'" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tensor tensor = { .dtype = DTYPE_BYTES,
					 .rank = 1,
					 .shape = { 2 },
					 .data = (uint8_t *)cases[i].data,
					 .len = cases[i].len },
			      again;
		struct buf out;
		buf_init(&out, 4096);
		assert_int_equal(npy_write(&out, &tensor, NULL), ERR_OK);
		assert_non_null(strstr(out.data + 10, cases[i].descr));
		assert_int_equal(npy_parse((uint8_t *)out.data, out.len, "x", *state, &again, NULL), ERR_OK);
		assert_int_equal(again.len, tensor.len);
		assert_memory_equal(again.data, tensor.data, tensor.len);
		buf_done(&out);
	}
	struct tensor json = { .dtype = DTYPE_JSON, .data = (uint8_t *)"1", .len = 1 };
	struct buf out;
	buf_init(&out, 4096);
	assert_int_equal(npy_write(&out, &json, NULL), ERR_INVALID_ARGUMENT);
	buf_done(&out);
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
TEST_MAIN(WITH_ARENA(reads_what_numpy_writes), WITH_ARENA(reads_the_other_orders), WITH_ARENA(reads_strings),
	  WITH_ARENA(refuses), WITH_ARENA(writes_what_it_reads), WITH_ARENA(writes_strings))
