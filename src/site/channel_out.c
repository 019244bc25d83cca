/* What is said to the worker: frames gather in `out` and go out at the end of the turn. */
#include "site/channel_internal.h"

#include <errno.h>

void channel_mark_dirty(struct channel *channel)
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
	union pass_fd_room room;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd >= 0)
		pass_fd(&message, &room, fd);
	return sendmsg(channel->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void channel_flush(struct channel *channel)
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
			channel_end(channel, &why);
			err_done(&why);
			return;
		}
		if (fd >= 0) {
			channel->file_count -= channel->fds[0].file != NULL;
			file_view_unref(channel->fds[0].file);
			channel->fd_count--;
			memmove(channel->fds, channel->fds + 1, channel->fd_count * sizeof(channel->fds[0]));
		}
		for (size_t i = 0; i < channel->fd_count; i++)
			channel->fds[i].offset -= (size_t)n;
		buf_consume(&channel->out, (size_t)n);
	}
}

/* --- batches --- */

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
		channel->fds[channel->fd_count++] = (struct pending_fd){ .offset = at, .fd = fd };
	}
	batch_copy(batch, input, data);
	return ERR_OK;
}

static void release_slabs(struct channel *channel, const uint32_t *slabs, size_t count)
{
	for (size_t i = 0; slabs && i < count; i++)
		if (slabs[i] < FRAME_FILE_FIRST)
			slab_release(channel->slabs, slabs[i]);
}

/* Where the large inputs of a batch are: in slabs, or in files that the worker is given. Of the first run's arena. */
struct places {
	uint32_t *slabs; /* NULL: nothing is large */
	uint64_t *offsets;
	struct file_view **files; /* borrowed; NULL: not that input's */
	size_t file_count;
};

static enum err_code places_create(struct batch *batch, size_t count, struct places *ret, struct err *err)
{
	struct arena *arena = &batch->parts[0].run->arena;
	ret->slabs = arena_try(arena, count * sizeof(*ret->slabs));
	ret->offsets = arena_try(arena, count * sizeof(*ret->offsets));
	ret->files = arena_try(arena, count * sizeof(struct file_view *));
	if (!ret->slabs || !ret->offsets || !ret->files)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu inputs", count);
	for (size_t i = 0; i < count; i++) {
		ret->slabs[i] = FRAME_INLINE;
		ret->offsets[i] = 0;
		ret->files[i] = NULL;
	}
	return ERR_OK;
}

/* The file that the worker can read the input from by itself; NULL: the bytes have to be brought. */
static struct file_view *file_of(const struct channel *channel, const struct batch *batch, const struct tensor *input,
				 size_t file_count)
{
	if (batch->count > 1 || channel->file_count + file_count >= FILES_MAX)
		return NULL;
	return run_input_file(batch->parts[0].run, input);
}

/* Puts what is too large for a frame into slabs, but for what is in files. */
static enum err_code place_inputs(struct channel *channel, struct batch *batch, const struct tensor *inputs, size_t count,
				  struct places *ret, struct err *err)
{
	enum err_code code = ERR_OK;
	*ret = (struct places){ 0 };
	for (size_t i = 0; i < count; i++) {
		if (inputs[i].len <= FRAME_INLINE_MAX)
			continue;
		if (!ret->slabs && (code = places_create(batch, count, ret, err)) != ERR_OK)
			return code;
		struct file_view *file = file_of(channel, batch, &inputs[i], ret->file_count);
		if (file) {
			ret->slabs[i] = FRAME_FILE_FIRST + (uint32_t)i;
			ret->offsets[i] = (uint64_t)(inputs[i].data - file->data);
			ret->files[i] = file;
			ret->file_count++;
			continue;
		}
		code = put_in_slab(channel, batch, i, inputs[i].len, &ret->slabs[i], err);
		if (code != ERR_OK) {
			release_slabs(channel, ret->slabs, i);
			return code;
		}
	}
	return ERR_OK;
}

/* Before the RUN that reads from them. */
static bool announce_files(struct channel *channel, uint64_t run, const struct places *places, size_t count)
{
	for (size_t i = 0; places->file_count && i < count; i++) {
		struct file_view *file = places->files[i];
		struct frame_header header = { .length = sizeof(struct slab_frame), .type = FRAME_FILE, .run = run };
		if (!file)
			continue;
		struct slab_frame frame = { .slab = places->slabs[i], .size_bytes = file->size };
		size_t at = channel->out.len;
		if (!frame_encode(&channel->out, &header, &frame))
			return false;
		channel->fds[channel->fd_count++] = (struct pending_fd){ at, file->fd, file_view_ref(file) };
		channel->file_count++;
	}
	return true;
}

/* Nothing of them was sent yet. */
static void take_back_files(struct channel *channel, size_t out_len)
{
	while (channel->fd_count && channel->fds[channel->fd_count - 1].offset >= out_len) {
		file_view_unref(channel->fds[--channel->fd_count].file);
		channel->file_count--;
	}
	channel->out.len = out_len;
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
	struct places places = { 0 };
	enum err_code code = batch_inputs(batch, &frame.tensors, &frame.count, err);
	if (code == ERR_OK)
		code = place_inputs(channel, batch, frame.tensors, frame.count, &places, err);
	if (code != ERR_OK)
		return code;
	if (!slots_take(&channel->slots, batch)) {
		release_slabs(channel, places.slabs, frame.count);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "too many runs at one worker");
	}
	struct frame_header header = { .type = FRAME_RUN,
				       .flags = first->request.debug ? FRAME_WANTS_OUTPUT : 0,
				       .run = batch->id,
				       .deadline_ns = (uint64_t)batch->deadline_ns };
	size_t out_len = channel->out.len;
	code = announce_files(channel, batch->id, &places, frame.count) ?
		       frame_encode_run(&channel->out, &header, &frame, places.slabs, places.offsets, err) :
		       err_set(err, ERR_RESOURCE_EXHAUSTED, "the worker does not take its input; try again");
	if (code != ERR_OK) {
		take_back_files(channel, out_len);
		release_slabs(channel, places.slabs, frame.count);
		slots_give(&channel->slots, slots_find(&channel->slots, batch->id));
		return code;
	}
	channel_mark_dirty(channel);
	return ERR_OK;
}

void channel_cancel(struct channel *channel, struct batch *batch)
{
	struct frame_header header = { .type = FRAME_CANCEL, .run = batch->id };
	if (!channel->ended && frame_encode(&channel->out, &header, NULL))
		channel_mark_dirty(channel);
}

void channel_load(struct channel *channel, struct str load)
{
	struct frame_header header = { .length = (uint32_t)load.len, .type = FRAME_LOAD };
	frame_encode(&channel->out, &header, load.data);
	channel_mark_dirty(channel);
}

