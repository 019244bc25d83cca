#include "schedule/pipeline_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define METADATA_BYTES (1u << 20) /* of all steps */

const char *pipeline_step_text(const struct pipeline_step *step, char text[64])
{
	snprintf(text, 64, STR_FMT, STR_ARG(step->name));
	return text;
}

/* --- life --- */

void step_drop_run(struct step *step)
{
	run_destroy(step->run);
	step->run = NULL;
}

void whole_unref(struct whole *whole)
{
	if (--whole->refs)
		return;
	for (size_t i = 0; i < whole->pipeline->step_count; i++) {
		step_drop_run(&whole->steps[i]);
		servable_unref(whole->steps[i].servable);
	}
	err_done(&whole->err);
	servable_unref(whole->servable);
	arena_done(&whole->arena);
	free(whole);
}

static void release(void *whole)
{
	whole_unref(whole);
}

/* --- the end --- */

static void put_metadata(struct whole *whole)
{
	struct run *run = whole->run;
	struct buf text;
	buf_init(&text, METADATA_BYTES);
	buf_puts(&text, "{\"steps\":[");
	for (size_t i = 0; i < whole->pipeline->step_count; i++) {
		const struct step *step = &whole->steps[i];
		const struct pipeline_step *plan = &whole->pipeline->steps[i];
		buf_puts(&text, i ? ",{\"name\":" : "{\"name\":");
		buf_put_json_string(&text, plan->name.data, plan->name.len);
		if (plan->combine) {
			buf_printf(&text, ",\"combine\":\"%s\"", combine_name(plan->combine));
		} else {
			buf_puts(&text, ",\"servable\":");
			buf_put_json_string(&text, step->servable->full_name, strlen(step->servable->full_name));
			buf_printf(&text, ",\"version\":%s,\"memo\":\"%s\"", step->servable->number_text, memo_state_name(step->memo));
		}
		buf_printf(&text, ",\"ms\":%.3f", (double)(step->ended_ns - step->began_ns) / 1e6);
		if (step->said.len > 2) {
			buf_putc(&text, ',');
			buf_append(&text, step->said.data + 1, step->said.len - 1);
		} else {
			buf_putc(&text, '}');
		}
	}
	buf_puts(&text, "]}");
	char *kept = text.overflowed ? NULL : arena_strndup(&run->arena, text.data, text.len);
	if (kept)
		run->metadata = (struct str){ kept, text.len };
	buf_done(&text);
}

/* For whoever asks where the time went. */
static void put_steps(struct whole *whole)
{
	struct run *run = whole->run;
	int64_t now_ns = clock_ns();
	run->steps = arena_try(&run->arena, whole->pipeline->step_count * sizeof(*run->steps));
	for (size_t i = 0; run->steps && i < whole->pipeline->step_count; i++) {
		const struct step *step = &whole->steps[i];
		if (!step->began_ns)
			continue;
		const struct run *own = step->state == STEP_RUNS ? step->run : NULL;
		run->steps[run->step_count++] = (struct run_step){ .name = whole->pipeline->steps[i].name,
								   .combine = whole->pipeline->steps[i].combine,
								   .memo = step->memo,
								   .began_ns = step->began_ns,
								   .started_ns = own ? own->started_ns : step->started_ns,
								   .ended_ns = step->ended_ns ?: now_ns };
	}
}

static void tell(struct whole *whole)
{
	struct run *run = whole->run;
	put_steps(whole);
	whole->run = NULL;
	err_move(&run->err, &whole->err);
	run->run_ns = clock_ns() - run->started_ns;
	whole->pipelines->parts.on_end(whole->pipelines->parts.context, run);
	if (whole->under_way) {
		whole->arena = run->arena;
		arena_init(&run->arena, whole->arena.ceiling_bytes);
		for (size_t i = 0; i < whole->pipeline->step_count; i++)
			if (whole->steps[i].run)
				whole->steps[i].run->outer = NULL;
	}
	run_complete(run);
}

static void finish(struct whole *whole)
{
	if (!whole->starting) {
		tell(whole);
		return;
	}
	/* Nobody hears of an end inside the call that began it. */
	if (whole->soon)
		return;
	whole->soon = true;
	whole->refs++;
	whole->next_soon = whole->pipelines->soon;
	whole->pipelines->soon = whole;
	timer_start(whole->pipelines->timer, 0, 0);
}

static void tell_soon(struct pipelines *pipelines)
{
	for (struct whole *whole; (whole = pipelines->soon);) {
		pipelines->soon = whole->next_soon;
		whole->soon = false;
		if (whole->run)
			tell(whole);
		whole_unref(whole);
	}
}

static void on_soon(void *context)
{
	tell_soon(context);
}

/* Ends the steps under way; `whole->err` says why. */
static void fail(struct whole *whole)
{
	whole->refs++;
	for (size_t i = 0; i < whole->pipeline->step_count; i++) {
		struct step *step = &whole->steps[i];
		if (step->state == STEP_RUNS && step->run && step->servable)
			whole->pipelines->parts.give_up(whole->pipelines->parts.context, step->run);
	}
	if (whole->run)
		finish(whole);
	whole_unref(whole);
}

/* The first failure is the pipeline's. Takes the error. */
void whole_fail_at(struct whole *whole, size_t index, struct err *err)
{
	char name[64];
	if (!whole->run || whole->err.code != ERR_OK) {
		err_done(err);
		return;
	}
	err_wrap(err, "pipeline step '%s'", pipeline_step_text(&whole->pipeline->steps[index], name));
	err_move(&whole->err, err);
	fail(whole);
}

bool whole_has_ended(const struct whole *whole)
{
	return !whole->run || whole->err.code != ERR_OK;
}

void whole_end(struct whole *whole)
{
	struct run *run = whole->run;
	const struct method *method = run->method;
	struct tensor *outputs;
	enum err_code code = whole_gather(whole, whole->pipeline->outputs, whole->pipeline->output_count, &run->arena, &outputs,
					  &whole->err);
	if (code == ERR_OK && method->output_count == 1)
		outputs[0].name = method->outputs[0].name;
	if (code == ERR_OK)
		code = method_check_outputs(method, outputs, whole->pipeline->output_count, &whole->err);
	if (code == ERR_OK) {
		for (size_t i = 0; i < method->output_count; i++)
			outputs[i].name = method->outputs[i].name;
		run->outputs = outputs;
		run->output_count = method->output_count;
		put_metadata(whole);
	}
	finish(whole);
}

/* --- who and what the steps are --- */

static enum err_code check_servable(struct whole *whole, size_t index, struct servable *servable, struct err *err)
{
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	struct step *step = &whole->steps[index];
	enum err_code code = lookup_decide(whole->run->principal, servable, RIGHT_RUN, err);
	if (code != ERR_OK)
		return code;
	for (const struct run *run = whole->run; run; run = run->outer)
		if (strcmp(run->servable->full_name, servable->full_name) == 0 && strcmp(run->servable->digest, servable->digest) == 0)
			return err_set(err, ERR_FAILED_PRECONDITION, "%s is a step of itself", servable->full_name);
	step->method = signature_method(servable->signature, plan->method);
	if (!step->method)
		return err_set(err, ERR_FAILED_PRECONDITION, "%s version %s has no method '" STR_FMT "'", servable->full_name,
			       servable->number_text, STR_ARG(plan->method));
	step->servable = servable_ref(servable);
	return ERR_OK;
}

/* What the caller may not discover has no name in the error. */
static void resolve(struct whole *whole, size_t index, struct servable *servable, struct err *err)
{
	if (servable && !whole_has_ended(whole))
		(void)!check_servable(whole, index, servable, err);
	if (err->code == ERR_NOT_FOUND) {
		err_set(err, ERR_PERMISSION_DENIED, "it runs a servable that you may not run");
		err_advise(err, "the pipeline's owner knows which, and can ask its owner");
	}
	if (err->code != ERR_OK)
		whole_fail_at(whole, index, err);
}

static void on_servable(void *context, struct servable *servable, const struct err *why)
{
	struct step *step = context;
	struct whole *whole = step->whole;
	struct err err = ERR_INIT;
	whole->looking--;
	if (!servable) {
		err_set(&err, why->code, "%s", err_text(why));
		if (err_hint(why))
			err_advise(&err, "%s", err_hint(why));
	}
	resolve(whole, (size_t)(step - whole->steps), servable, &err);
	err_done(&err);
	whole_advance(whole);
	whole_unref(whole);
}

static void look_up(struct whole *whole, size_t index)
{
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	struct servable *servable = NULL;
	struct err err = ERR_INIT;
	if (plan->combine)
		return;
	if (lookup_servable(whole->pipelines->parts.lookup, whole->run->principal, plan->owner, plan->servable, plan->version,
			    &servable, on_servable, &whole->steps[index], &err) == LOOKUP_WAITS) {
		whole->looking++;
		whole->refs++;
		return;
	}
	resolve(whole, index, servable, &err);
	servable_unref(servable);
	err_done(&err);
}

/* --- interface --- */

struct pipelines *pipelines_create(const struct pipelines_parts *parts)
{
	struct pipelines *pipelines = NEW(struct pipelines);
	pipelines->parts = *parts;
	pipelines->timer = timer_create_on(parts->loop, on_soon, pipelines);
	return pipelines;
}

void pipelines_flush(struct pipelines *pipelines)
{
	tell_soon(pipelines);
}

void pipelines_destroy(struct pipelines *pipelines)
{
	if (!pipelines)
		return;
	timer_close(pipelines->timer);
	free(pipelines);
}

static void pass_on(struct run_layer *layer, struct run *run)
{
	run_complete(run);
}

static enum err_code check_depth(const struct pipelines *pipelines, const struct run *run, struct err *err)
{
	int64_t depth = 0, most = settings_int(pipelines->parts.settings, SETTING_LIMITS_PIPELINE_DEPTH);
	for (const struct run *outer = run; outer; outer = outer->outer)
		depth++;
	if (depth > most)
		return err_set(err, ERR_FAILED_PRECONDITION, "pipelines are more than %lld deep in each other (limits.pipeline_depth)",
			       (long long)most);
	return ERR_OK;
}

enum err_code pipelines_submit(struct pipelines *pipelines, struct run *run, struct err *err)
{
	const struct pipeline *pipeline = run->servable->pipeline;
	enum err_code code = check_depth(pipelines, run, err);
	if (code != ERR_OK)
		return code;
	run->submitted_ns = run->started_ns = clock_ns();
	run_start_clock(run, run->started_ns);
	if (run->deadline_ns <= run->submitted_ns)
		return err_set(err, ERR_DEADLINE_EXCEEDED, "the deadline had passed before the pipeline could begin");
	struct whole *whole = xcalloc(1, sizeof(*whole) + pipeline->step_count * sizeof(whole->steps[0]));
	if (!run_hold(run, release, whole)) {
		free(whole);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to run a pipeline");
	}
	whole->layer.on_done = pass_on;
	whole->pipelines = pipelines;
	whole->run = run;
	whole->servable = servable_ref(run->servable);
	whole->pipeline = pipeline;
	whole->refs = 1;
	whole->left = pipeline->step_count;
	whole->starting = true;
	run_push_layer(run, &whole->layer);
	for (size_t i = 0; i < pipeline->step_count; i++)
		whole->steps[i] = (struct step){ .whole = whole, .uses = pipeline->steps[i].used };
	for (size_t i = 0; i < pipeline->step_count && whole->err.code == ERR_OK; i++)
		look_up(whole, i);
	whole_advance(whole);
	whole->starting = false;
	return ERR_OK;
}

void pipelines_give_up(struct pipelines *pipelines, struct run *run)
{
	struct whole *whole = CONTAINER_OF(run->layer, struct whole, layer);
	if (whole->err.code == ERR_OK)
		err_set(&whole->err, ERR_CANCELLED, "the client left");
	fail(whole);
}
