/* The first byte says how the rest is read: even, as a stream of frames; odd, as the payload of a RUN whose slabs lie
 * in the last bytes of the input. Whatever decodes must encode, and decode to the same again. */
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

/* Slab n is the last n bytes. */
static bool get_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	const struct input *input = context;
	if (slab > input->size)
		return false;
	*ret_data = (uint8_t *)input->data + input->size - slab;
	*ret_size = slab;
	return true;
}

static uint8_t touch(const struct run_frame *run)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < run->count; i++) {
		for (size_t k = 0; k < run->tensors[i].len; k++)
			sum ^= run->tensors[i].data[k];
		for (size_t k = 0; k < run->tensors[i].name.len; k++)
			sum ^= (uint8_t)run->tensors[i].name.data[k];
	}
	return sum;
}

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void round_trip(const struct run_frame *run)
{
	struct buf out;
	struct arena arena;
	struct run_frame again;
	struct frame_header header = { .type = FRAME_RUN };
	const uint8_t *payload;
	buf_init(&out, (size_t)4 << 20);
	arena_init(&arena, (size_t)4 << 20);
	if (frame_encode_run(&out, &header, run, NULL, NULL, NULL) == ERR_OK) {
		require(frame_peek((uint8_t *)out.data, out.len, &header, &payload) == 1);
		require(frame_decode_run(payload, header.length, &arena, NULL, NULL, &again, NULL) == ERR_OK);
		require(str_eq(run->method, again.method) && str_eq(run->parameters, again.parameters));
		require(run->count == again.count);
		for (size_t i = 0; i < run->count; i++) {
			const struct tensor *a = &run->tensors[i], *b = &again.tensors[i];
			require(a->dtype == b->dtype && a->rank == b->rank && a->len == b->len &&
				str_eq(a->name, b->name));
			require(memcmp(a->shape, b->shape, a->rank * sizeof(int64_t)) == 0);
			require(a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
		}
	}
	arena_done(&arena);
	buf_done(&out);
}

static void decode(const uint8_t *payload, size_t len, struct input *input)
{
	struct arena arena;
	struct run_frame run;
	struct err err = ERR_INIT;
	arena_init(&arena, (size_t)1 << 20);
	if (frame_decode_run(payload, len, &arena, get_slab, input, &run, &err) == ERR_OK) {
		volatile uint8_t sum = touch(&run);
		(void)sum;
		round_trip(&run);
	} else {
		require(err.code == ERR_INVALID_ARGUMENT || err.code == ERR_OUT_OF_RANGE);
	}
	err_done(&err);
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct input input = { data + 1, size - 1 };
	if (data[0] & 1) {
		decode(input.data, input.size, &input);
		return 0;
	}
	struct frame_header header;
	const uint8_t *at = input.data, *payload;
	size_t left = input.size;
	while (frame_peek(at, left, &header, &payload) == 1) {
		if (header.type == FRAME_RUN || header.type == FRAME_RESULT)
			decode(payload, header.length, &input);
		left -= sizeof(header) + header.length;
		at = payload + header.length;
	}
	return 0;
}
