#include "worker/reply.h"

#include "base/alloc.h"

static enum err_code reply_grow(struct worker_reply *reply, struct err *err)
{
	if (reply->count < reply->capacity)
		return ERR_OK;
	if (reply->count == FRAME_TENSORS_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "more than %u outputs", FRAME_TENSORS_MAX);
	size_t capacity = reply->capacity ? reply->capacity * 2 : 4;
	struct tensor *tensors = arena_alloc(reply->arena, capacity * sizeof(*tensors));
	uint32_t *slabs = arena_alloc(reply->arena, capacity * sizeof(*slabs));
	uint64_t *offsets = arena_alloc(reply->arena, capacity * sizeof(*offsets));
	if (reply->count) {
		memcpy(tensors, reply->tensors, reply->count * sizeof(*tensors));
		memcpy(slabs, reply->slabs, reply->count * sizeof(*slabs));
		memcpy(offsets, reply->offsets, reply->count * sizeof(*offsets));
	}
	reply->tensors = tensors;
	reply->slabs = slabs;
	reply->offsets = offsets;
	reply->capacity = capacity;
	return ERR_OK;
}

/* A slab of at least `size`, waiting for the hub while it holds others. */
static enum err_code reply_take_slab(struct worker_reply *reply, const struct tensor *tensor, uint32_t *ret_slab,
				     uint8_t **ret_data, struct err *err)
{
	for (;;) {
		size_t size;
		int new_fd = -1;
		struct err why = ERR_INIT;
		enum err_code code = slab_take(reply->pool, tensor->len, ret_slab, ret_data, &size, &new_fd, &why);
		if (code == ERR_OK) {
			++*reply->slabs_out;
			if (new_fd >= 0)
				return reply->announce(reply->context, *ret_slab, size, new_fd, err);
			return ERR_OK;
		}
		size_t own = 0;
		for (size_t i = 0; i < reply->count; i++)
			own += reply->slabs[i] != FRAME_INLINE;
		if (code != ERR_RESOURCE_EXHAUSTED || *reply->slabs_out <= own) {
			err_move(err, &why);
			return err_wrap(err, "output '" STR_FMT "' of %zu bytes", STR_ARG(tensor->name), tensor->len);
		}
		err_done(&why);
		code = reply->wait(reply->context, err);
		if (code != ERR_OK)
			return code;
	}
}

enum err_code worker_reply_reserve(struct worker_reply *reply, const struct tensor *tensor, uint8_t **ret_data,
				   struct err *err)
{
	enum err_code code = reply_grow(reply, err);
	if (code != ERR_OK)
		return code;
	size_t i = reply->count;
	struct tensor *to = &reply->tensors[i];
	*to = *tensor;
	to->name = (struct str){ arena_strndup(reply->arena, tensor->name.data, tensor->name.len), tensor->name.len };
	reply->offsets[i] = 0;
	reply->slabs[i] = FRAME_INLINE;
	if (tensor->len > FRAME_INLINE_MAX) {
		code = reply_take_slab(reply, tensor, &reply->slabs[i], &to->data, err);
		if (code != ERR_OK)
			return code;
	} else {
		to->data = arena_try(reply->arena, tensor->len + ARENA_ALIGN);
		if (to->data)
			to->data += -(uintptr_t)to->data % ARENA_ALIGN;
	}
	if (!to->data || !to->name.data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "the outputs take more memory than one run may have");
	*ret_data = to->data;
	reply->count++;
	return ERR_OK;
}

enum err_code worker_reply_add(struct worker_reply *reply, const struct tensor *tensor, struct err *err)
{
	uint8_t *data;
	enum err_code code = tensor_check(tensor, err);

	if (code == ERR_OK)
		code = worker_reply_reserve(reply, tensor, &data, err);
	if (code == ERR_OK && tensor->len)
		memcpy(data, tensor->data, tensor->len);
	return code;
}

static struct str reply_keep(struct worker_reply *reply, struct str text)
{
	size_t len = MIN(text.len, REPLY_TEXT_MAX);
	/* The end of a traceback says most; the start of an output does. */
	char *copy = arena_strndup(reply->arena, text.data, len);

	return copy ? (struct str){ copy, len } : STR("(lost: no memory for it)");
}

void worker_reply_output(struct worker_reply *reply, struct str text_stdout, struct str text_stderr)
{
	reply->text_stdout = reply_keep(reply, text_stdout);
	reply->text_stderr = reply_keep(reply, text_stderr);
}

void worker_reply_traceback(struct worker_reply *reply, struct str traceback)
{
	if (traceback.len > REPLY_TEXT_MAX) {
		traceback.data += traceback.len - REPLY_TEXT_MAX;
		traceback.len = REPLY_TEXT_MAX;
	}
	reply->traceback = reply_keep(reply, traceback);
}

/* Appends `"key":"text",` */
static void reply_put(struct buf *out, const char *key, struct str text)
{
	if (!text.data)
		return;
	buf_printf(out, "\"%s\":", key);
	buf_put_json_string(out, text.data, text.len);
	buf_putc(out, ',');
}

/* Turns the last comma into the closing brace. */
static void reply_close_object(struct buf *out)
{
	if (out->len && out->data[out->len - 1] == ',')
		out->data[out->len - 1] = '}';
	else
		buf_putc(out, '}');
}

enum err_code reply_encode_result(struct worker_reply *reply, struct buf *out, uint64_t run, int64_t took_ns,
				  struct err *err)
{
	struct frame_header header = { .type = FRAME_RESULT, .run = run, .deadline_ns = (uint64_t)took_ns };
	struct run_frame frame = { .method = STR(""), .parameters = STR(""), .tensors = reply->tensors,
				   .count = reply->count };
	struct buf metadata;

	buf_init(&metadata, FRAME_LENGTH_MAX);
	if (reply->text_stdout.data || reply->text_stderr.data) {
		buf_putc(&metadata, '{');
		reply_put(&metadata, "stdout", reply->text_stdout);
		reply_put(&metadata, "stderr", reply->text_stderr);
		reply_close_object(&metadata);
		frame.parameters = (struct str){ metadata.data, metadata.len };
	}
	enum err_code code = metadata.overflowed ? err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the captured output")
						 : frame_encode_run(out, &header, &frame, reply->slabs, reply->offsets, err);
	buf_done(&metadata);
	return code;
}

void reply_encode_error(struct worker_reply *reply, struct buf *out, uint64_t run, const struct err *why)
{
	struct frame_header header = { .type = FRAME_ERROR, .run = run };
	const char *hint = err_hint(why);
	struct buf text;

	buf_init(&text, FRAME_LENGTH_MAX);
	buf_putc(&text, '{');
	reply_put(&text, "code", str_of(err_code_name(why->code)));
	reply_put(&text, "message", str_of(err_text(why)));
	if (hint)
		reply_put(&text, "hint", str_of(hint));
	reply_put(&text, "traceback", reply->traceback);
	reply_put(&text, "stdout", reply->text_stdout);
	reply_put(&text, "stderr", reply->text_stderr);
	reply_close_object(&text);
	if (text.overflowed) {
		buf_clear(&text);
		text.overflowed = false;
		buf_printf(&text, "{\"code\":\"%s\",\"message\":\"(no memory for the message)\"}", err_code_name(why->code));
	}
	header.length = (uint32_t)text.len;
	/* A failure leaves out->overflowed set; the loop ends then. */
	(void)frame_encode(out, &header, text.data);
	buf_done(&text);
	for (size_t i = 0; i < reply->count; i++)
		if (reply->slabs[i] != FRAME_INLINE && slab_release(reply->pool, reply->slabs[i]))
			--*reply->slabs_out;
	reply->count = 0;
}
