#include "base/arena.h"
#include "base/test.h"

static void test_pieces_do_not_overlap(void **state)
{
	struct arena arena;
	arena_init(&arena, 1 << 20);
	uint8_t *pieces[400];
	for (int i = 0; i < 400; i++) {
		pieces[i] = arena_alloc(&arena, (size_t)i * 11 + 1);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], i & 0xff, (size_t)i * 11 + 1);
	}
	for (int i = 0; i < 400; i++)
		for (int k = 0; k <= i * 11; k++)
			assert_int_equal(pieces[i][k], i & 0xff);
	arena_done(&arena);
	assert_int_equal(arena.used_bytes, 0);
}

static void test_ceiling(void **state)
{
	struct arena arena;
	arena_init(&arena, 10000);
	assert_null(arena_try(&arena, 10001));
	assert_null(arena_try(&arena, SIZE_MAX));
	assert_non_null(arena_try(&arena, 9000));
	assert_null(arena_try(&arena, 1001 + ARENA_LARGE));
	arena_done(&arena);
}

static void test_grow(void **state)
{
	struct arena arena;
	arena_init(&arena, 1 << 20);
	size_t size = 10;
	uint8_t *piece = arena_grow(&arena, NULL, 0, size);
	memset(piece, 7, size);
	for (size_t larger = 11; larger < 400000; larger = larger * 5 / 4 + 1) {
		/* Something behind it, every other time. */
		if (larger % 2)
			memset(arena_alloc(&arena, 20), 9, 20);
		uint8_t *moved = arena_grow(&arena, piece, size, larger);
		assert_non_null(moved);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(moved[i], 7);
		memset(moved, 7, larger);
		piece = moved;
		size = larger;
	}
	size_t used = arena.used_bytes;
	assert_null(arena_grow(&arena, piece, size, 1 << 21));
	assert_int_equal(arena.used_bytes, used);
	assert_int_equal(piece[size - 1], 7);
	arena_done(&arena);
}

TEST_MAIN(cmocka_unit_test(test_grow), cmocka_unit_test(test_pieces_do_not_overlap), cmocka_unit_test(test_ceiling))
