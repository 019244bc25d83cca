/* A message of notes: each RUN and RESULT in it is decoded, and what decodes must encode and decode to the same again. */
#include "wire/site_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* A file whose numbers are all of them good. */
static bool get_file(void *context, uint32_t number, uint8_t **ret_data, size_t *ret_size)
{
	static uint8_t file[100000];
	*ret_data = file;
	*ret_size = sizeof(file);
	return true;
}

static void check_run(const uint8_t *body, size_t len)
{
	static struct site_large large[FRAME_TENSORS_MAX];
	struct arena arena;
	struct buf out;
	struct frame_header frame;
	struct run_frame run, again;
	size_t count;
	arena_init(&arena, (size_t)8 << 20);
	buf_init(&out, (size_t)8 << 20);
	struct site_header header = { .type = SITE_RUN };
	if (site_decode_run(body, len, &arena, get_file, NULL, &frame, &run, NULL) == ERR_OK &&
	    site_encode_run(&out, &header, &frame, &run, large, &count, NULL) == ERR_OK && count == 0) {
		const uint8_t *at;
		require(site_peek((uint8_t *)out.data, out.len, &header, &at) == 1);
		require(site_decode_run(at, header.length, &arena, NULL, NULL, &frame, &again, NULL) == ERR_OK);
		require(again.count == run.count && str_eq(again.method, run.method) && str_eq(again.parameters, run.parameters));
		for (size_t i = 0; i < run.count; i++)
			require(again.tensors[i].len == run.tensors[i].len && again.tensors[i].dtype == run.tensors[i].dtype &&
				(!run.tensors[i].len || memcmp(again.tensors[i].data, run.tensors[i].data, run.tensors[i].len) == 0));
	}
	buf_done(&out);
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct site_header header;
	const uint8_t *body;
	while (site_peek(data, size, &header, &body) == 1) {
		if (header.type == SITE_RUN || header.type == SITE_RESULT)
			check_run(body, header.length);
		size -= sizeof(header) + header.length;
		data = body + header.length;
	}
	return 0;
}
