/* Any bytes as a .npy file: what is accepted must be a sound tensor and survive being written and read again. */
#include "base/alloc.h"
#include "wire/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_free_ uint8_t *copy = xmalloc(len + 1);
	memcpy(copy, data, len);
	struct arena arena;
	arena_init(&arena, 64u << 20);
	struct tensor tensor;
	if (npy_parse(copy, len, "input", &arena, &tensor, NULL) == ERR_OK) {
		if (tensor_check(&tensor, NULL) != ERR_OK)
			abort();
		struct buf out;
		buf_init(&out, 256u << 20);
		struct tensor again;
		if (npy_write(&out, &tensor, NULL) == ERR_OK &&
		    (npy_parse((uint8_t *)out.data, out.len, "again", &arena, &again, NULL) != ERR_OK ||
		     again.rank != tensor.rank))
			abort();
		buf_done(&out);
	}
	arena_done(&arena);
	return 0;
}
