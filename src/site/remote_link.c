/* The connection's side: what the site says, when it comes and when it stays away. */
#include "site/remote_internal.h"

#include "base/alloc.h"
#include "base/log.h"

#define FETCHES_AT_WORK 8    /* pieces that are read for one site at once */
#define FETCHES_MAX 65536u /* that wait for that */

/* --- notes out --- */

void remote_note(struct remote *remote, enum site_note type, uint32_t worker, uint64_t id, unsigned int flags, const char *text)
{
	struct site_header header = { .length = text ? strlen(text) : 0, .id = id, .worker = worker, .type = (uint16_t)type,
				      .flags = (uint16_t)flags };
	if (remote->link && link_send(remote->link, &header, text, NULL) != ERR_OK)
		remote->broken = true; /* it does not read: the next tick ends the connection */
}

static bool link_out(void *context, const struct iovec *parts, size_t count)
{
	struct remote *remote = context;
	return remote->options.send(remote->options.context, remote->peer, parts, count);
}

/* --- notes in --- */

static enum err_code on_ready(struct remote_worker *worker, struct str text, struct err *err)
{
	if (worker->ready)
		return ERR_OK; /* said again after it came back */
	worker->ready = true;
	worker->events.on_ready(worker->events.context, &worker->worker, text);
	return ERR_OK;
}

static enum err_code on_result(struct remote_worker *worker, struct slot *slot, const uint8_t *body, size_t len, struct err *err)
{
	struct batch *batch = slot->batch;
	struct run *only = batch_only_run(batch);
	int64_t most = settings_int(worker->remote->options.settings, SETTING_LIMITS_OUTPUT_BYTES);
	struct arena scratch;
	struct frame_header frame;
	struct run_frame result;
	arena_init(&scratch, (size_t)most + FRAME_LENGTH_MAX);
	enum err_code code = site_decode_run(body, len, only ? &only->arena : &scratch, NULL, NULL, &frame, &result, err);
	if (code == ERR_OK && frame.type != FRAME_RESULT)
		code = err_set(err, ERR_INVALID_ARGUMENT, "a RESULT that is none");
	if (code == ERR_OK) {
		batch->run_ns = (int64_t)frame.deadline_ns;
		(void)!batch_take_outputs(batch, result.tensors, result.count, result.parameters, most, NULL, &batch->err);
		remote_batch_done(worker, slot);
	}
	arena_done(&scratch);
	return code;
}

static enum err_code on_error(struct remote_worker *worker, struct slot *slot, struct str text, struct err *err)
{
	struct batch *batch = slot->batch;
	struct run *only = batch_only_run(batch);
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = error_parse(text, &json, only ? &only->err : &batch->err, err);
	if (code != ERR_OK)
		return code;
	batch->run_ns = json_integer_value(json_object_get(json, "run_ns"));
	if (only && json_object_get(json, "metadata")) {
		_cleanup_free_ char *metadata = json_canonical(json_object_get(json, "metadata"));
		char *copy = arena_strndup(&only->arena, metadata, strlen(metadata));
		only->metadata = (struct str){ copy, copy ? strlen(copy) : 0 };
	}
	remote_batch_done(worker, slot);
	return ERR_OK;
}

/* RESULT and ERROR. What is not awaited (any more) is only acknowledged. */
static enum err_code on_outcome(struct remote *remote, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct remote_worker *worker = remote_worker_find(remote, header->worker);
	struct slot *slot = worker ? slots_find(&worker->slots, header->id) : NULL;
	remote_note(remote, SITE_ACK, header->worker, header->id, 0, NULL);
	if (!slot)
		return ERR_OK;
	return header->type == SITE_RESULT ? on_result(worker, slot, body, header->length, err) :
					     on_error(worker, slot, (struct str){ (const char *)body, header->length }, err);
}

static enum err_code on_gone(struct remote *remote, const struct site_header *header, struct str text, struct err *err)
{
	struct remote_worker *worker = remote_worker_find(remote, header->worker);
	struct err why = ERR_INIT;
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = error_parse(text, &json, &why, err);
	remote_note(remote, SITE_ACK, header->worker, 0, 0, NULL);
	if (code == ERR_OK && worker) {
		worker->worker.struck = json_is_true(json_object_get(json, "struck"));
		remote_worker_gone(worker, json_object_get(json, "runs"), &why);
	}
	err_done(&why);
	return code;
}

static void on_progress(struct remote *remote, const struct site_header *header, struct str json)
{
	struct remote_worker *worker = remote_worker_find(remote, header->worker);
	struct slot *slot = worker ? slots_find(&worker->slots, header->id) : NULL;
	if (slot && worker->events.on_progress)
		worker->events.on_progress(worker->events.context, &worker->worker, slot->batch, json);
}

/* --- artifacts --- */

/* A piece that the site asked for. */
struct fetch {
	struct fetch *next;
	struct remote *remote;
	uint64_t session; /* the connection that asked */
	uint32_t worker;
	uint8_t digest[SITE_DIGEST_BYTES];
	uint64_t offset;
};

void remote_drop_fetches(struct remote *remote)
{
	for (struct fetch *next; remote->fetches; remote->fetches = next) {
		next = remote->fetches->next;
		free(remote->fetches);
	}
	remote->last_fetch = &remote->fetches;
	remote->fetch_count = 0;
}

static void send_piece(const struct fetch *fetch, const struct site_piece *piece, const uint8_t *data, size_t len,
		       const struct err *err)
{
	struct remote *remote = fetch->remote;
	bool there = err->code == ERR_OK;
	_cleanup_free_ uint8_t *body = xmalloc(sizeof(*piece) + len);
	memcpy(body, piece, sizeof(*piece));
	if (there && len)
		memcpy(body + sizeof(*piece), data, len);
	if (!there)
		log_warning("site %s: an artifact cannot be given: %s", remote->name, err_text(err));
	struct site_header header = { .length = sizeof(*piece) + (there ? len : 0), .id = fetch->offset, .worker = fetch->worker,
				      .type = there ? SITE_PIECE : SITE_ABSENT };
	remote->pulled_bytes += there ? len : 0;
	if (link_send(remote->link, &header, body, NULL) != ERR_OK)
		remote->broken = true;
}

static void fetch_more(struct remote *remote);

static void on_piece(void *context, const struct site_piece *piece, uint64_t offset, const uint8_t *data, size_t len,
		     const struct err *err)
{
	struct fetch *fetch = context;
	struct remote *remote = fetch->remote;
	if (remote->link && remote->session == fetch->session)
		send_piece(fetch, piece, data, len, err);
	free(fetch);
	remote->fetches_at_work--;
	if (!remote->dying)
		fetch_more(remote);
	remote_unpin(remote);
}

/* The file of that digest that a run of the worker has named, and was not left by it; NULL: none. Borrowed. */
static struct file_view *find_input(const struct remote_worker *worker, const uint8_t *digest)
{
	const struct slots *slots = &worker->slots;
	for (uint32_t i = 0; i < slots->count; i++) {
		const struct run *run = slots->items[i].batch ? slots->items[i].batch->parts[0].run : NULL;
		for (struct file_view *file = run ? run->files : NULL; file; file = file->next)
			if (memcmp(file->digest.bytes, digest, SITE_DIGEST_BYTES) == 0)
				return file;
	}
	return NULL;
}

static bool read_piece(struct remote *remote, const struct remote_worker *worker, struct fetch *fetch)
{
	struct artifacts *artifacts = remote->options.artifacts;
	struct file_view *input = find_input(worker, fetch->digest);
	return input ? artifacts_read_input(artifacts, input, fetch->offset, on_piece, fetch) :
		       artifacts_read(artifacts, worker->digest, fetch->digest, fetch->offset, on_piece, fetch);
}

/* Few at once, so that a site does not fill the pool. Where others have filled it, the next tick tries again. */
static void fetch_more(struct remote *remote)
{
	while (remote->fetches && remote->fetches_at_work < FETCHES_AT_WORK) {
		struct fetch *fetch = remote->fetches;
		struct remote_worker *worker = remote_worker_find(remote, fetch->worker);
		if (worker && !read_piece(remote, worker, fetch))
			return;
		remote->fetches = fetch->next;
		if (!remote->fetches)
			remote->last_fetch = &remote->fetches;
		remote->fetch_count--;
		if (worker) {
			remote->fetches_at_work++;
			remote->pins++;
		} else {
			free(fetch); /* it was stopped meanwhile */
		}
	}
}

static enum err_code on_fetch(struct remote *remote, const struct site_header *header, const uint8_t *digest, struct err *err)
{
	if (remote->fetch_count == FETCHES_MAX)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "asks for more than %u pieces at once", FETCHES_MAX);
	struct fetch *fetch = NEW(struct fetch);
	*fetch = (struct fetch){ .remote = remote, .session = remote->session, .worker = header->worker, .offset = header->id };
	memcpy(fetch->digest, digest, sizeof(fetch->digest));
	*remote->last_fetch = fetch;
	remote->last_fetch = &fetch->next;
	remote->fetch_count++;
	fetch_more(remote);
	return ERR_OK;
}

static void on_leave(struct remote *remote)
{
	remote->leaving = true;
	remote_set_away(remote, false);
	for (size_t i = 0; i < remote->places; i++)
		if (remote->workers[i])
			remote_stop_if_leaving(remote->workers[i]);
}

static enum err_code on_note(void *context, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct remote *remote = context;
	struct str text = { (const char *)body, header->length };
	struct remote_worker *worker;
	switch (header->type) {
	case SITE_READY:
		worker = remote_worker_find(remote, header->worker);
		return worker ? on_ready(worker, text, err) : ERR_OK;
	case SITE_RESULT:
	case SITE_ERROR:
		return on_outcome(remote, header, body, err);
	case SITE_PROGRESS:
		on_progress(remote, header, text);
		return ERR_OK;
	case SITE_GONE:
		return on_gone(remote, header, text, err);
	case SITE_FETCH:
		return on_fetch(remote, header, body, err);
	case SITE_LEAVE:
		on_leave(remote);
		return ERR_OK;
	default:
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a note of type %u was not expected", header->type);
	}
}

enum err_code remote_receive(struct remote *remote, const uint8_t *data, size_t len, struct err *err)
{
	if (remote->broken)
		return ERR_OK; /* the next tick ends the connection */
	enum err_code code = link_receive(remote->link, data, len, err);
	remote->broken |= code != ERR_OK;
	return code;
}

/* --- coming, going, coming back --- */

/* Of one worker: which batches the site says that it holds. */
static void note_held(struct remote *remote, struct remote_worker *worker, const json_t *runs)
{
	size_t i;
	json_t *run;
	json_array_foreach(runs, i, run) {
		uint64_t id = (uint64_t)json_integer_value(run);
		struct slot *slot = slots_find(&worker->slots, id);
		if (slot)
			slot->seen = true;
		if (!slot || slot->batch->cancelled_ns) /* was given up, perhaps while the site could not be told */
			remote_note(remote, SITE_CANCEL, worker->id, id, 0, NULL);
	}
}

/* What had not arrived is sent again; where a run has left its batch, its inputs may be gone, and the others are told. */
static void send_again(struct remote_worker *worker)
{
	size_t count;
	_cleanup_free_ struct batch **held = slots_held(&worker->slots, &count);
	for (size_t i = 0; i < count; i++) {
		struct slot *slot = slots_find(&worker->slots, held[i]->id);
		if (slot->seen)
			continue;
		if (held[i]->left_count)
			err_set(&held[i]->err, ERR_UNAVAILABLE, "the connection to site %s broke while it was sent there",
				worker->remote->name);
		else if (remote_send_batch(worker, held[i], &held[i]->err) == ERR_OK)
			continue;
		remote_batch_done(worker, slot);
	}
}

static void reconcile_worker(struct remote_worker *worker)
{
	struct remote *remote = worker->remote;
	struct err why = ERR_INIT;
	if (worker->seen) {
		send_again(worker);
		if (worker->stopping)
			remote_note(remote, SITE_STOP, worker->id, 0, worker->now ? SITE_NOW : 0, NULL);
	} else if (!worker->ready && !worker->stopping) {
		(void)!remote_send_start(worker, NULL); /* START had not arrived */
	} else {
		err_set(&why, ERR_UNAVAILABLE, "was at site %s and ended while that was out of reach", remote->name);
		worker->worker.lost = true;
		remote_worker_gone(worker, NULL, &why);
	}
	err_done(&why);
}

static void reconcile(struct remote *remote, const json_t *held)
{
	for (size_t i = 0; i < remote->places; i++)
		if (remote->workers[i]) {
			struct slots *slots = &remote->workers[i]->slots;
			remote->workers[i]->seen = false;
			for (uint32_t k = 0; k < slots->count; k++)
				slots->items[k].seen = false;
		}
	size_t i;
	json_t *item;
	json_array_foreach(held, i, item) {
		uint32_t id = (uint32_t)json_integer_value(json_object_get(item, "id"));
		struct remote_worker *worker = remote_worker_find(remote, id);
		if (!worker) {
			remote_note(remote, SITE_STOP, id, 0, SITE_NOW, NULL);
			continue;
		}
		worker->seen = true;
		note_held(remote, worker, json_object_get(item, "runs"));
	}
	for (i = 0; i < remote->places; i++)
		if (remote->workers[i] && !remote->workers[i]->gone)
			reconcile_worker(remote->workers[i]);
}

static void disconnect(struct remote *remote)
{
	link_destroy(remote->link);
	remote->link = NULL;
	remote_drop_fetches(remote);
	remote->broken = false;
	remote->lost_ns = remote->worker_count ? loop_now_ns(remote->options.loop) : 0;
	remote_set_away(remote, true);
}

static enum err_code choose_version(const struct site_hello *hello, int64_t *ret, struct err *err)
{
	*ret = MIN(hello->version_newest, SITE_VERSION_NEWEST);
	if (*ret >= SITE_VERSION_LEAST && *ret >= hello->version_least)
		return ERR_OK;
	err_set(err, ERR_FAILED_PRECONDITION, "this hub speaks versions %d to %d of the site protocol, and dlhub-site %s %lld to %lld",
		SITE_VERSION_LEAST, SITE_VERSION_NEWEST, hello->hardware.program, (long long)hello->version_least,
		(long long)hello->version_newest);
	return err_advise(err, "install dlhub-site of the hub's version, which is %s", DLHUB_VERSION);
}

enum err_code remote_arrive(struct remote *remote, uint32_t peer, const struct site_hello *hello, struct err *err)
{
	const struct settings *settings = remote->options.settings;
	struct site_welcome welcome = { .silence_ms = settings_int(settings, SETTING_SITES_SILENCE_MS),
					.grace_ms = settings_int(settings, SETTING_SITES_GRACE_S) * 1000,
					.body_bytes = settings_int(settings, SETTING_LIMITS_BODY_BYTES),
					.output_bytes = settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) };
	enum err_code code = choose_version(hello, &welcome.version, err);
	if (code != ERR_OK)
		return code;
	bool same = strcmp(remote->instance, hello->instance) == 0;
	if (remote->link && !same && !link_is_gone(remote->link)) {
		link_ping(remote->link); /* shows soon whether anybody is there */
		err_set(err, ERR_UNAVAILABLE, "another dlhub-site with the key of %s is connected", remote->name);
		return err_advise(err, "a site runs once; where the other has just ended, this one gets in within %lld s",
				  (long long)(remote->silence_ns / 1000000000 + 1));
	}
	if (remote->link)
		disconnect(remote);
	const struct link_options options = {
		.loop = remote->options.loop,
		.most_bytes = (size_t)welcome.output_bytes + FRAME_LENGTH_MAX,
		.send = link_out,
		.on_note = on_note,
		.context = remote,
	};
	remote->link = link_create(&options);
	remote->version = welcome.version;
	remote->peer = peer;
	remote->session++;
	remote->lost_ns = 0;
	remote->leaving = false;
	remote->hardware = hello->hardware;
	str_copy(remote->instance, sizeof(remote->instance), hello->instance);
	_cleanup_free_ char *text = welcome_format(&welcome);
	remote_note(remote, SITE_WELCOME, 0, 0, 0, text);
	link_ping(remote->link);
	remote_set_away(remote, false);
	reconcile(remote, hello->workers);
	return ERR_OK;
}

enum remote_change remote_tick(struct remote *remote)
{
	int64_t now = loop_now_ns(remote->options.loop);
	if (remote->link) {
		if (!remote->broken && !link_is_gone(remote->link) && now - link_heard_ns(remote->link) < remote->silence_ns) {
			link_ping(remote->link);
			fetch_more(remote);
			remote_set_away(remote, false); /* the round trip may have changed */
			return REMOTE_SAME;
		}
		disconnect(remote);
		return REMOTE_OUT_OF_REACH;
	}
	if (!remote->lost_ns || now - remote->lost_ns < remote->grace_ns)
		return REMOTE_SAME;
	remote_workers_gone(remote, "is out of reach");
	return REMOTE_GIVEN_UP;
}
