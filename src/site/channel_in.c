/* What the worker says: nothing of it is trusted. */
#include "site/channel_internal.h"

#include "base/json.h"

#define PROGRESS_DEPTH 64
#define MESSAGE_BYTES (16u << 10)   /* of a servable's own error: what is passed on to its caller */
#define TRACEBACK_BYTES (64u << 10) /* its end says more than its begin */

/* The servable's own error, as its caller is to read it. */
static enum err_code read_error(struct str payload, struct arena *arena, struct str *ret_metadata, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	if (json_read(payload.data, payload.len, 16, "error frame", &json, err) != ERR_OK || !json_is_object(json))
		return err_set(err, ERR_INTERNAL, "broke the protocol: its error cannot be read");
	enum err_code code = err_code_of_name(json_path_string(json, "code") ?: "UNKNOWN");
	const char *traceback = json_path_string(json, "traceback") ?: "";
	size_t len = strlen(traceback);
	if (len > TRACEBACK_BYTES)
		traceback += len - TRACEBACK_BYTES;
	err_set(err, code == ERR_OK ? ERR_UNKNOWN : code, "%.*s%s%s%s", (int)MESSAGE_BYTES,
		json_path_string(json, "message") ?: "no message", *traceback ? "\n" : "",
		len > TRACEBACK_BYTES ? "(…)" : "", traceback);
	if (json_path_string(json, "hint"))
		err_advise(err, "%.*s", (int)MESSAGE_BYTES, json_path_string(json, "hint"));
	if (arena && ret_metadata && (json_path_string(json, "stdout") || json_path_string(json, "stderr"))) {
		json_object_del(json, "code");
		json_object_del(json, "message");
		json_object_del(json, "hint");
		json_object_del(json, "traceback");
		_cleanup_free_ char *text = json_canonical(json);
		char *copy = arena_strndup(arena, text, strlen(text));
		*ret_metadata = (struct str){ copy, copy ? strlen(copy) : 0 };
	}
	return err->code;
}

/* frame_slab_fn that remembers which slabs a result named: they are the worker's again once copied. */
struct slab_use {
	struct channel *channel;
	struct {
		uint32_t number;
		const uint8_t *data;
		size_t size;
		bool lent;
	} slabs[FRAME_TENSORS_MAX];
	size_t count;
};

static bool use_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	struct slab_use *use = context;
	if (!slab_view_get(use->channel->view, slab, ret_data, ret_size))
		return false;
	for (size_t i = 0; i < use->count; i++)
		if (use->slabs[i].number == slab)
			return true;
	if (use->count == ARRAY_SIZE(use->slabs))
		return false;
	use->slabs[use->count].number = slab;
	use->slabs[use->count].data = *ret_data;
	use->slabs[use->count].size = *ret_size;
	use->slabs[use->count++].lent = false;
	return true;
}

/* batch_lender. */
static bool lend(void *context, struct run *run, const struct tensor *output)
{
	struct slab_use *use = context;
	for (size_t i = 0; i < use->count; i++) {
		if (output->data < use->slabs[i].data || output->data >= use->slabs[i].data + use->slabs[i].size)
			continue;
		if (!use->slabs[i].lent)
			use->slabs[i].lent = loans_lend(use->channel->loans, run, use->slabs[i].number, use->slabs[i].size);
		return use->slabs[i].lent;
	}
	return false; /* it lies in the frame */
}

static bool give_back(struct channel *channel, uint32_t slab)
{
	struct frame_header header = { .length = sizeof(struct slab_frame), .type = FRAME_RELEASE };
	struct slab_frame frame = { .slab = slab };
	if (!frame_encode(&channel->out, &header, &frame))
		return false;
	channel_mark_dirty(channel);
	return true;
}

void channel_give_back(void *context, uint32_t slab)
{
	struct channel *channel = context;
	if (!channel->ended)
		(void)give_back(channel, slab); /* a worker that does not read loses it */
}

static enum err_code give_back_slabs(const struct slab_use *use, struct err *err)
{
	for (size_t i = 0; i < use->count; i++)
		if (!use->slabs[i].lent && !give_back(use->channel, use->slabs[i].number))
			return err_set(err, ERR_INTERNAL, "broke the protocol: it sends, but does not read");
	return ERR_OK;
}

static enum err_code take_result(struct channel *channel, struct batch *batch, struct str payload, struct arena *arena,
				 int64_t most, struct err *err)
{
	struct run_frame frame;
	struct slab_use use;
	use.channel = channel;
	use.count = 0;
	if (frame_decode_run((const uint8_t *)payload.data, payload.len, arena, use_slab, &use, &frame, err) != ERR_OK)
		return err_wrap(err, "broke the protocol");
	const struct batch_lender lender = { lend, &use };
	(void)!batch_take_outputs(batch, frame.tensors, frame.count, frame.parameters, most, &lender, &batch->err);
	return give_back_slabs(&use, err);
}

static enum err_code on_reply(struct channel *channel, const struct frame_header *header, struct str payload, struct err *err)
{
	struct slot *slot = slots_find(&channel->slots, header->run);
	if (!slot)
		return err_set(err, ERR_INTERNAL, "broke the protocol: it answered a run that it was not given");
	struct batch *batch = slot->batch;
	struct run *only = batch_only_run(batch);
	int64_t most = settings_int(channel->group->settings, SETTING_LIMITS_OUTPUT_BYTES);
	struct arena scratch; /* of several: as large as a run's own, or its end would look like a breach */
	arena_init(&scratch, (size_t)most + FRAME_LENGTH_MAX);
	enum err_code code = ERR_OK;
	batch->run_ns = (int64_t)header->deadline_ns;
	if (header->type == FRAME_RESULT)
		code = take_result(channel, batch, payload, only ? &only->arena : &scratch, most, err);
	else
		(void)!read_error(payload, only ? &only->arena : NULL, only ? &only->metadata : NULL,
				  only ? &only->err : &batch->err);
	if (code == ERR_OK) {
		slots_give(&channel->slots, slot);
		channel->events.on_batch_done(channel->events.context, batch);
	}
	arena_done(&scratch);
	return code;
}

static enum err_code on_progress(struct channel *channel, const struct frame_header *header, struct str payload, struct err *err)
{
	struct slot *slot = slots_find(&channel->slots, header->run);
	_cleanup_json_ json_t *json = NULL;
	if (!slot)
		return err_set(err, ERR_INTERNAL, "broke the protocol: it told of a run that it was not given");
	if (json_read(payload.data, payload.len, PROGRESS_DEPTH, "progress", &json, err) != ERR_OK || !json_is_object(json))
		return err_set(err, ERR_INTERNAL, "broke the protocol: its progress is no JSON object");
	channel->events.on_progress(channel->events.context, slot->batch, payload);
	return ERR_OK;
}

static enum err_code on_slab(struct channel *channel, const struct frame_header *header, const uint8_t *payload, struct err *err)
{
	struct slab_frame frame;
	if (header->length != sizeof(frame))
		return err_set(err, ERR_INTERNAL, "broke the protocol: slab frame of %u bytes", header->length);
	memcpy(&frame, payload, sizeof(frame));
	if (header->type == FRAME_RELEASE)
		return slab_release(channel->slabs, frame.slab) ?
			       ERR_OK :
			       err_set(err, ERR_INTERNAL, "broke the protocol: it released a slab that it does not have");
	int fd = passed_fds_take(&channel->in.fds);
	if (fd < 0)
		return err_set(err, ERR_INTERNAL, "broke the protocol: a slab without its descriptor");
	return slab_view_add(channel->view, frame.slab, fd, (size_t)frame.size_bytes, err);
}

static enum err_code on_frame(struct channel *channel, const struct frame_header *header, const uint8_t *data, struct err *err)
{
	struct str payload = { (const char *)data, header->length };
	switch (header->type) {
	case FRAME_READY:
		if (channel->ready)
			break;
		channel->ready = true;
		channel->events.on_ready(channel->events.context, payload);
		return ERR_OK;
	case FRAME_RESULT:
		return on_reply(channel, header, payload, err);
	case FRAME_ERROR:
		return header->run != 0 ? on_reply(channel, header, payload, err) : read_error(payload, NULL, NULL, err);
	case FRAME_SLAB:
	case FRAME_RELEASE:
		return on_slab(channel, header, data, err);
	case FRAME_PROGRESS:
		return on_progress(channel, header, payload, err);
	case FRAME_LOG:
		channel->events.on_log(channel->events.context, payload);
		return ERR_OK;
	default:
		break;
	}
	return err_set(err, ERR_INTERNAL, "broke the protocol: frame of type %u was not expected", header->type);
}

static void read_frames(struct channel *channel)
{
	struct frame_header header;
	const uint8_t *payload;
	int whole = 0;
	struct err why = ERR_INIT;
	while (!channel->ended && why.code == ERR_OK && (whole = frames_in_next(&channel->in, &header, &payload)) == 1)
		(void)!on_frame(channel, &header, payload, &why);
	if (whole < 0)
		err_set(&why, ERR_INTERNAL, "broke the protocol: it sent what is no frame");
	if (why.code != ERR_OK)
		channel_end(channel, &why);
	err_done(&why);
}

bool channel_receive(struct channel *channel)
{
	struct err why = ERR_INIT;
	enum frames_in_found found = FRAMES_IN_END;
	(void)!frames_in_receive(&channel->in, channel->socket, &found, &why);
	if (found == FRAMES_IN_BYTES)
		read_frames(channel);
	else if (found == FRAMES_IN_END)
		channel_end(channel, &why);
	err_done(&why);
	return found == FRAMES_IN_BYTES;
}
