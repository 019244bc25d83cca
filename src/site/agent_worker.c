/* Workers and runs at the site: what the hub wants started, run, cancelled and stopped. */
#include "site/agent_internal.h"

#include "base/alloc.h"
#include "base/log.h"

/* --- life of a run --- */

static struct held_run *run_find(struct agent_worker *worker, uint64_t id)
{
	struct held_run *held = worker->runs;
	while (held && held->id != id)
		held = held->next;
	return held;
}

static void run_forget(struct held_run *held)
{
	struct agent_worker *worker = held->worker;
	struct held_run **at = &worker->runs;
	while (*at != held)
		at = &(*at)->next;
	*at = held->next;
	if (worker->last == &held->next)
		worker->last = at;
	if (worker->agent->link)
		(void)link_take_back(worker->agent->link, SITE_RESULT, worker->id, held->id);
	agent_forget_inputs(held);
	batch_destroy(held->batch);
	run_destroy(held->run);
	free(held->body);
	free(held);
}

static void tell_outcome(struct held_run *held)
{
	struct agent_worker *worker = held->worker;
	struct agent *agent = worker->agent;
	struct run *run = held->run;
	struct err err = ERR_INIT;
	if (!agent->link)
		return;
	if (run->err.code == ERR_OK) {
		struct run_frame result = { .parameters = run->metadata, .tensors = run->outputs, .count = run->output_count };
		struct frame_header frame = { .type = FRAME_RESULT, .deadline_ns = (uint64_t)MAX(run->run_ns, 0) };
		struct site_header header = { .id = held->id, .worker = worker->id, .type = SITE_RESULT };
		enum err_code code = link_send_run(agent->link, &header, &frame, &result, true, &err);
		if (code == ERR_OK || code == ERR_RESOURCE_EXHAUSTED) { /* that one is said again at the next connection */
			err_done(&err);
			return;
		}
		err_move(&run->err, &err);
	}
	_cleanup_free_ char *text = error_format(&run->err, run->metadata, run->run_ns);
	agent_note(agent, SITE_ERROR, worker->id, held->id, text);
}

/* --- life of a worker --- */

static struct agent_worker *worker_find(struct agent *agent, uint32_t id)
{
	struct agent_worker *worker = agent->workers;
	while (worker && worker->id != id)
		worker = worker->next;
	return worker;
}

/* The hub knows that it is gone, or never wanted to. */
static void worker_forget(struct agent_worker *worker)
{
	struct agent *agent = worker->agent;
	struct agent_worker **at = &agent->workers;
	while (*at != worker)
		at = &(*at)->next;
	*at = worker->next;
	if (worker->local)
		worker->local->executor->ops->abandon(worker->local);
	else
		store_forget(agent->store, worker->id);
	while (worker->runs)
		run_forget(worker->runs);
	servable_unref(worker->servable);
	start_done(&worker->start);
	free(worker->ready);
	free(worker->gone);
	free(worker);
	agent_look_whether_drained(agent);
}

/* `runs` are those that it held, in its order; the hub gets them back. */
static void worker_gone(struct agent_worker *worker, const struct err *why, bool struck, const uint64_t *runs, size_t count)
{
	log_info("%s: worker gone: %s", worker->start.name, err_text(why));
	worker->local = NULL;
	free(worker->gone);
	worker->gone = gone_format(why, struck, runs, count);
	agent_note(worker->agent, SITE_GONE, worker->id, 0, worker->gone);
}

static void on_ready(void *context, struct worker *local, struct str ready)
{
	struct agent_worker *worker = context;
	log_info("%s: worker ready " STR_FMT, worker->start.name, STR_ARG(ready));
	free(worker->ready);
	worker->ready = xstrndup(ready.data, ready.len);
	agent_note(worker->agent, SITE_READY, worker->id, 0, worker->ready);
}

static void on_batch_done(void *context, struct worker *local, struct batch *batch)
{
	struct held_run *held = batch->parts[0].run->context; /* nobody leaves a batch here */
	held->run->run_ns = batch->run_ns;
	if (batch->err.code != ERR_OK)
		err_move(&held->run->err, &batch->err);
	held->batch = NULL;
	held->ended = true;
	batch_destroy(batch);
	tell_outcome(held);
}

static void on_progress(void *context, struct worker *local, struct batch *batch, struct str json)
{
	struct agent_worker *worker = context;
	struct run *run = batch_only_run(batch);
	struct held_run *held = run ? run->context : NULL;
	_cleanup_free_ char *text = xstrndup(json.data, json.len);
	if (held)
		agent_note(worker->agent, SITE_PROGRESS, worker->id, held->id, text);
}

/* Forgets runs that were not given to the worker; with `parts` only those whose RUN has not come. */
static void drop_waiting(struct agent_worker *worker, bool parts)
{
	for (struct held_run *held = worker->runs, *next; held; held = next) {
		next = held->next;
		if (!held->batch && !held->ended && !(parts && held->note))
			run_forget(held);
	}
}

static void on_gone(void *context, struct worker *local, struct batch **batches, size_t count, const struct err *why)
{
	struct agent_worker *worker = context;
	_cleanup_free_ uint64_t *ids = xcalloc(count + 1, sizeof(*ids));
	for (size_t i = 0; i < count; i++) {
		struct held_run *held = batches[i]->parts[0].run->context;
		ids[i] = held->id;
		run_forget(held);
	}
	drop_waiting(worker, false); /* the hub, which is not told of them, gives them to others */
	worker_gone(worker, why, local->struck, ids, count);
}

static const struct worker_events local_events = {
	.on_ready = on_ready, .on_batch_done = on_batch_done, .on_progress = on_progress, .on_gone = on_gone
};

static void on_prepared(void *context, const char *directory, const char *environment, const struct err *err)
{
	struct agent_worker *worker = context;
	struct agent *agent = worker->agent;
	struct err why = ERR_INIT;
	if (err->code != ERR_OK) {
		worker_gone(worker, err, true, NULL, 0); /* it says nothing of what was to be loaded */
		return;
	}
	json_object_set_new(worker->start.load, "directory", json_string(directory));
	_cleanup_free_ char *load = json_canonical(worker->start.load);
	struct worker_spec spec = { .digest = worker->start.digest,
				    .name = worker->start.name,
				    .owner = "",
				    .directory = directory,
				    .load = load,
				    .program = worker->start.program,
				    .environment = environment,
				    .memory_bytes = worker->start.memory_bytes,
				    .network = worker->start.network &&
					       settings_int(agent->options.settings, SETTING_WORKER_NETWORK),
				    .start_deadline_ms = worker->start.start_deadline_ms };
	struct worker_events events = local_events;
	events.context = worker;
	if (agent->options.local->ops->start(agent->options.local, &spec, &events, &worker->local, &why) != ERR_OK)
		worker_gone(worker, &why, true, NULL, 0);
	err_done(&why);
}

/* --- notes --- */

static enum err_code on_start(struct agent *agent, const struct site_header *header, struct str text, struct err *err)
{
	struct site_start start;
	struct signature *signature;
	if (worker_find(agent, header->worker))
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: it starts a worker twice");
	enum err_code code = start_parse(text, &start, err);
	if (code != ERR_OK)
		return code;
	struct agent_worker *worker = NEW(struct agent_worker);
	worker->agent = agent;
	worker->id = header->worker;
	worker->start = start;
	worker->last = &worker->runs;
	struct agent_worker **at = &agent->workers;
	while (*at)
		at = &(*at)->next;
	*at = worker;
	struct err why = ERR_INIT;
	if (agent->draining)
		err_set(&why, ERR_UNAVAILABLE, "the site is being ended");
	else if (signature_parse(json_object_get(start.load, "servable"), &signature, &why) == ERR_OK)
		worker->servable = servable_of_signature(signature);
	if (why.code != ERR_OK)
		worker_gone(worker, &why, true, NULL, 0);
	else
		store_prepare(agent->store, worker->id, &worker->start, on_prepared, worker);
	err_done(&why);
	return ERR_OK;
}

/* Inputs that lie in the note stay there. */
static enum err_code read_run(struct held_run *held, struct err *err)
{
	struct run *run = held->run;
	struct frame_header frame;
	struct run_frame request;
	enum err_code code = site_decode_run(held->note, held->note_len, &run->arena, agent_get_file, held, &frame, &request, err);
	if (code != ERR_OK)
		return code;
	run->method = signature_method(run->servable->signature, request.method);
	if (!run->method)
		return err_set(err, ERR_INVALID_ARGUMENT, "the servable has no method '" STR_FMT "'", STR_ARG(request.method));
	run->request = (struct run_request){ .method = run->method,
					     .inputs = request.tensors,
					     .input_count = request.count,
					     .parameters = request.parameters,
					     .debug = frame.flags & FRAME_WANTS_OUTPUT };
	run->deadline_ns = held->came_ns + (int64_t)MIN(frame.deadline_ns, (uint64_t)INT64_MAX / 2);
	return ERR_OK;
}

void agent_begin_run(struct held_run *held)
{
	struct worker *local = held->worker->local;
	struct run *run = held->run;
	if (run->err.code == ERR_OK && read_run(held, &run->err) == ERR_OK) {
		held->batch = batch_create(run, 0);
		if (local->executor->ops->send(local, held->batch, &run->err) == ERR_OK) {
			held->batch->worker = local;
			return;
		}
		batch_destroy(TAKE(held->batch));
	}
	held->ended = true;
	tell_outcome(held);
}

static struct held_run *hold_run(struct agent_worker *worker, uint64_t id)
{
	struct agent *agent = worker->agent;
	struct held_run *held = NEW(struct held_run);
	held->worker = worker;
	held->id = id;
	int64_t output_bytes = settings_int(agent->options.settings, SETTING_LIMITS_OUTPUT_BYTES);
	held->run = run_create((size_t)(2 * agent->body_bytes + output_bytes) + 2ul * FRAME_LENGTH_MAX);
	held->run->context = held;
	held->run->servable = servable_ref(worker->servable);
	*worker->last = held;
	worker->last = &held->next;
	return held;
}

static enum err_code keep_note(struct held_run *held, const uint8_t *body, size_t len, struct err *err)
{
	held->body = link_keep(held->worker->agent->link);
	held->note = body;
	held->note_len = len;
	if (held->body)
		return ERR_OK;
	uint8_t *copy = arena_try(&held->run->arena, len);
	if (!copy)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a run of %zu bytes", len);
	memcpy(copy, body, len);
	held->note = copy;
	return ERR_OK;
}

/* INPUT and RUN. */
static enum err_code on_run(struct agent *agent, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct agent_worker *worker = worker_find(agent, header->worker);
	if (!worker || worker->gone)
		return ERR_OK; /* GONE, which does not name it, gives it back */
	struct held_run *held = run_find(worker, header->id);
	if (!worker->ready || (held && held->note))
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a run for a worker that is not ready, or twice");
	if (!held)
		held = hold_run(worker, header->id);
	if (header->type == SITE_INPUT) {
		struct site_input input;
		memcpy(&input, body, sizeof(input));
		return agent_on_input(held, &input, err);
	}
	held->came_ns = loop_now_ns(agent->options.loop);
	(void)!keep_note(held, body, header->length, &held->run->err);
	if (!held->inputs_missing)
		agent_begin_run(held);
	return ERR_OK;
}

static void on_stop(struct agent *agent, struct agent_worker *worker, bool now)
{
	struct err why = ERR_INIT;
	if (worker->gone) {
		if (now)
			worker_forget(worker); /* the hub does not know it any more */
		return;
	}
	if (worker->local) {
		worker->local->executor->ops->stop(worker->local, now);
		return;
	}
	store_forget(agent->store, worker->id);
	err_set(&why, ERR_UNAVAILABLE, "was stopped");
	worker_gone(worker, &why, true, NULL, 0);
	err_done(&why);
}

static void on_ack(struct agent_worker *worker, uint64_t id)
{
	struct held_run *held = id ? run_find(worker, id) : NULL;
	if (!id && worker->gone)
		worker_forget(worker);
	else if (held && held->ended)
		run_forget(held);
}

static void on_cancel(struct agent_worker *worker, uint64_t id)
{
	struct held_run *held = run_find(worker, id);
	if (held && held->batch && worker->local)
		worker->local->executor->ops->cancel(worker->local, held->batch);
	if (!held || held->batch || held->ended)
		return;
	agent_forget_inputs(held); /* it waits for them */
	held->ended = true;
	err_done(&held->run->err);
	err_set(&held->run->err, ERR_CANCELLED, "nobody waits for it any more");
	tell_outcome(held);
}

static void on_piece(struct agent *agent, const struct site_header *header, const uint8_t *body)
{
	struct site_piece piece;
	memcpy(&piece, body, sizeof(piece));
	bool there = header->type == SITE_PIECE;
	store_take(agent->store, header->worker, &piece, header->id, there ? body + sizeof(piece) : NULL,
		   header->length - sizeof(piece));
}

enum err_code agent_on_note(struct agent *agent, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct agent_worker *worker = worker_find(agent, header->worker);
	switch (header->type) {
	case SITE_START:
		return on_start(agent, header, (struct str){ (const char *)body, header->length }, err);
	case SITE_INPUT:
	case SITE_RUN:
		return on_run(agent, header, body, err);
	case SITE_STOP:
		if (worker)
			on_stop(agent, worker, header->flags & SITE_NOW);
		return ERR_OK;
	case SITE_ACK:
		if (worker)
			on_ack(worker, header->id);
		return ERR_OK;
	case SITE_CANCEL:
		if (worker)
			on_cancel(worker, header->id);
		return ERR_OK;
	case SITE_PIECE:
	case SITE_ABSENT:
		on_piece(agent, header, body);
		return ERR_OK;
	default:
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a note of type %u was not expected", header->type);
	}
}

/* --- over connections --- */

json_t *agent_held(const struct agent *agent)
{
	json_t *list = json_array();
	for (const struct agent_worker *worker = agent->workers; worker; worker = worker->next) {
		json_t *runs = json_array();
		for (const struct held_run *held = worker->runs; held; held = held->next)
			if (held->note)
				json_array_append_new(runs, json_integer((json_int_t)held->id));
		json_array_append_new(list, json_pack("{s:I, s:o}", "id", (json_int_t)worker->id, "runs", runs));
	}
	return list;
}

void agent_tell_again(struct agent *agent)
{
	for (struct agent_worker *worker = agent->workers; worker; worker = worker->next) {
		drop_waiting(worker, true); /* the hub says them anew */
		if (worker->ready)
			agent_note(agent, SITE_READY, worker->id, 0, worker->ready);
		for (struct held_run *held = worker->runs; held; held = held->next)
			if (held->ended)
				tell_outcome(held);
		if (worker->gone)
			agent_note(agent, SITE_GONE, worker->id, 0, worker->gone);
	}
	store_connected(agent->store);
}

void agent_give_up(struct agent *agent)
{
	while (agent->workers)
		worker_forget(agent->workers);
}
