#include "site/channel.h"

#include "base/alloc.h"
#include "io/slab.h"
#include "wire/frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define SLOTS_MAX 1024 /* batches that one worker holds */
#define FDS_MAX 16 /* that came before the frames that they belong to */
#define PROGRESS_DEPTH 64
#define MESSAGE_BYTES (16u << 10)   /* of a servable's own error: what is passed on to its caller */
#define TRACEBACK_BYTES (64u << 10) /* its end says more than its begin */

struct channel_group {
	struct loop *loop;
	const struct settings *settings;
	struct hook *flush_hook;
	struct channel *dirty; /* have frames to send at the end of this turn */
};

/* A place for one outstanding batch; its index and generation make the batch's id. */
struct slot {
	uint32_t generation;
	uint32_t next_free;
	struct batch *batch; /* NULL: free */
	uint64_t order;
};

struct pending_fd {
	size_t offset; /* in `out`: the frame that carries it */
	int fd;	       /* borrowed of the slab pool */
};

struct channel {
	struct channel_group *group;
	struct channel_events events;
	struct channel *next_dirty;
	bool dirty;
	int socket;
	struct watch *watch;
	struct buf out;
	struct pending_fd fds[SLAB_COUNT_MAX]; /* each slab is announced once */
	size_t fd_count;
	struct buf in;
	int received[FDS_MAX];
	size_t received_count;
	struct slab_pool *slabs;
	struct slab_view *view;
	struct slot *slots;
	uint32_t slot_count, free_slot; /* free list, index + 1 */
	uint64_t order;
	bool ready, ended;
};

/* Says so, once. */
static void end(struct channel *channel, const struct err *why)
{
	if (channel->ended)
		return;
	channel->ended = true;
	watch_set(channel->watch, 0);
	channel->events.on_end(channel->events.context, why);
}

/* --- sending --- */

static void mark_dirty(struct channel *channel)
{
	struct channel_group *group = channel->group;
	if (channel->dirty)
		return;
	channel->dirty = true;
	channel->next_dirty = group->dirty;
	group->dirty = channel;
	hook_no_wait(group->flush_hook, true);
}

/* Sends [0, until) of `out`, the first byte with a descriptor where `fd` >= 0. */
static ssize_t send_some(struct channel *channel, size_t until, int fd)
{
	struct iovec iov = { channel->out.data, until };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(channel->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void flush(struct channel *channel)
{
	while (channel->out.len && !channel->ended) {
		size_t until = channel->out.len;
		int fd = -1;
		if (channel->fd_count && channel->fds[0].offset == 0) {
			fd = channel->fds[0].fd;
			if (channel->fd_count > 1)
				until = channel->fds[1].offset;
		} else if (channel->fd_count) {
			until = channel->fds[0].offset;
		}
		ssize_t n = send_some(channel, until, fd);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN) {
				watch_set(channel->watch, WATCH_READ | WATCH_WRITE);
				return;
			}
			struct err why = ERR_INIT;
			err_set(&why, ERR_UNAVAILABLE, "closed its connection");
			end(channel, &why);
			err_done(&why);
			return;
		}
		if (fd >= 0) {
			channel->fd_count--;
			memmove(channel->fds, channel->fds + 1, channel->fd_count * sizeof(channel->fds[0]));
		}
		for (size_t i = 0; i < channel->fd_count; i++)
			channel->fds[i].offset -= (size_t)n;
		buf_consume(&channel->out, (size_t)n);
	}
}

static void on_flush(void *context)
{
	struct channel_group *group = context;
	while (group->dirty) {
		struct channel *channel = group->dirty;
		group->dirty = channel->next_dirty;
		channel->dirty = false;
		flush(channel);
	}
	hook_no_wait(group->flush_hook, false);
}

/* --- batches --- */

static uint64_t slot_take(struct channel *channel, struct batch *batch)
{
	if (!channel->free_slot) {
		if (channel->slot_count == SLOTS_MAX)
			return 0;
		uint32_t count = channel->slot_count ? channel->slot_count * 2 : 64;
		channel->slots = xrealloc(channel->slots, count * sizeof(*channel->slots));
		for (uint32_t i = count; i-- > channel->slot_count;) {
			channel->slots[i] = (struct slot){ .generation = 1, .next_free = channel->free_slot };
			channel->free_slot = i + 1;
		}
		channel->slot_count = count;
	}
	uint32_t index = channel->free_slot - 1;
	struct slot *slot = &channel->slots[index];
	channel->free_slot = slot->next_free;
	slot->batch = batch;
	slot->order = channel->order++;
	return (uint64_t)slot->generation << 32 | index;
}

static struct slot *slot_of(struct channel *channel, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	if (index >= channel->slot_count)
		return NULL;
	struct slot *slot = &channel->slots[index];
	return slot->batch && slot->generation == (uint32_t)(id >> 32) ? slot : NULL;
}

static void slot_give(struct channel *channel, struct slot *slot)
{
	slot->batch = NULL;
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = channel->free_slot;
	channel->free_slot = (uint32_t)(slot - channel->slots) + 1;
}

/* Writes a large input into shared memory and announces it where the worker has not seen that slab. */
static enum err_code put_in_slab(struct channel *channel, const struct batch *batch, size_t input, size_t len,
				 uint32_t *ret_slab, struct err *err)
{
	uint8_t *data;
	size_t size;
	int fd;
	enum err_code code = slab_take(channel->slabs, len, ret_slab, &data, &size, &fd, err);
	if (code != ERR_OK)
		return code;
	if (fd >= 0) {
		struct frame_header header = { .length = sizeof(struct slab_frame), .type = FRAME_SLAB };
		struct slab_frame frame = { .slab = *ret_slab, .size_bytes = size };
		size_t at = channel->out.len;
		if (!frame_encode(&channel->out, &header, &frame)) /* never announced: the slab must not be taken again */
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "the worker does not take its input; try again");
		channel->fds[channel->fd_count++] = (struct pending_fd){ at, fd };
	}
	batch_copy(batch, input, data);
	return ERR_OK;
}

static void release_slabs(struct channel *channel, const uint32_t *slabs, size_t count)
{
	for (size_t i = 0; slabs && i < count; i++)
		if (slabs[i] != FRAME_INLINE)
			slab_release(channel->slabs, slabs[i]);
}

/* Puts what is too large for a frame into slabs; *ret_slabs stays NULL where nothing is. */
static enum err_code place_inputs(struct channel *channel, struct batch *batch, const struct tensor *inputs, size_t count,
				  uint32_t **ret_slabs, struct err *err)
{
	uint32_t *slabs = NULL;
	for (size_t i = 0; i < count; i++) {
		if (inputs[i].len <= FRAME_INLINE_MAX)
			continue;
		if (!slabs) {
			slabs = arena_try(&batch->parts[0].run->arena, count * sizeof(*slabs));
			if (!slabs)
				return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu inputs", count);
			for (size_t k = 0; k < count; k++)
				slabs[k] = FRAME_INLINE;
		}
		enum err_code code = put_in_slab(channel, batch, i, inputs[i].len, &slabs[i], err);
		if (code != ERR_OK) {
			release_slabs(channel, slabs, i);
			return code;
		}
	}
	*ret_slabs = slabs;
	return ERR_OK;
}

static void fill_input(void *context, size_t input, uint8_t *to)
{
	batch_copy(context, input, to);
}

enum err_code channel_send(struct channel *channel, struct batch *batch, struct err *err)
{
	const struct run *first = batch->parts[0].run;
	struct run_frame frame = { .method = first->method->name,
				   .parameters = first->request.parameters,
				   .fill = fill_input,
				   .context = batch };
	uint32_t *slabs = NULL;
	enum err_code code = batch_inputs(batch, &frame.tensors, &frame.count, err);
	if (code == ERR_OK)
		code = place_inputs(channel, batch, frame.tensors, frame.count, &slabs, err);
	if (code != ERR_OK)
		return code;
	batch->id = slot_take(channel, batch);
	if (!batch->id) {
		release_slabs(channel, slabs, frame.count);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "too many runs at one worker");
	}
	struct frame_header header = { .type = FRAME_RUN,
				       .flags = first->request.debug ? FRAME_WANTS_OUTPUT : 0,
				       .run = batch->id,
				       .deadline_ns = (uint64_t)batch->deadline_ns };
	code = frame_encode_run(&channel->out, &header, &frame, slabs, NULL, err);
	if (code != ERR_OK) {
		release_slabs(channel, slabs, frame.count);
		slot_give(channel, slot_of(channel, batch->id));
		return code;
	}
	mark_dirty(channel);
	return ERR_OK;
}

void channel_cancel(struct channel *channel, struct batch *batch)
{
	struct frame_header header = { .type = FRAME_CANCEL, .run = batch->id };
	if (!channel->ended && frame_encode(&channel->out, &header, NULL))
		mark_dirty(channel);
}

void channel_load(struct channel *channel, struct str load)
{
	struct frame_header header = { .length = (uint32_t)load.len, .type = FRAME_LOAD };
	frame_encode(&channel->out, &header, load.data);
	mark_dirty(channel);
}

/* --- receiving --- */

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
	uint32_t slabs[FRAME_TENSORS_MAX];
	size_t count;
};

static bool use_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	struct slab_use *use = context;
	if (!slab_view_get(use->channel->view, slab, ret_data, ret_size))
		return false;
	for (size_t i = 0; i < use->count; i++)
		if (use->slabs[i] == slab)
			return true;
	if (use->count == ARRAY_SIZE(use->slabs))
		return false;
	use->slabs[use->count++] = slab;
	return true;
}

static enum err_code give_back_slabs(struct slab_use *use, struct err *err)
{
	for (size_t i = 0; i < use->count; i++) {
		struct frame_header header = { .length = sizeof(struct slab_frame), .type = FRAME_RELEASE };
		struct slab_frame frame = { .slab = use->slabs[i] };
		if (!frame_encode(&use->channel->out, &header, &frame))
			return err_set(err, ERR_INTERNAL, "broke the protocol: it sends, but does not read");
		mark_dirty(use->channel);
	}
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
	(void)!batch_take_outputs(batch, frame.tensors, frame.count, frame.parameters, most, &batch->err);
	return give_back_slabs(&use, err);
}

static enum err_code on_reply(struct channel *channel, const struct frame_header *header, struct str payload, struct err *err)
{
	struct slot *slot = slot_of(channel, header->run);
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
		slot_give(channel, slot);
		channel->events.on_batch_done(channel->events.context, batch);
	}
	arena_done(&scratch);
	return code;
}

static enum err_code on_progress(struct channel *channel, const struct frame_header *header, struct str payload, struct err *err)
{
	struct slot *slot = slot_of(channel, header->run);
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
	if (!channel->received_count)
		return err_set(err, ERR_INTERNAL, "broke the protocol: a slab without its descriptor");
	int fd = channel->received[0];
	channel->received_count--;
	memmove(channel->received, channel->received + 1, channel->received_count * sizeof(int));
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
	size_t used = 0;
	struct frame_header header;
	const uint8_t *payload;
	int whole = 0;
	struct err why = ERR_INIT;
	while (!channel->ended && why.code == ERR_OK &&
	       (whole = frame_peek((const uint8_t *)channel->in.data + used, channel->in.len - used, &header, &payload)) == 1) {
		(void)!on_frame(channel, &header, payload, &why);
		used += sizeof(header) + header.length;
	}
	if (!channel->ended)
		buf_consume(&channel->in, used);
	if (whole < 0)
		err_set(&why, ERR_INTERNAL, "broke the protocol: it sent what is no frame");
	if (why.code != ERR_OK)
		end(channel, &why);
	err_done(&why);
}

static void keep_descriptors(struct channel *channel, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (channel->received_count < FDS_MAX)
				channel->received[channel->received_count++] = fd;
			else
				close(fd);
		}
	}
}

/* Returns whether anything came. */
static bool receive(struct channel *channel)
{
	struct err why = ERR_INIT;
	char *room = buf_reserve(&channel->in, READ_BYTES);
	if (!room) {
		err_set(&why, ERR_INTERNAL, "broke the protocol: a frame is larger than allowed");
		end(channel, &why);
		err_done(&why);
		return false;
	}
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct iovec iov = { room, READ_BYTES };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(channel->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end(channel, &why);
		return false;
	}
	keep_descriptors(channel, &message);
	buf_advance(&channel->in, (size_t)n);
	read_frames(channel);
	return true;
}

static void on_socket(void *context, unsigned int events)
{
	struct channel *channel = context;
	if (events & WATCH_WRITE) {
		watch_set(channel->watch, WATCH_READ);
		flush(channel);
	}
	if (!channel->ended && (events & (WATCH_READ | WATCH_HANGUP)))
		receive(channel);
}

void channel_read_rest(struct channel *channel)
{
	while (!channel->ended && receive(channel))
		;
}

/* --- begin and end --- */

enum err_code channel_create(struct channel_group *group, int fd, const struct channel_events *events, struct channel **ret,
			     struct err *err)
{
	struct channel *channel = NEW(struct channel);
	int64_t most = settings_int(group->settings, SETTING_LIMITS_OUTPUT_BYTES);
	channel->group = group;
	channel->events = *events;
	channel->socket = fd;
	buf_init(&channel->out, FRAME_LENGTH_MAX * 2ul);
	buf_init(&channel->in, FRAME_LENGTH_MAX + sizeof(struct frame_header) + READ_BYTES);
	channel->slabs = slab_pool_create(4 * settings_int(group->settings, SETTING_LIMITS_BODY_BYTES));
	channel->view = slab_view_create(4 * most);
	enum err_code code = watch_create(group->loop, fd, on_socket, channel, &channel->watch, err);
	if (code != ERR_OK) {
		channel_destroy(channel);
		return code;
	}
	watch_set(channel->watch, WATCH_READ);
	*ret = channel;
	return ERR_OK;
}

void channel_destroy(struct channel *channel)
{
	if (!channel)
		return;
	for (struct channel **at = &channel->group->dirty; *at; at = &(*at)->next_dirty)
		if (*at == channel) {
			*at = channel->next_dirty;
			break;
		}
	watch_close(channel->watch);
	close(channel->socket);
	for (size_t i = 0; i < channel->received_count; i++)
		close(channel->received[i]);
	slab_pool_destroy(channel->slabs);
	slab_view_destroy(channel->view);
	buf_done(&channel->in);
	buf_done(&channel->out);
	free(channel->slots);
	free(channel);
}

void channel_mute(struct channel *channel)
{
	channel->ended = true;
	watch_set(channel->watch, 0);
}

static int by_order(const void *a, const void *b)
{
	const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
	return x->order < y->order ? -1 : 1;
}

struct batch **channel_held(const struct channel *channel, size_t *ret_count)
{
	_cleanup_free_ struct slot **held = xcalloc(channel->slot_count + 1, sizeof(*held));
	struct batch **batches = xcalloc(channel->slot_count + 1, sizeof(struct batch *));
	size_t count = 0;
	for (uint32_t i = 0; i < channel->slot_count; i++)
		if (channel->slots[i].batch)
			held[count++] = &channel->slots[i];
	qsort(held, count, sizeof(*held), by_order);
	for (size_t i = 0; i < count; i++)
		batches[i] = held[i]->batch;
	*ret_count = count;
	return batches;
}

struct channel_group *channel_group_create(struct loop *loop, const struct settings *settings)
{
	struct channel_group *group = NEW(struct channel_group);
	group->loop = loop;
	group->settings = settings;
	group->flush_hook = hook_create_before_wait(loop, on_flush, group);
	return group;
}

void channel_group_destroy(struct channel_group *group)
{
	if (!group)
		return;
	hook_close(group->flush_hook);
	free(group);
}
