#include "worker/loop_internal.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/reply.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOP_LONG_NS 1000000 /* a run: afterwards it looks what has come */
#define LOOP_ARENA_MAX (1u << 30)
#define LOOP_JSON_DEPTH 512

/* --- SIGTERM: at once while idle, after the run otherwise --- */

static volatile sig_atomic_t loop_busy, loop_stopping;

static void loop_on_sigterm(int signum)
{
	if (!loop_busy)
		_exit(0);
	loop_stopping = 1;
}

/* --- from the hub --- */

static enum err_code loop_steer(struct worker_loop *loop, const struct frame_header *header, const uint8_t *payload,
				struct err *err)
{
	struct slab_frame slab = { 0 };

	if (header->type == FRAME_SLAB || header->type == FRAME_RELEASE || header->type == FRAME_FILE) {
		if (header->length != sizeof(slab))
			return err_set(err, ERR_INVALID_ARGUMENT, "a slab frame of %u bytes", header->length);
		memcpy(&slab, payload, sizeof(slab));
	}
	switch (header->type) {
	case FRAME_SLAB: {
		int fd = passed_fds_take(&loop->inbox.fds);
		if (fd < 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "slab %u came without its descriptor", slab.slab);
		return slab_view_add(loop->view, slab.slab, fd, slab.size_bytes, err);
	}
	case FRAME_FILE: {
		int fd = passed_fds_take(&loop->inbox.fds);
		if (fd < 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "file %u came without its descriptor", slab.slab);
		return run_files_add(&loop->files, header->run, slab.slab, fd, slab.size_bytes, err);
	}
	case FRAME_RELEASE:
		if (!loop->slabs_out || !slab_release(loop->pool, slab.slab))
			return err_set(err, ERR_INVALID_ARGUMENT, "the hub gave back slab %u, which it does not have",
				       slab.slab);
		loop->slabs_out--;
		return ERR_OK;
	case FRAME_CANCEL:
		if (header->run == loop->run_id)
			loop->run_cancelled = true;
		else if (loop->cancelled_count < LOOP_CANCELLED_MAX && inbox_has_run(&loop->inbox, header->run))
			loop->cancelled[loop->cancelled_count++] = header->run;
		return ERR_OK;
	case FRAME_LOAD:
	case FRAME_RUN:
		return ERR_OK; /* in their turn */
	default:
		return err_set(err, ERR_INVALID_ARGUMENT, "a frame of type %u, which is not the hub's to send", header->type);
	}
}

static enum err_code loop_steer_all(struct worker_loop *loop, struct err *err)
{
	struct frame_header header;
	const uint8_t *payload;
	enum err_code code = ERR_OK;
	int found = 0;

	while (code == ERR_OK && (found = inbox_scan(&loop->inbox, &header, &payload)) > 0)
		code = loop_steer(loop, &header, payload, err);
	if (code == ERR_OK && found < 0)
		code = err_set(err, ERR_INVALID_ARGUMENT, "what came from the hub is no frame");
	return code;
}

enum err_code loop_take_in(struct worker_loop *loop, struct err *err)
{
	enum err_code code = inbox_receive(&loop->inbox, err);

	return code == ERR_OK ? loop_steer_all(loop, err) : code;
}

enum err_code loop_receive(struct worker_loop *loop, struct err *err)
{
	if (loop->shim->before_wait)
		loop->shim->before_wait(loop->shim->context);
	enum err_code code = inbox_receive(&loop->inbox, err);
	if (loop->shim->after_wait)
		loop->shim->after_wait(loop->shim->context);
	return code == ERR_OK ? loop_steer_all(loop, err) : code;
}

/* The next LOAD or RUN in its order: what steers was handled when it came. */
static bool loop_next(struct worker_loop *loop, struct frame_header *ret, const uint8_t **ret_payload)
{
	while (inbox_next(&loop->inbox, ret, ret_payload))
		if (ret->type == FRAME_LOAD || ret->type == FRAME_RUN)
			return true;
	return false;
}

/* reply_wait_fn: all slabs are at the hub. */
static enum err_code loop_wait_for_slabs(void *context, struct err *err)
{
	struct worker_loop *loop = context;
	enum err_code code = loop_flush(loop, err);

	while (code == ERR_OK) {
		size_t before = loop->slabs_out;
		code = loop_receive(loop, err);
		if (code == ERR_CANCELLED && !loop_stopping)
			code = ERR_OK; /* some other signal */
		if (loop->slabs_out < before)
			break;
	}
	return code;
}

/* frame_slab_fn: also notes which slabs the run holds. */
static bool loop_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	struct worker_loop *loop = context;

	if (slab >= FRAME_FILE_FIRST)
		return run_files_get(&loop->files, loop->decoding, slab, ret_data, ret_size);
	if (!slab_view_get(loop->view, slab, ret_data, ret_size))
		return false;
	for (size_t i = 0; i < loop->run_slab_count; i++)
		if (loop->run_slabs[i] == slab)
			return true;
	if (loop->run_slab_count == FRAME_TENSORS_MAX)
		return false;
	loop->run_slabs[loop->run_slab_count++] = slab;
	return true;
}

/* The slab of the run that `data` lies in. */
static bool loop_find_slab(const struct worker_loop *loop, const void *data, uint32_t *ret, uint8_t **ret_base,
			   size_t *ret_size)
{
	for (size_t i = 0; i < loop->run_slab_count; i++) {
		*ret = loop->run_slabs[i];
		if (slab_view_get(loop->view, *ret, ret_base, ret_size) && (const uint8_t *)data >= *ret_base &&
		    (const uint8_t *)data < *ret_base + *ret_size)
			return true;
	}
	return false;
}

bool worker_input_is_shared(const struct worker_run *run, const void *data)
{
	uint32_t slab;
	uint8_t *base;
	size_t size;

	return loop_find_slab(run->loop, data, &slab, &base, &size) ||
	       run_files_find(&run->loop->files, run->loop->decoding, data, &base, &size);
}

enum err_code worker_keep_input(const struct worker_run *run, const void *data, uint8_t **ret_base, size_t *ret_size,
				struct err *err)
{
	uint32_t slab;
	uint8_t *base;
	size_t size;

	if (run_files_find(&run->loop->files, run->loop->decoding, data, ret_base, ret_size)) {
		run_files_give(&run->loop->files, run->loop->decoding, *ret_base); /* private already, and nobody else's */
		return ERR_OK;
	}
	if (!loop_find_slab(run->loop, data, &slab, &base, &size))
		return err_set(err, ERR_NOT_FOUND, "the input is not in shared memory");
	enum err_code code = slab_view_detach(run->loop->view, slab, err);
	if (code == ERR_OK) {
		*ret_base = base;
		*ret_size = size;
	}
	return code;
}

static bool loop_was_cancelled(struct worker_loop *loop, uint64_t run)
{
	for (size_t i = 0; i < loop->cancelled_count; i++) {
		if (loop->cancelled[i] == run) {
			loop->cancelled[i] = loop->cancelled[--loop->cancelled_count];
			return true;
		}
	}
	return false;
}

/* --- one run --- */

/* reply_announce_fn: the hub has not seen that slab yet. */
static enum err_code loop_announce(void *context, uint32_t slab, size_t size, int fd, struct err *err)
{
	struct slab_frame frame = { .slab = slab, .size_bytes = size };
	struct frame_header header = { .type = FRAME_SLAB, .length = sizeof(frame) };

	return loop_send_frame(context, &header, &frame, fd, err);
}

static enum err_code loop_decode(struct worker_loop *loop, const struct frame_header *header, const uint8_t *payload,
				 struct run_frame *ret, struct err *err)
{
	/* Tensors lie at multiples of 16 in the payload; frames behind the first may start anywhere. */
	if ((uintptr_t)payload % 16) {
		uint8_t *copy = arena_try(&loop->arena, header->length);
		if (!copy)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a run of %u bytes", header->length);
		memcpy(copy, payload, header->length);
		payload = copy;
	}
	return frame_decode_run(payload, header->length, &loop->arena, loop_slab, loop, ret, err);
}

static enum err_code loop_execute(struct worker_loop *loop, const struct frame_header *header, const uint8_t *payload,
				  struct worker_reply *reply, struct err *err)
{
	struct run_frame frame;
	enum err_code code = loop->files.count ? run_files_missing(&loop->files, header->run, err) : ERR_OK;

	if (code != ERR_OK)
		return code;
	code = loop_decode(loop, header, payload, &frame, err);

	if (code != ERR_OK)
		return err_wrap(err, "the hub sent a run that the worker cannot read");
	if (loop->cancelled_count && loop_was_cancelled(loop, header->run))
		return err_set(err, ERR_CANCELLED, "cancelled before it started");
	int64_t started_ns = clock_ns();
	if (header->deadline_ns && (uint64_t)started_ns > header->deadline_ns)
		return err_set(err, ERR_DEADLINE_EXCEEDED, "the deadline had passed before the run started");
	struct worker_run run = {
		.frame = &frame,
		.arena = &loop->arena,
		.loop = loop,
		.deadline_ns = (int64_t)header->deadline_ns,
		.wants_output = header->flags & FRAME_WANTS_OUTPUT,
	};
	loop->run_id = header->run;
	loop->run_cancelled = false;
	code = loop->shim->run(loop->shim->context, &run, reply, err);
	loop->run_id = 0;
	int64_t ended_ns = clock_ns();
	if (!loop->out.len)
		loop->oldest_ns = ended_ns;
	return code != ERR_OK ? code : reply_encode_result(reply, &loop->out, header->run, ended_ns - started_ns, err);
}

static void loop_run_one(struct worker_loop *loop, const struct frame_header *header, const uint8_t *payload)
{
	struct err err = ERR_INIT;
	struct worker_reply reply = {
		.arena = &loop->arena,
		.pool = loop->pool,
		.announce = loop_announce,
		.wait = loop_wait_for_slabs,
		.context = loop,
		.slabs_out = &loop->slabs_out,
	};

	inbox_hold(&loop->inbox);
	loop->run_slab_count = 0;
	loop->decoding = header->run;
	if (loop_execute(loop, header, payload, &reply, &err) != ERR_OK)
		reply_encode_error(&reply, &loop->out, header->run, &err);
	for (size_t i = 0; i < loop->run_slab_count; i++) {
		struct slab_frame slab = { .slab = loop->run_slabs[i] };
		struct frame_header release = { .type = FRAME_RELEASE, .length = sizeof(slab) };
		(void)frame_encode(&loop->out, &release, &slab); /* as in worker_log() */
	}
	if (loop->files.count)
		run_files_drop(&loop->files, header->run);
	inbox_release(&loop->inbox);
	arena_done(&loop->arena);
	err_done(&err);
}

/* --- the whole --- */

enum err_code loop_load(struct worker_loop *loop, worker_load_fn shim_load, struct err *err)
{
	struct frame_header header;
	const uint8_t *payload;
	enum err_code code = ERR_OK;

	while (!loop_next(loop, &header, &payload))
		if ((code = loop_receive(loop, err)) != ERR_OK)
			return code;
	if (header.type != FRAME_LOAD)
		return err_set(err, ERR_INVALID_ARGUMENT, "the hub's first frame is of type %u, not LOAD", header.type);
	_cleanup_json_ json_t *load = NULL;
	code = json_read((const char *)payload, header.length, LOOP_JSON_DEPTH, "the LOAD frame", &load, err);
	if (code != ERR_OK)
		return code;
	json_int_t version = json_integer_value(json_object_get(load, "frame_version"));
	if (version != FRAME_VERSION) {
		err_set(err, ERR_FAILED_PRECONDITION, "the hub speaks version %lld of the worker protocol, this worker %u",
			(long long)version, FRAME_VERSION);
		return err_advise(err, "install dlhubd and its workers from the same release");
	}
	if (loop->options->directory)
		json_object_set_new(load, "directory", json_string(loop->options->directory));
	loop->ready = json_object();
	int64_t started_ms = clock_ms();
	code = shim_load(loop->shim->context, loop, load, loop->ready, err);
	if (code != ERR_OK)
		return code;
	json_object_set_new(loop->ready, "frame_version", json_integer(FRAME_VERSION));
	json_object_set_new(loop->ready, "load_ms", json_integer(clock_ms() - started_ms));
	return ERR_OK;
}

enum err_code loop_say_ready(struct worker_loop *loop, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(loop->ready, JSON_COMPACT);
	struct frame_header header = { .type = FRAME_READY, .length = (uint32_t)strlen(text) };

	json_decref(TAKE(loop->ready));
	(void)frame_encode(&loop->out, &header, text); /* as in worker_log() */
	return loop_flush(loop, err);
}

/* Takes in what is there, without waiting. */
static enum err_code loop_look(struct worker_loop *loop, struct err *err)
{
	struct pollfd hub = { .fd = loop->inbox.fd, .events = POLLIN };
	enum err_code code = poll(&hub, 1, 0) > 0 ? loop_take_in(loop, err) : ERR_OK;

	return code == ERR_CANCELLED ? ERR_OK : code;
}

static enum err_code loop_serve(struct worker_loop *loop, struct err *err)
{
	struct frame_header header;
	const uint8_t *payload;
	enum err_code code = ERR_OK;

	while (code == ERR_OK && !loop_stopping) {
		if (loop_next(loop, &header, &payload)) {
			if (header.type != FRAME_RUN)
				return err_set(err, ERR_INVALID_ARGUMENT, "a second LOAD frame");
			int64_t started_ns = clock_ns();
			loop_run_one(loop, &header, payload);
			int64_t now = clock_ns();
			/* Nor must a reply wait for the next run, which may take as long as this one did. */
			bool late = now - loop->oldest_ns > WORKER_REPLY_DELAY_NS || now - started_ns > WORKER_REPLY_DELAY_NS;
			if (loop->out.len > LOOP_OUT_FULL || late)
				code = loop_flush(loop, err);
			/* What has come meanwhile may say that nobody waits for the next one. */
			if (code == ERR_OK && now - started_ns > LOOP_LONG_NS)
				code = loop_look(loop, err);
			continue;
		}
		code = loop_flush(loop, err);
		if (code == ERR_OK) {
			loop_busy = 0;
			code = loop_receive(loop, err);
			loop_busy = 1;
			if (code == ERR_CANCELLED)
				code = ERR_OK;
		}
	}
	return code != ERR_OK ? code : loop_flush(loop, err);
}

/* Twice the largest slab that this process may make: so small ones never shut out a large one. */
static int64_t largest_pool(void)
{
	struct rlimit largest;
	int64_t bytes = LOOP_SLABS_DEFAULT;
	if (getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur <= INT64_MAX / 2)
		bytes = MAX(bytes, (int64_t)largest.rlim_cur);
	return 2 * bytes;
}

struct worker_loop *loop_create(int fd, const struct worker_shim *shim, const struct worker_options *options)
{
	struct worker_loop *loop = NEW(struct worker_loop);
	int64_t slab_bytes = options->slab_bytes ? options->slab_bytes : largest_pool();
	struct sigaction on_term = { .sa_handler = loop_on_sigterm };

	loop->shim = shim;
	loop->options = options;
	inbox_init(&loop->inbox, fd);
	buf_init(&loop->out, LOOP_OUT_MAX);
	arena_init(&loop->arena, LOOP_ARENA_MAX);
	loop->pool = slab_pool_create(slab_bytes);
	loop->view = slab_view_create(options->slab_bytes ? options->slab_bytes : INT64_MAX); /* the hub bounds itself */
	if (options->writable_inputs)
		slab_view_allow_writes(loop->view);
	loop->files.writable = options->writable_inputs;
	sigaction(SIGTERM, &on_term, NULL);
	return loop;
}

void loop_destroy(struct worker_loop *loop)
{
	json_decref(loop->ready);
	slab_view_unref(loop->view);
	run_files_done(&loop->files);
	slab_pool_destroy(loop->pool);
	buf_done(&loop->out);
	inbox_done(&loop->inbox);
	arena_done(&loop->arena);
	free(loop);
}

int loop_end(struct worker_loop *loop, bool loading, const struct err *err)
{
	bool failed = err->code != ERR_OK && err->code != ERR_UNAVAILABLE;

	if (failed && loading) {
		struct worker_reply reply = { .arena = &loop->arena };
		struct err unsent = ERR_INIT;
		reply_encode_error(&reply, &loop->out, 0, err);
		if (loop_flush(loop, &unsent) != ERR_OK)
			log_error("could not tell the hub: %s", err_text(&unsent));
		err_done(&unsent);
	}
	if (failed)
		log_error("worker: %s", err_text(err));
	loop_destroy(loop);
	return failed ? err_code_exit(err->code) : 0;
}

int worker_loop_run(int fd, const struct worker_shim *shim, const struct worker_options *options)
{
	struct worker_loop *loop = loop_create(fd, shim, options);
	struct err err = ERR_INIT;

	enum err_code code = loop_load(loop, shim->load, &err);
	if (code == ERR_OK)
		code = loop_say_ready(loop, &err);
	bool loading = code != ERR_OK;
	if (!loading) {
		loop_busy = 1;
		(void)!loop_serve(loop, &err);
	}
	int status = loop_end(loop, loading, &err);
	err_done(&err);
	return status;
}
