#include "schedule/pipeline.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "schedule/pipeline_graph.h"

#define RUN_SLACK (1u << 20)	   /* names and shapes beside the bytes of a step */
#define METADATA_BYTES (1u << 20)  /* of all steps */
#define COMBINE_HERE (256u << 10)  /* more bytes are combined on the pool */

enum step_state { STEP_WAITS, STEP_RUNS, STEP_DONE };

struct whole;

struct step {
	struct whole *whole;
	struct servable *servable; /* shared (ref); NULL: a combiner, or not looked up yet */
	const struct method *method;
	enum step_state state;
	struct run *run; /* owned, kept until `uses` is 0 */
	size_t uses;	 /* those that take from it and have not ended, the pipeline itself included */
	int64_t began_ns, started_ns, ended_ns; /* started: it was sent to a worker; 0: not */
	enum memo_state memo;
	struct str said; /* its run's metadata, of the pipeline's arena */
};

/* One run of a pipeline. Its memory outlives the run where steps are still under way: they take their inputs from it. */
struct whole {
	struct run_layer layer; /* over the run's own end: by it the run finds this */
	struct pipelines *pipelines;
	struct run *run; /* NULL: it has ended */
	struct servable *servable; /* shared (ref): the pipeline */
	const struct pipeline *pipeline;
	unsigned int refs; /* of the run, of look-ups, of steps under way, of the list of those that end soon */
	size_t looking, under_way, left;
	bool starting, advancing, soon;
	struct err err;
	struct whole *next_soon;
	struct arena arena; /* the run's, once it has ended before its steps */
	struct step steps[];
};

struct pipelines {
	struct pipelines_parts parts;
	struct whole *soon; /* ended inside their submit: told on the next turn */
	struct timer *timer;
};

static void advance(struct whole *whole);

static const char *text_of(const struct pipeline_step *step, char text[64])
{
	snprintf(text, 64, STR_FMT, STR_ARG(step->name));
	return text;
}

/* --- life --- */

static void drop_run(struct step *step)
{
	run_destroy(step->run);
	step->run = NULL;
}

static void unref(struct whole *whole)
{
	if (--whole->refs)
		return;
	for (size_t i = 0; i < whole->pipeline->step_count; i++) {
		drop_run(&whole->steps[i]);
		servable_unref(whole->steps[i].servable);
	}
	err_done(&whole->err);
	servable_unref(whole->servable);
	arena_done(&whole->arena);
	free(whole);
}

static void release(void *whole)
{
	unref(whole);
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
		unref(whole);
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
	unref(whole);
}

/* The first failure is the pipeline's. Takes the error. */
static void fail_at(struct whole *whole, size_t index, struct err *err)
{
	char name[64];
	if (!whole->run || whole->err.code != ERR_OK) {
		err_done(err);
		return;
	}
	err_wrap(err, "pipeline step '%s'", text_of(&whole->pipeline->steps[index], name));
	err_move(&whole->err, err);
	fail(whole);
}

static bool has_ended(const struct whole *whole)
{
	return !whole->run || whole->err.code != ERR_OK;
}

/* --- values --- */

static const struct tensor *find(const struct tensor *tensors, size_t count, struct str name)
{
	if (!name.len)
		return count == 1 ? tensors : NULL;
	for (size_t i = 0; i < count; i++)
		if (str_eq(tensors[i].name, name))
			return &tensors[i];
	return NULL;
}

static const struct tensor *value_of(const struct whole *whole, const struct pipeline_source *source)
{
	const struct run *run = source->step < 0 ? whole->run : whole->steps[source->step].run;
	return source->step < 0 ? find(run->request.inputs, run->request.input_count, source->name) :
				  find(run->outputs, run->output_count, source->name);
}

/* What the ports refer to, in *ret of `arena`; the bytes stay where they are. */
static enum err_code gather(const struct whole *whole, const struct pipeline_port *ports, size_t count, struct arena *arena,
			    struct tensor **ret, struct err *err)
{
	struct tensor *tensors = arena_try(arena, (count + 1) * sizeof(*tensors));
	if (!tensors)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu tensors", count);
	for (size_t i = 0; i < count; i++) {
		const struct tensor *value = value_of(whole, &ports[i].from);
		if (!value) /* another version than the one that was checked */
			return err_set(err, ERR_FAILED_PRECONDITION, "there is no output '" STR_FMT "' any more",
				       STR_ARG(ports[i].from.name));
		tensors[i] = *value;
		if (ports[i].name.len)
			tensors[i].name = ports[i].name;
	}
	*ret = tensors;
	return ERR_OK;
}

static void end(struct whole *whole)
{
	struct run *run = whole->run;
	const struct method *method = run->method;
	struct tensor *outputs;
	enum err_code code = gather(whole, whole->pipeline->outputs, whole->pipeline->output_count, &run->arena, &outputs, &whole->err);
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

/* --- steps --- */

static void done_with(struct whole *whole, int step)
{
	if (step >= 0 && --whole->steps[step].uses == 0)
		drop_run(&whole->steps[step]);
}

static void report(struct whole *whole, size_t index)
{
	struct run *run = whole->run;
	char name[64], text[160];
	if (!run->on_progress)
		return;
	size_t count = whole->pipeline->step_count;
	int len = snprintf(text, sizeof(text), "{\"progress\":%.3f,\"text\":\"%s\"}", (double)(count - whole->left) / (double)count,
			   text_of(&whole->pipeline->steps[index], name));
	run->on_progress(run->context, run, (struct str){ text, (size_t)len });
}

static void note_end(struct step *step)
{
	step->state = STEP_DONE;
	step->ended_ns = clock_ns();
	if (!step->run)
		return;
	step->memo = step->run->memo;
	step->started_ns = step->run->started_ns;
}

/* Its outputs are there. */
static void step_ended(struct whole *whole, size_t index)
{
	struct step *step = &whole->steps[index];
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	note_end(step);
	whole->left--;
	if (!has_ended(whole) && step->run->metadata.len > 2) {
		struct str said = step->run->metadata;
		char *copy = arena_strndup(&whole->run->arena, said.data, said.len);
		step->said = (struct str){ copy, copy ? said.len : 0 };
	}
	for (size_t i = 0; i < plan->input_count; i++)
		done_with(whole, plan->inputs[i].from.step);
	if (!has_ended(whole))
		report(whole, index);
}

static void on_step_done(void *context, struct run *run)
{
	struct step *step = context;
	struct whole *whole = step->whole;
	size_t index = (size_t)(step - whole->steps);
	whole->under_way--;
	if (run->err.code != ERR_OK) {
		struct err err = ERR_INIT;
		err_move(&err, &run->err);
		note_end(step);
		fail_at(whole, index, &err);
	} else {
		step_ended(whole, index);
		advance(whole);
	}
	unref(whole);
}

static struct run *run_of(struct whole *whole, struct step *step)
{
	const struct settings *settings = whole->pipelines->parts.settings;
	struct run *run = run_create((size_t)settings_int(settings, SETTING_LIMITS_BODY_BYTES) +
				     (size_t)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK);
	run->outer = whole->run;
	run->principal = principal_ref(whole->run->principal);
	run->deadline_ns = whole->run->deadline_ns;
	run->priority = whole->run->priority;
	run->bypass_memo = whole->run->bypass_memo;
	run->request.debug = whole->run->request.debug;
	memcpy(run->trace, whole->run->trace, sizeof(run->trace));
	run->on_done = on_step_done;
	run->context = step;
	return step->run = run;
}

/* All pipelines inside each other count together: what one call may set off is bounded. */
static enum err_code count_run(struct whole *whole, struct err *err)
{
	int64_t most = settings_int(whole->pipelines->parts.settings, SETTING_LIMITS_PIPELINE_RUNS);
	struct run *first = whole->run;
	while (first->outer)
		first = first->outer;
	if (++first->inner_runs > most)
		return err_set(err, ERR_FAILED_PRECONDITION, "the call needs more than %lld runs (limits.pipeline_runs)", (long long)most);
	return ERR_OK;
}

/* *ret_done: it has ended already. */
static enum err_code begin_servable(struct whole *whole, size_t index, bool *ret_done, struct err *err)
{
	struct step *step = &whole->steps[index];
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	const struct pipelines_parts *parts = &whole->pipelines->parts;
	struct run *run = run_of(whole, step);
	run->servable = servable_ref(step->servable);
	run->method = run->request.method = step->method;
	run->request.parameters = plan->parameters;
	run->request.input_count = plan->input_count;
	enum err_code code = count_run(whole, err);
	if (code == ERR_OK)
		code = gather(whole, plan->inputs, plan->input_count, &run->arena, &run->request.inputs, err);
	if (code != ERR_OK)
		return code;
	if (!plan->inputs[0].name.len && step->method->input_count == 1)
		run->request.inputs[0].name = step->method->inputs[0].name;
	code = method_check_inputs(step->method, run->request.inputs, run->request.input_count, err);
	return code == ERR_OK ? parts->submit(parts->context, run, ret_done, err) : code;
}

struct combining {
	struct whole *whole;
	size_t index;
	struct tensor *inputs;
};

static void fill(struct whole *whole, size_t index, const struct tensor *inputs)
{
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	combine_fill(plan->combine, plan->axis, inputs, plan->input_count, whole->steps[index].run->outputs);
}

static void combine_on_pool(void *context)
{
	struct combining *combining = context;
	fill(combining->whole, combining->index, combining->inputs);
}

static void combined(void *context)
{
	struct combining *combining = context;
	on_step_done(&combining->whole->steps[combining->index], combining->whole->steps[combining->index].run);
}

static enum err_code begin_combiner(struct whole *whole, size_t index, bool *ret_done, struct err *err)
{
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	struct run *run = run_of(whole, &whole->steps[index]);
	struct tensor *inputs, *output = arena_try(&run->arena, sizeof(*output));
	struct combining *combining = arena_try(&run->arena, sizeof(*combining));
	if (!output || !combining)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to combine");
	enum err_code code = gather(whole, plan->inputs, plan->input_count, &run->arena, &inputs, err);
	if (code == ERR_OK)
		code = combine_begin(plan->combine, plan->axis, inputs, plan->input_count, output, err);
	if (code != ERR_OK)
		return code;
	output->data = arena_try(&run->arena, output->len + 1);
	if (!output->data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu bytes", output->len);
	run->outputs = output;
	run->output_count = 1;
	*combining = (struct combining){ whole, index, inputs };
	*ret_done = output->len * plan->input_count <= COMBINE_HERE ||
		    !pool_submit(whole->pipelines->parts.loop, LANE_DISK, combine_on_pool, combined, combining);
	if (*ret_done)
		fill(whole, index, inputs);
	return ERR_OK;
}

static void begin(struct whole *whole, size_t index)
{
	struct step *step = &whole->steps[index];
	struct err err = ERR_INIT;
	bool done = false;
	step->state = STEP_RUNS;
	step->began_ns = clock_ns();
	enum err_code code = whole->pipeline->steps[index].combine ? begin_combiner(whole, index, &done, &err) :
								     begin_servable(whole, index, &done, &err);
	if (code == ERR_OK && done && step->run->err.code != ERR_OK)
		code = err_move(&err, &step->run->err);
	if (code != ERR_OK) {
		note_end(step);
		fail_at(whole, index, &err);
	} else if (done) {
		step_ended(whole, index);
	} else {
		whole->under_way++;
		whole->refs++;
	}
}

static bool is_ready(const struct whole *whole, size_t index)
{
	const struct pipeline_step *plan = &whole->pipeline->steps[index];
	if (whole->steps[index].state != STEP_WAITS)
		return false;
	for (size_t i = 0; i < plan->input_count; i++)
		if (plan->inputs[i].from.step >= 0 && whole->steps[plan->inputs[i].from.step].state != STEP_DONE)
			return false;
	return true;
}

/* Begins what can begin. Steps stand in such an order that one walk finds all. */
static void advance(struct whole *whole)
{
	if (whole->advancing || whole->looking || has_ended(whole))
		return;
	whole->advancing = true;
	whole->refs++;
	for (size_t i = 0; i < whole->pipeline->step_count && !has_ended(whole); i++)
		if (is_ready(whole, i))
			begin(whole, i);
	whole->advancing = false;
	if (!whole->left && !has_ended(whole))
		end(whole);
	unref(whole);
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
	if (servable && !has_ended(whole))
		(void)!check_servable(whole, index, servable, err);
	if (err->code == ERR_NOT_FOUND) {
		err_set(err, ERR_PERMISSION_DENIED, "it runs a servable that you may not run");
		err_advise(err, "the pipeline's owner knows which, and can ask its owner");
	}
	if (err->code != ERR_OK)
		fail_at(whole, index, err);
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
	advance(whole);
	unref(whole);
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
	advance(whole);
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
