/* The input as the bytes of a task: records one behind the other. What decodes must encode, and decode to the same. */
#include "wire/run_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void round_trip(const struct run_record *record)
{
	struct buf out;
	struct arena arena;
	struct run_record_span span;
	struct run_record again;
	size_t at = 0;
	buf_init(&out, (size_t)8 << 20);
	arena_init(&arena, (size_t)8 << 20);
	if (run_record_encode(&out, record, NULL) == ERR_OK) {
		require(out.len <= run_record_size(record));
		require(run_record_next((uint8_t *)out.data, out.len, &at, &span, NULL) == ERR_OK && at == out.len);
		require(run_record_decode(&span, &arena, &again, NULL) == ERR_OK);
		require(again.type == record->type && again.index == record->index && again.run_ns == record->run_ns);
		require(str_eq(again.error, record->error) && again.run.count == record->run.count);
		for (size_t i = 0; i < again.run.count; i++)
			require(again.run.tensors[i].len == record->run.tensors[i].len);
	}
	arena_done(&arena);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_record_span span;
	for (size_t at = 0; at < size && run_record_next(data, size, &at, &span, NULL) == ERR_OK;) {
		struct arena arena;
		struct run_record record;
		arena_init(&arena, (size_t)8 << 20);
		if (run_record_decode(&span, &arena, &record, NULL) == ERR_OK)
			round_trip(&record);
		arena_done(&arena);
	}
	return 0;
}
