/* The steps of a pipeline's run: what they are given, when they begin, what becomes of their end. */
#include "schedule/pipeline_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define RUN_SLACK    (1u << 20)	 /* names and shapes beside the bytes of a step */
#define COMBINE_HERE (256u << 10) /* more bytes are combined on the pool */

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
enum err_code whole_gather(const struct whole *whole, const struct pipeline_port *ports, size_t count, struct arena *arena,
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

/* --- steps --- */

static void done_with(struct whole *whole, int step)
{
	if (step >= 0 && --whole->steps[step].uses == 0)
		step_drop_run(&whole->steps[step]);
}

static void report(struct whole *whole, size_t index)
{
	struct run *run = whole->run;
	char name[64], text[160];
	if (!run->on_progress)
		return;
	size_t count = whole->pipeline->step_count;
	int len = snprintf(text, sizeof(text), "{\"progress\":%.3f,\"text\":\"%s\"}", (double)(count - whole->left) / (double)count,
			   pipeline_step_text(&whole->pipeline->steps[index], name));
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
	if (!whole_has_ended(whole) && step->run->metadata.len > 2) {
		struct str said = step->run->metadata;
		char *copy = arena_strndup(&whole->run->arena, said.data, said.len);
		step->said = (struct str){ copy, copy ? said.len : 0 };
	}
	for (size_t i = 0; i < plan->input_count; i++)
		done_with(whole, plan->inputs[i].from.step);
	if (!whole_has_ended(whole))
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
		whole_fail_at(whole, index, &err);
	} else {
		step_ended(whole, index);
		whole_advance(whole);
	}
	whole_unref(whole);
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
		code = whole_gather(whole, plan->inputs, plan->input_count, &run->arena, &run->request.inputs, err);
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
	enum err_code code = whole_gather(whole, plan->inputs, plan->input_count, &run->arena, &inputs, err);
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
		whole_fail_at(whole, index, &err);
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
void whole_advance(struct whole *whole)
{
	if (whole->advancing || whole->looking || whole_has_ended(whole))
		return;
	whole->advancing = true;
	whole->refs++;
	for (size_t i = 0; i < whole->pipeline->step_count && !whole_has_ended(whole); i++)
		if (is_ready(whole, i))
			begin(whole, i);
	whole->advancing = false;
	if (!whole->left && !whole_has_ended(whole))
		whole_end(whole);
	whole_unref(whole);
}
