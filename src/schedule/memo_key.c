#include "schedule/memo_key.h"

#include "base/alloc.h"
#include "schedule/servable.h"

#include <sys/random.h>

#define SECRET_BYTES 32
#define GATHER_BYTES 1024

struct memo_keyer {
	struct hasher *hasher;
	uint8_t secret[SECRET_BYTES];
	/* Small parts go to the hasher together. */
	uint8_t gathered[GATHER_BYTES];
	size_t gathered_len;
};

struct memo_keyer *memo_keyer_create(void)
{
	struct memo_keyer *keyer = NEW(struct memo_keyer);
	keyer->hasher = hasher_create();
	if (getrandom(keyer->secret, sizeof(keyer->secret), 0) != sizeof(keyer->secret))
		abort();
	return keyer;
}

void memo_keyer_destroy(struct memo_keyer *keyer)
{
	if (!keyer)
		return;
	hasher_destroy(keyer->hasher);
	free(keyer);
}

static void flush(struct memo_keyer *keyer)
{
	hasher_update(keyer->hasher, keyer->gathered, keyer->gathered_len);
	keyer->gathered_len = 0;
}

static void put(struct memo_keyer *keyer, const void *data, size_t len)
{
	if (len > GATHER_BYTES - keyer->gathered_len)
		flush(keyer);
	if (len > GATHER_BYTES) {
		hasher_update(keyer->hasher, data, len);
		return;
	}
	if (len)
		memcpy(keyer->gathered + keyer->gathered_len, data, len);
	keyer->gathered_len += len;
}

static void put_number(struct memo_keyer *keyer, uint64_t number)
{
	put(keyer, &number, sizeof(number));
}

static void put_part(struct memo_keyer *keyer, const void *data, size_t len)
{
	put_number(keyer, len);
	put(keyer, data, len);
}

static void put_tensor(struct memo_keyer *keyer, const struct tensor *tensor, struct file_view *files)
{
	put_part(keyer, tensor->name.data, tensor->name.len);
	put_number(keyer, tensor->dtype);
	put_part(keyer, tensor->shape, tensor->rank * sizeof(tensor->shape[0]));
	struct file_view *file = files ? file_view_find(files, tensor->data, tensor->len) : NULL;
	if (!file) {
		put_part(keyer, tensor->data, tensor->len);
		return;
	}
	put_number(keyer, UINT64_MAX); /* no length of bytes */
	put(keyer, file->digest.bytes, sizeof(file->digest.bytes));
	put_number(keyer, (uint64_t)(tensor->data - file->data));
	put_number(keyer, tensor->len);
}

/* No parameters and an empty object are one. */
static bool put_parameters(struct memo_keyer *keyer, struct str parameters)
{
	if (parameters.len <= 2) {
		put_number(keyer, 0);
		return true;
	}
	_cleanup_json_ json_t *json = json_loadb(parameters.data, parameters.len, 0, NULL);
	if (!json)
		return false;
	_cleanup_free_ char *text = json_canonical(json);
	put_part(keyer, text, json_object_size(json) ? strlen(text) : 0);
	return true;
}

bool memo_key(struct memo_keyer *keyer, const struct run *run, const char *user, struct digest *ret)
{
	const struct run_request *request = &run->request;
	put(keyer, keyer->secret, sizeof(keyer->secret));
	put_part(keyer, run->servable->key, strlen(run->servable->key));
	put_part(keyer, run->method->name.data, run->method->name.len);
	put_number(keyer, user != NULL);
	put_part(keyer, user, user ? strlen(user) : 0);
	bool ok = put_parameters(keyer, request->parameters);
	put_number(keyer, request->input_count);
	for (size_t i = 0; i < request->input_count; i++)
		put_tensor(keyer, &request->inputs[i], run->files);
	flush(keyer);
	hasher_finish(keyer->hasher, ret);
	return ok;
}
