/* The executor's side: workers, and the batches that they hold. */
#include "site/remote_internal.h"

#include "base/alloc.h"
#include "base/log.h"

#define WINDOW_NS 200000 /* of work on its way to a worker that is near; the round trip comes on top */

/* --- workers by number --- */

static uint32_t place_of(uint32_t id)
{
	return id % REMOTE_WORKERS_MAX;
}

struct remote_worker *remote_worker_find(struct remote *remote, uint32_t id)
{
	uint32_t place = place_of(id);
	struct remote_worker *worker = place < remote->places ? remote->workers[place] : NULL;
	return worker && worker->id == id && !worker->gone ? worker : NULL;
}

static bool number_worker(struct remote *remote, struct remote_worker *worker)
{
	size_t place = 0;
	while (place < remote->places && remote->workers[place])
		place++;
	if (place == REMOTE_WORKERS_MAX)
		return false;
	if (place == remote->places) {
		size_t places = remote->places ? remote->places * 2 : 16;
		remote->workers = xrealloc(remote->workers, places * sizeof(*remote->workers));
		memset(remote->workers + remote->places, 0, (places - remote->places) * sizeof(*remote->workers));
		remote->places = places;
	}
	if (++remote->generation >= UINT32_MAX / REMOTE_WORKERS_MAX)
		remote->generation = 1;
	worker->id = remote->generation * REMOTE_WORKERS_MAX + (uint32_t)place;
	remote->workers[place] = worker;
	remote->worker_count++;
	return true;
}

static void release(struct remote_worker *worker)
{
	struct remote *remote = worker->remote;
	remote->workers[place_of(worker->id)] = NULL;
	remote->worker_count--;
	slots_done(&worker->slots);
	free(worker->start);
	free(worker);
}

static void remote_free(struct remote *remote)
{
	remote_drop_fetches(remote);
	free(remote->workers);
	free(remote);
}

void remote_unpin(struct remote *remote)
{
	if (--remote->pins == 0 && remote->dying)
		remote_free(remote);
}

static void on_release(void *context)
{
	struct remote_worker *worker = context;
	struct remote *remote = worker->remote;
	release(worker);
	remote_unpin(remote);
}

/* --- ends --- */

void remote_batch_done(struct remote_worker *worker, struct slot *slot)
{
	struct batch *batch = slot->batch;
	slots_give(&worker->slots, slot);
	worker->events.on_batch_done(worker->events.context, &worker->worker, batch);
	remote_stop_if_leaving(worker);
}

void remote_stop_if_leaving(struct remote_worker *worker)
{
	if (!worker->remote->leaving || worker->slots.used || worker->stopping || worker->gone)
		return;
	worker->stopping = true;
	remote_note(worker->remote, SITE_STOP, worker->id, 0, 0, NULL);
}

void remote_worker_gone(struct remote_worker *worker, const json_t *first, const struct err *why)
{
	if (worker->gone)
		return;
	worker->gone = true;
	struct remote *remote = worker->remote;
	size_t count = 0, named = 0, i;
	_cleanup_free_ struct batch **held = slots_held(&worker->slots, &count);
	json_t *id;
	/* Those that the worker had come first; the others had not arrived. */
	json_array_foreach(first, i, id) {
		struct slot *slot = slots_find(&worker->slots, (uint64_t)json_integer_value(id));
		size_t at = named;
		while (slot && at < count && held[at] != slot->batch)
			at++;
		if (!slot || at == count)
			continue;
		memmove(held + named + 1, held + named, (at - named) * sizeof(*held));
		held[named++] = slot->batch;
	}
	for (i = 0; remote->link && i < count; i++)
		(void)link_take_back(remote->link, SITE_RUN, worker->id, held[i]->id);
	worker->events.on_gone(worker->events.context, &worker->worker, held, count, why);
	remote->pins++;
	loop_post(remote->options.loop, on_release, worker); /* callers up the stack may still look at it */
}

void remote_workers_gone(struct remote *remote, const char *why)
{
	struct err err = ERR_INIT;
	err_set(&err, ERR_UNAVAILABLE, "was at site %s, which %s", remote->name, why);
	for (size_t i = 0; i < remote->places; i++) {
		struct remote_worker *worker = remote->workers[i];
		if (!worker || worker->gone)
			continue;
		worker->worker.lost = true;
		remote_worker_gone(worker, NULL, &err);
	}
	remote->lost_ns = 0;
	err_done(&err);
}

void remote_set_away(struct remote *remote, bool away)
{
	int64_t window = WINDOW_NS + (remote->link ? link_rtt_ns(remote->link) : 0);
	away |= remote->leaving;
	for (size_t i = 0; i < remote->places; i++) {
		struct remote_worker *worker = remote->workers[i];
		if (!worker || worker->gone || (worker->worker.away == away && worker->worker.window_ns == window))
			continue;
		worker->worker.away = away;
		worker->worker.window_ns = window;
		worker->events.on_way(worker->events.context, &worker->worker);
	}
}

/* --- the executor's operations --- */

static struct remote_worker *worker_of(struct worker *worker)
{
	return CONTAINER_OF(worker, struct remote_worker, worker);
}

enum err_code remote_send_start(struct remote_worker *worker, struct err *err)
{
	struct site_header header = { .length = strlen(worker->start), .worker = worker->id, .type = SITE_START };
	return link_send(worker->remote->link, &header, worker->start, err);
}

static enum err_code worker_start(struct executor *executor, const struct worker_spec *spec, const struct worker_events *events,
				  struct worker **ret, struct err *err)
{
	struct remote *remote = CONTAINER_OF(executor, struct remote, executor);
	if (!remote->link)
		return err_set(err, ERR_UNAVAILABLE, "site %s is out of reach", remote->name);
	struct remote_worker *worker = NEW(struct remote_worker);
	worker->remote = remote;
	worker->worker.executor = executor;
	worker->worker.window_ns = WINDOW_NS + link_rtt_ns(remote->link);
	worker->events = *events;
	str_copy(worker->digest, sizeof(worker->digest), spec->digest);
	if (!number_worker(remote, worker)) {
		free(worker);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "site %s has %d workers already", remote->name, REMOTE_WORKERS_MAX);
	}
	worker->start = start_format(spec);
	enum err_code code = remote_send_start(worker, err);
	if (code != ERR_OK) {
		release(worker);
		return code;
	}
	*ret = &worker->worker;
	return ERR_OK;
}

static void fill_input(void *context, size_t input, uint8_t *to)
{
	batch_copy(context, input, to);
}

/* Tells of the files that inputs of the run lie in, which the site brings itself where it has not got them. */
static enum err_code send_files(struct remote_worker *worker, struct batch *batch, struct run_frame *frame, struct err *err)
{
	struct remote *remote = worker->remote;
	struct run *run = batch->parts[0].run;
	uint32_t *files = arena_try(&run->arena, frame->count * sizeof(*files));
	uint64_t *offsets = arena_try(&run->arena, frame->count * sizeof(*offsets));
	if (!files || !offsets)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu inputs", frame->count);
	for (size_t i = 0; i < frame->count; i++) {
		const struct tensor *input = &frame->tensors[i];
		struct file_view *file = run_input_file(run, input);
		files[i] = file ? FRAME_FILE_FIRST + (uint32_t)i : FRAME_INLINE;
		offsets[i] = file ? (uint64_t)(input->data - file->data) : 0;
		if (!file)
			continue;
		struct site_header header = { .length = sizeof(struct site_input), .id = batch->id, .worker = worker->id,
					      .type = SITE_INPUT };
		struct site_input body = { .bytes = file->size, .number = files[i] };
		memcpy(body.digest, file->digest.bytes, sizeof(body.digest));
		enum err_code code = link_send(remote->link, &header, &body, err);
		if (code != ERR_OK)
			return code;
	}
	frame->files = files;
	frame->file_offsets = offsets;
	return ERR_OK;
}

enum err_code remote_send_batch(struct remote_worker *worker, struct batch *batch, struct err *err)
{
	struct remote *remote = worker->remote;
	const struct run *first = batch->parts[0].run;
	struct run_frame run = { .method = first->method->name,
				 .parameters = first->request.parameters,
				 .fill = fill_input,
				 .context = batch };
	enum err_code code = batch_inputs(batch, &run.tensors, &run.count, err);
	if (code == ERR_OK && first->files && batch->count == 1 && remote->version >= SITE_VERSION_INPUTS)
		code = send_files(worker, batch, &run, err);
	if (code != ERR_OK)
		return code;
	struct frame_header frame = { .type = FRAME_RUN,
				      .flags = first->request.debug ? FRAME_WANTS_OUTPUT : 0,
				      .deadline_ns = (uint64_t)MAX(batch->deadline_ns - loop_now_ns(remote->options.loop), 1) };
	struct site_header header = { .id = batch->id, .worker = worker->id, .type = SITE_RUN };
	return link_send_run(remote->link, &header, &frame, &run, false, err);
}

static enum err_code worker_send(struct worker *base, struct batch *batch, struct err *err)
{
	struct remote_worker *worker = worker_of(base);
	struct remote *remote = worker->remote;
	if (!remote->link)
		return err_set(err, ERR_UNAVAILABLE, "site %s is out of reach", remote->name);
	if (!slots_take(&worker->slots, batch))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "too many runs at one worker");
	enum err_code code = remote_send_batch(worker, batch, err);
	if (code != ERR_OK)
		slots_give(&worker->slots, slots_find(&worker->slots, batch->id));
	return code;
}

/* A batch that was taken back before the site had all of it. */
struct taken_back {
	struct remote *remote;
	uint32_t worker;
	uint64_t id;
};

static void on_taken_back(void *context)
{
	struct taken_back *back = context;
	struct remote_worker *worker = back->remote->dying ? NULL : remote_worker_find(back->remote, back->worker);
	struct slot *slot = worker ? slots_find(&worker->slots, back->id) : NULL;
	if (slot) {
		err_set(&slot->batch->err, ERR_CANCELLED, "nobody waits for it any more");
		remote_batch_done(worker, slot);
	}
	remote_unpin(back->remote);
	free(back);
}

static void worker_cancel(struct worker *base, struct batch *batch)
{
	struct remote_worker *worker = worker_of(base);
	struct remote *remote = worker->remote;
	if (!remote->link || !link_take_back(remote->link, SITE_RUN, worker->id, batch->id)) {
		remote_note(remote, SITE_CANCEL, worker->id, batch->id, 0, NULL);
		return;
	}
	struct taken_back *back = NEW(struct taken_back);
	*back = (struct taken_back){ remote, worker->id, batch->id };
	remote->pins++;
	loop_post(remote->options.loop, on_taken_back, back);
}

static void worker_stop(struct worker *base, bool now)
{
	struct remote_worker *worker = worker_of(base);
	worker->stopping = true;
	worker->now |= now;
	remote_note(worker->remote, SITE_STOP, worker->id, 0, now ? SITE_NOW : 0, NULL);
}

static void worker_abandon(struct worker *base)
{
	struct remote_worker *worker = worker_of(base);
	if (worker->gone)
		return; /* on_release() frees it */
	remote_note(worker->remote, SITE_STOP, worker->id, 0, SITE_NOW, NULL);
	release(worker);
}

static const struct executor_ops ops = {
	.start = worker_start,
	.send = worker_send,
	.cancel = worker_cancel,
	.stop = worker_stop,
	.abandon = worker_abandon,
};

/* --- life --- */

struct remote *remote_create(const struct remote_options *options)
{
	struct remote *remote = NEW(struct remote);
	remote->executor.ops = &ops;
	remote->options = *options;
	remote->options.name = remote->name;
	str_copy(remote->name, sizeof(remote->name), options->name);
	remote->last_fetch = &remote->fetches;
	remote->silence_ns = settings_int(options->settings, SETTING_SITES_SILENCE_MS) * 1000000;
	remote->grace_ns = settings_int(options->settings, SETTING_SITES_GRACE_S) * 1000000000;
	return remote;
}

void remote_destroy(struct remote *remote, bool silent)
{
	if (!remote)
		return;
	if (!silent)
		remote_workers_gone(remote, "was removed from this hub");
	for (size_t i = 0; silent && i < remote->places; i++)
		if (remote->workers[i] && !remote->workers[i]->gone)
			release(remote->workers[i]);
	link_destroy(remote->link);
	remote->link = NULL;
	remote->dying = true;
	if (!remote->pins)
		remote_free(remote);
}

struct executor *remote_executor(struct remote *remote)
{
	return &remote->executor;
}

bool remote_has_version(const struct remote *remote, const char *digest)
{
	for (size_t i = 0; i < remote->places; i++)
		if (remote->workers[i] && strcmp(remote->workers[i]->digest, digest) == 0)
			return true;
	return false;
}

void remote_get_state(const struct remote *remote, struct remote_state *ret)
{
	*ret = (struct remote_state){ .connected = remote->link != NULL,
				      .leaving = remote->leaving,
				      .workers = remote->worker_count,
				      .rtt_ns = remote->link ? link_rtt_ns(remote->link) : 0,
				      .pulled_bytes = remote->pulled_bytes,
				      .hardware = remote->hardware };
	for (size_t i = 0; i < remote->places; i++)
		ret->runs += remote->workers[i] ? remote->workers[i]->slots.used : 0;
}

bool remote_has_peer(const struct remote *remote, uint32_t peer)
{
	return remote->link && remote->peer == peer;
}
