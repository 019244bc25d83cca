#include "site/local.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/process.h"
#include "io/slab.h"
#include "wire/frame.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define SLOTS_MAX 1024 /* runs that one worker holds, those that were taken back included */
#define FDS_MAX 16 /* that came before the frames that they belong to */
#define STOP_GRACE_MS 2000
#define MESSAGE_BYTES (16u << 10)   /* of a servable's own error: what is passed on to its caller */
#define TRACEBACK_BYTES (64u << 10) /* its end says more than its begin */
#define LOG_BYTES (64u << 10)	    /* of FRAME_LOG that is kept of one worker in LOG_WINDOW_NS */
#define LOG_WINDOW_NS 10000000000ll

struct local_executor {
	struct executor executor;
	struct loop *loop;
	const struct settings *settings;
	char *programs;
	struct hook *flush_hook;
	struct worker *dirty; /* has frames to send at the end of this turn */
	struct worker *workers;
};

/* A place for one outstanding run; its index and generation make the run's id. */
struct slot {
	uint32_t generation;
	uint32_t next_free;
	bool used;
	struct run *run; /* NULL when it was taken back */
	uint64_t order;
};

struct pending_fd {
	size_t offset; /* in `out`: the frame that carries it */
	int fd;	       /* borrowed of the slab pool */
};

struct worker {
	struct local_executor *executor;
	struct worker *next, *previous;
	struct worker *next_dirty;
	bool dirty;
	struct worker_events events;
	char digest[13];
	struct process *process;
	int socket;
	struct watch *watch;
	struct timer *timer; /* start deadline, then the grace after stop */
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
	bool ready, gone, stopping;
	int64_t log_from_ns; /* begin of the window that log_bytes counts */
	size_t log_bytes;
	struct err why;
};

static void leave(struct worker *worker);

/* --- sending --- */

static void mark_dirty(struct worker *worker)
{
	if (worker->dirty)
		return;
	worker->dirty = true;
	worker->next_dirty = worker->executor->dirty;
	worker->executor->dirty = worker;
	hook_no_wait(worker->executor->flush_hook, true);
}

/* Sends [0, until) of `out`, the first byte with a descriptor where `fd` >= 0. */
static ssize_t send_some(struct worker *worker, size_t until, int fd)
{
	struct iovec iov = { worker->out.data, until };
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
	return sendmsg(worker->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void flush(struct worker *worker)
{
	while (worker->out.len && !worker->gone) {
		size_t until = worker->out.len;
		int fd = -1;
		if (worker->fd_count && worker->fds[0].offset == 0) {
			fd = worker->fds[0].fd;
			if (worker->fd_count > 1)
				until = worker->fds[1].offset;
		} else if (worker->fd_count) {
			until = worker->fds[0].offset;
		}
		ssize_t n = send_some(worker, until, fd);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN) {
				watch_set(worker->watch, WATCH_READ | WATCH_WRITE);
				return;
			}
			err_set(&worker->why, ERR_UNAVAILABLE, "closed its connection");
			leave(worker);
			return;
		}
		if (fd >= 0) {
			worker->fd_count--;
			memmove(worker->fds, worker->fds + 1, worker->fd_count * sizeof(worker->fds[0]));
		}
		for (size_t i = 0; i < worker->fd_count; i++)
			worker->fds[i].offset -= (size_t)n;
		buf_consume(&worker->out, (size_t)n);
	}
}

static void on_flush(void *context)
{
	struct local_executor *executor = context;
	while (executor->dirty) {
		struct worker *worker = executor->dirty;
		executor->dirty = worker->next_dirty;
		worker->dirty = false;
		flush(worker);
	}
	hook_no_wait(executor->flush_hook, false);
}

/* --- runs --- */

static uint64_t slot_take(struct worker *worker, struct run *run)
{
	if (!worker->free_slot) {
		if (worker->slot_count == SLOTS_MAX)
			return 0;
		uint32_t count = worker->slot_count ? worker->slot_count * 2 : 64;
		worker->slots = xrealloc(worker->slots, count * sizeof(*worker->slots));
		for (uint32_t i = count; i-- > worker->slot_count;) {
			worker->slots[i] = (struct slot){ .generation = 1, .next_free = worker->free_slot };
			worker->free_slot = i + 1;
		}
		worker->slot_count = count;
	}
	uint32_t index = worker->free_slot - 1;
	struct slot *slot = &worker->slots[index];
	worker->free_slot = slot->next_free;
	slot->used = true;
	slot->run = run;
	slot->order = worker->order++;
	return (uint64_t)slot->generation << 32 | index;
}

static struct slot *slot_of(struct worker *worker, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	if (index >= worker->slot_count)
		return NULL;
	struct slot *slot = &worker->slots[index];
	return slot->used && slot->generation == (uint32_t)(id >> 32) ? slot : NULL;
}

static void slot_give(struct worker *worker, struct slot *slot)
{
	slot->used = false;
	slot->run = NULL;
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = worker->free_slot;
	worker->free_slot = (uint32_t)(slot - worker->slots) + 1;
}

/* Writes a large tensor into shared memory and announces it where the worker has not seen that slab. */
static enum err_code put_in_slab(struct worker *worker, const struct tensor *tensor, uint32_t *ret_slab, struct err *err)
{
	uint8_t *data;
	size_t size;
	int fd;
	enum err_code code = slab_take(worker->slabs, tensor->len, ret_slab, &data, &size, &fd, err);
	if (code != ERR_OK)
		return code;
	if (fd >= 0) {
		struct frame_header header = { .length = sizeof(struct slab_frame), .type = FRAME_SLAB };
		struct slab_frame frame = { .slab = *ret_slab, .size_bytes = size };
		size_t at = worker->out.len;
		if (!frame_encode(&worker->out, &header, &frame)) /* never announced: the slab must not be taken again */
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "the worker does not take its input; try again");
		worker->fds[worker->fd_count++] = (struct pending_fd){ at, fd };
	}
	memcpy(data, tensor->data, tensor->len);
	return ERR_OK;
}

static void release_slabs(struct worker *worker, const uint32_t *slabs, size_t count)
{
	for (size_t i = 0; slabs && i < count; i++)
		if (slabs[i] != FRAME_INLINE)
			slab_release(worker->slabs, slabs[i]);
}

static enum err_code worker_send(struct worker *worker, struct run *run, struct err *err)
{
	const struct run_request *request = &run->request;
	struct run_frame frame = { .method = run->method->name,
				   .parameters = request->parameters,
				   .tensors = request->inputs,
				   .count = request->input_count };
	uint32_t *slabs = NULL;
	uint64_t *offsets = NULL;
	for (size_t i = 0; i < request->input_count; i++) {
		if (request->inputs[i].len <= FRAME_INLINE_MAX)
			continue;
		if (!slabs) {
			slabs = arena_try(&run->arena, request->input_count * sizeof(*slabs));
			offsets = arena_try(&run->arena, request->input_count * sizeof(*offsets));
			if (!slabs || !offsets)
				return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu inputs", request->input_count);
			memset(offsets, 0, request->input_count * sizeof(*offsets));
			for (size_t k = 0; k < request->input_count; k++)
				slabs[k] = FRAME_INLINE;
		}
		enum err_code code = put_in_slab(worker, &request->inputs[i], &slabs[i], err);
		if (code != ERR_OK) {
			release_slabs(worker, slabs, i);
			return code;
		}
	}
	run->id = slot_take(worker, run);
	if (!run->id) {
		release_slabs(worker, slabs, request->input_count);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "too many runs at one worker");
	}
	struct frame_header header = { .type = FRAME_RUN,
				       .flags = request->debug ? FRAME_WANTS_OUTPUT : 0,
				       .run = run->id,
				       .deadline_ns = (uint64_t)run->deadline_ns };
	enum err_code code = frame_encode_run(&worker->out, &header, &frame, slabs, offsets, err);
	if (code != ERR_OK) {
		release_slabs(worker, slabs, request->input_count);
		slot_give(worker, slot_of(worker, run->id));
		return code;
	}
	mark_dirty(worker);
	return ERR_OK;
}

static void worker_cancel(struct worker *worker, struct run *run)
{
	struct slot *slot = slot_of(worker, run->id);
	if (!slot || slot->run != run)
		return;
	slot->run = NULL; /* its place stays taken until the worker has answered */
	struct frame_header header = { .type = FRAME_CANCEL, .run = run->id };
	if (frame_encode(&worker->out, &header, NULL))
		mark_dirty(worker);
}

/* --- receiving --- */

static enum err_code take_result(struct run *run, struct run_frame *frame, int64_t limit, struct err *err)
{
	int64_t left = limit;
	for (size_t i = 0; i < frame->count; i++) {
		struct tensor *tensor = &frame->tensors[i];
		if ((int64_t)tensor->len > left)
			return err_set(err, ERR_OUT_OF_RANGE,
				       "output %zu has %zu bytes, and all outputs together may have %lld (limits.output_bytes)", i,
				       tensor->len, (long long)limit);
		left -= (int64_t)tensor->len;
		uint8_t *copy = arena_try(&run->arena, tensor->len + 1);
		if (!copy)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an output of %zu bytes", tensor->len);
		memcpy(copy, tensor->data, tensor->len);
		tensor->data = copy;
	}
	/* Checked here, in our copy: what lay in shared memory could change until now. */
	enum err_code code = method_check_outputs(run->method, frame->tensors, frame->count, err);
	if (code != ERR_OK)
		return code;
	for (size_t i = 0; i < frame->count; i++)
		frame->tensors[i].name = run->method->outputs[i].name; /* its own lay in the frame */
	run->outputs = frame->tensors;
	run->output_count = frame->count;
	if (frame->parameters.len)
		run->metadata = (struct str){ arena_strndup(&run->arena, frame->parameters.data, frame->parameters.len),
					      frame->parameters.len };
	return run->metadata.len && !run->metadata.data ? err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for metadata")
							 : ERR_OK;
}

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
	struct worker *worker;
	uint32_t slabs[FRAME_TENSORS_MAX];
	size_t count;
};

static bool use_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	struct slab_use *use = context;
	if (!slab_view_get(use->worker->view, slab, ret_data, ret_size))
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
		if (!frame_encode(&use->worker->out, &header, &frame))
			return err_set(err, ERR_INTERNAL, "broke the protocol: it sends, but does not read");
		mark_dirty(use->worker);
	}
	return ERR_OK;
}

static enum err_code on_reply(struct worker *worker, const struct frame_header *header, const uint8_t *payload, struct err *err)
{
	struct slot *slot = slot_of(worker, header->run);
	if (!slot)
		return err_set(err, ERR_INTERNAL, "broke the protocol: it answered a run that it was not given");
	struct run *run = slot->run;
	int64_t most = settings_int(worker->executor->settings, SETTING_LIMITS_OUTPUT_BYTES);
	struct arena scratch; /* of a run that was taken back: as large as the run's own, or its end would look like a breach */
	arena_init(&scratch, (size_t)most + FRAME_LENGTH_MAX);
	struct arena *arena = run ? &run->arena : &scratch;
	enum err_code code = ERR_OK;
	struct err run_err = ERR_INIT;
	if (header->type == FRAME_RESULT) {
		struct run_frame frame;
		struct slab_use use;
		use.worker = worker;
		use.count = 0;
		code = frame_decode_run(payload, header->length, arena, use_slab, &use, &frame, err);
		if (code == ERR_OK) {
			if (run) {
				run->run_ns = (int64_t)header->deadline_ns;
				(void)!take_result(run, &frame, most, &run_err);
			}
			code = give_back_slabs(&use, err);
		} else {
			err_wrap(err, "broke the protocol");
		}
	} else {
		(void)!read_error((struct str){ (const char *)payload, header->length }, run ? arena : NULL,
				  run ? &run->metadata : NULL, &run_err);
		if (run)
			run->run_ns = (int64_t)header->deadline_ns;
	}
	if (code == ERR_OK) {
		slot_give(worker, slot);
		if (run) {
			err_move(&run->err, &run_err);
			worker->events.on_run_done(worker->events.context, worker, run);
		}
	}
	err_done(&run_err);
	arena_done(&scratch);
	return code;
}

static enum err_code on_slab(struct worker *worker, const struct frame_header *header, const uint8_t *payload, struct err *err)
{
	struct slab_frame frame;
	if (header->length != sizeof(frame))
		return err_set(err, ERR_INTERNAL, "broke the protocol: slab frame of %u bytes", header->length);
	memcpy(&frame, payload, sizeof(frame));
	if (header->type == FRAME_RELEASE)
		return slab_release(worker->slabs, frame.slab) ?
			       ERR_OK :
			       err_set(err, ERR_INTERNAL, "broke the protocol: it released a slab that it does not have");
	if (!worker->received_count)
		return err_set(err, ERR_INTERNAL, "broke the protocol: a slab without its descriptor");
	int fd = worker->received[0];
	worker->received_count--;
	memmove(worker->received, worker->received + 1, worker->received_count * sizeof(int));
	return slab_view_add(worker->view, frame.slab, fd, (size_t)frame.size_bytes, err);
}

/* The operator's log is not the servable's to fill. */
static void on_log(struct worker *worker, struct str text)
{
	int64_t now = loop_now_ns(worker->executor->loop);
	if (now - worker->log_from_ns >= LOG_WINDOW_NS) {
		worker->log_from_ns = now;
		worker->log_bytes = 0;
	}
	if (worker->log_bytes > LOG_BYTES)
		return;
	worker->log_bytes += MIN(text.len, 2000u) + 64;
	log_info("worker %s: %.*s%s", worker->digest, (int)MIN(text.len, 2000u), text.data,
		 worker->log_bytes > LOG_BYTES ? " (it says too much: the rest of the next seconds is left out)" : "");
}

static enum err_code on_frame(struct worker *worker, const struct frame_header *header, const uint8_t *payload, struct err *err)
{
	switch (header->type) {
	case FRAME_READY:
		if (worker->ready)
			break;
		worker->ready = true;
		timer_stop(worker->timer);
		worker->events.on_ready(worker->events.context, worker, (struct str){ (const char *)payload, header->length });
		return ERR_OK;
	case FRAME_RESULT:
		return on_reply(worker, header, payload, err);
	case FRAME_ERROR:
		if (header->run != 0)
			return on_reply(worker, header, payload, err);
		(void)!read_error((struct str){ (const char *)payload, header->length }, NULL, NULL, err);
		return err->code;
	case FRAME_SLAB:
	case FRAME_RELEASE:
		return on_slab(worker, header, payload, err);
	case FRAME_LOG:
		on_log(worker, (struct str){ (const char *)payload, header->length });
		return ERR_OK;
	default:
		break;
	}
	return err_set(err, ERR_INTERNAL, "broke the protocol: frame of type %u was not expected", header->type);
}

static void read_frames(struct worker *worker)
{
	size_t used = 0;
	struct frame_header header;
	const uint8_t *payload;
	int whole = 0;
	while (!worker->gone &&
	       (whole = frame_peek((const uint8_t *)worker->in.data + used, worker->in.len - used, &header, &payload)) == 1) {
		if (on_frame(worker, &header, payload, &worker->why) != ERR_OK) {
			leave(worker);
			return;
		}
		used += sizeof(header) + header.length;
	}
	if (worker->gone)
		return;
	buf_consume(&worker->in, used);
	if (whole < 0) {
		err_set(&worker->why, ERR_INTERNAL, "broke the protocol: it sent what is no frame");
		leave(worker);
	}
}

static void keep_descriptors(struct worker *worker, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (worker->received_count < FDS_MAX)
				worker->received[worker->received_count++] = fd;
			else
				close(fd);
		}
	}
}

static void on_socket(void *context, unsigned int events)
{
	struct worker *worker = context;
	if (events & WATCH_WRITE) {
		watch_set(worker->watch, WATCH_READ);
		flush(worker);
	}
	if (worker->gone || !(events & (WATCH_READ | WATCH_HANGUP)))
		return;
	char *room = buf_reserve(&worker->in, READ_BYTES);
	if (!room) {
		err_set(&worker->why, ERR_INTERNAL, "broke the protocol: a frame is larger than allowed");
		leave(worker);
		return;
	}
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct iovec iov = { room, READ_BYTES };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(worker->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* Its exit status says more than its closed socket: on_exit follows, unless it lives on. */
		watch_set(worker->watch, 0);
		process_kill(worker->process, SIGTERM);
		timer_start(worker->timer, STOP_GRACE_MS, 0);
		worker->stopping = true;
		return;
	}
	keep_descriptors(worker, &message);
	buf_advance(&worker->in, (size_t)n);
	read_frames(worker);
}

/* --- start and end --- */

static int by_order(const void *a, const void *b)
{
	const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
	return x->order < y->order ? -1 : 1;
}

static void release(struct worker *worker)
{
	struct local_executor *executor = worker->executor;
	*(worker->previous ? &worker->previous->next : &executor->workers) = worker->next;
	if (worker->next)
		worker->next->previous = worker->previous;
	for (struct worker **at = &executor->dirty; *at; at = &(*at)->next_dirty)
		if (*at == worker) {
			*at = worker->next_dirty;
			break;
		}
	process_close(worker->process);
	watch_close(worker->watch);
	timer_close(worker->timer);
	if (worker->socket >= 0)
		close(worker->socket);
	for (size_t i = 0; i < worker->received_count; i++)
		close(worker->received[i]);
	slab_pool_destroy(worker->slabs);
	slab_view_destroy(worker->view);
	buf_done(&worker->in);
	buf_done(&worker->out);
	err_done(&worker->why);
	free(worker->slots);
	free(worker);
}

static void on_release(void *context)
{
	release(context);
}

/* Reports the end, once, and frees on the next turn: callers up the stack may still look at the worker. */
static void leave(struct worker *worker)
{
	if (worker->gone)
		return;
	worker->gone = true;
	watch_set(worker->watch, 0);
	timer_stop(worker->timer);
	process_kill(worker->process, SIGKILL);
	struct slot **held = xcalloc(worker->slot_count + 1, sizeof(*held));
	struct run **runs = xcalloc(worker->slot_count + 1, sizeof(struct run *));
	size_t count = 0;
	for (uint32_t i = 0; i < worker->slot_count; i++)
		if (worker->slots[i].used && worker->slots[i].run)
			held[count++] = &worker->slots[i];
	qsort(held, count, sizeof(*held), by_order);
	for (size_t i = 0; i < count; i++)
		runs[i] = held[i]->run;
	worker->events.on_gone(worker->events.context, worker, runs, count, &worker->why);
	free(held);
	free(runs);
	loop_post(worker->executor->loop, on_release, worker);
}

static void on_exit_status(void *context, int status)
{
	struct worker *worker = context;
	/* What it wrote before it ended counts: an error frame, or results. */
	while (!worker->gone && !worker->stopping) {
		size_t before = worker->in.len;
		char *room = buf_reserve(&worker->in, READ_BYTES);
		ssize_t n = room ? recv(worker->socket, room, READ_BYTES, MSG_DONTWAIT) : -1;
		if (n <= 0)
			break;
		buf_advance(&worker->in, (size_t)n);
		read_frames(worker);
		if (worker->gone || worker->in.len == before)
			break;
	}
	if (worker->gone)
		return;
	char text[128];
	process_status_format(status, text, sizeof(text));
	err_set(&worker->why, ERR_UNAVAILABLE, "%s", text);
	leave(worker);
}

static void on_timer(void *context)
{
	struct worker *worker = context;
	if (!worker->ready && !worker->stopping)
		err_set(&worker->why, ERR_DEADLINE_EXCEEDED, "did not load its servable in time (limits.start_s)");
	else
		err_set(&worker->why, ERR_UNAVAILABLE, "was stopped");
	leave(worker);
}

static void worker_stop(struct worker *worker, bool now)
{
	worker->stopping = true;
	if (now) {
		err_set(&worker->why, ERR_UNAVAILABLE, "was stopped");
		process_kill(worker->process, SIGKILL);
		/* on_exit reports it: not inside this call. */
		return;
	}
	process_kill(worker->process, SIGTERM);
	timer_start(worker->timer, STOP_GRACE_MS, 0);
}

static void worker_abandon(struct worker *worker)
{
	worker->gone = true;
	process_kill(worker->process, SIGKILL);
	release(worker);
}

static enum err_code start_process(struct worker *worker, const struct worker_spec *spec, int socket, struct err *err)
{
	struct local_executor *executor = worker->executor;
	bool native = strcmp(spec->program, "native") == 0;
	_cleanup_free_ char *program = xasprintf("%s/dlhub-worker-%s", executor->programs, native ? "native" : "python");
	char memory[24];
	snprintf(memory, sizeof(memory), "%lld", (long long)spec->memory_bytes);
	char output[24];
	snprintf(output, sizeof(output), "%lld", (long long)settings_int(executor->settings, SETTING_LIMITS_OUTPUT_BYTES));
	const char *argv[16] = { program, "--model", spec->directory, "--memory", memory, "--output-bytes", output };
	size_t n = 7;
	if (!native) {
		argv[n++] = "--python";
		argv[n++] = settings_string(executor->settings, SETTING_ENVIRONMENTS_PYTHON);
		if (spec->environment) {
			argv[n++] = "--environment";
			argv[n++] = spec->environment;
		}
	}
	if (spec->network)
		argv[n++] = "--network";
	if (strcmp(settings_string(executor->settings, SETTING_WORKER_SANDBOX), "require") == 0)
		argv[n++] = "--require-sandbox";
	struct process_options options = { .argv = argv, .directory = "/", .stdin_fd = -1, .stdout_fd = -1,
					   .stderr_fd = STDERR_FILENO, .keep_fd = socket };
	return process_start(executor->loop, &options, on_exit_status, worker, &worker->process, err);
}

static enum err_code worker_start(struct executor *base, const struct worker_spec *spec, const struct worker_events *events,
				  struct worker **ret, struct err *err)
{
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, errno, "a socket for a worker");
	struct worker *worker = NEW(struct worker);
	worker->executor = executor;
	worker->events = *events;
	worker->socket = pair[0];
	str_copy(worker->digest, sizeof(worker->digest), spec->digest);
	int64_t most = settings_int(executor->settings, SETTING_LIMITS_OUTPUT_BYTES);
	buf_init(&worker->out, FRAME_LENGTH_MAX * 2ul);
	buf_init(&worker->in, FRAME_LENGTH_MAX + sizeof(struct frame_header) + READ_BYTES);
	worker->slabs = slab_pool_create(4 * settings_int(executor->settings, SETTING_LIMITS_BODY_BYTES));
	worker->view = slab_view_create(4 * most);
	worker->timer = timer_create_on(executor->loop, on_timer, worker);
	worker->next = executor->workers;
	if (worker->next)
		worker->next->previous = worker;
	executor->workers = worker;

	enum err_code code = start_process(worker, spec, pair[1], err);
	close(pair[1]);
	if (code == ERR_OK)
		code = watch_create(executor->loop, worker->socket, on_socket, worker, &worker->watch, err);
	if (code != ERR_OK) {
		release(worker);
		return code;
	}
	struct frame_header header = { .length = (uint32_t)strlen(spec->load), .type = FRAME_LOAD };
	frame_encode(&worker->out, &header, spec->load);
	mark_dirty(worker);
	watch_set(worker->watch, WATCH_READ);
	timer_start(worker->timer, spec->start_deadline_ms, 0);
	*ret = worker;
	return ERR_OK;
}

static const struct executor_ops ops = {
	.start = worker_start,
	.send = worker_send,
	.cancel = worker_cancel,
	.stop = worker_stop,
	.abandon = worker_abandon,
};

struct executor *local_executor_create(struct loop *loop, const struct settings *settings, const char *programs)
{
	struct local_executor *executor = NEW(struct local_executor);
	executor->executor.ops = &ops;
	executor->loop = loop;
	executor->settings = settings;
	executor->programs = xstrdup(programs);
	executor->flush_hook = hook_create_before_wait(loop, on_flush, executor);
	return &executor->executor;
}

void local_executor_destroy(struct executor *base)
{
	if (!base)
		return;
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	while (executor->workers)
		worker_abandon(executor->workers);
	hook_close(executor->flush_hook);
	free(executor->programs);
	free(executor);
}
