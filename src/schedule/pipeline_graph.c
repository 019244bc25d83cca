#include "schedule/pipeline_graph.h"

#include "base/alloc.h"

#define PIPELINE_BYTES (4u << 20)
#define PORTS_MAX 1024 /* inputs of one step, outputs of the pipeline */

struct parse {
	struct pipeline *pipeline;
	const json_t *steps;
	struct err *err;
};

static struct str keep(struct pipeline *pipeline, const char *text, size_t len)
{
	char *copy = arena_strndup(&pipeline->arena, text, len);
	return (struct str){ copy, copy ? len : 0 };
}

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "the pipeline has more text than a hub keeps");
}

static enum err_code wrong(struct parse *parse, struct str step, const char *what)
{
	return err_set(parse->err, ERR_INVALID_ARGUMENT, "pipeline step '" STR_FMT "': %s", STR_ARG(step), what);
}

static bool is_step_name(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len <= 63 && strcmp(name, "input") != 0 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

/* --- references --- */

static int step_named(const struct pipeline *pipeline, struct str name)
{
	for (size_t i = 0; i < pipeline->step_count; i++)
		if (str_eq(pipeline->steps[i].name, name))
			return (int)i;
	return -2;
}

/* `who` is whose reference it is: "step 'a'", "outputs". */
static enum err_code parse_reference(struct parse *parse, const char *who, const json_t *json, struct pipeline_source *ret)
{
	const char *text = json_string_value(json);
	if (!text || !*text)
		return err_set(parse->err, ERR_INVALID_ARGUMENT,
			       "pipeline %s: expected a reference, \"input.NAME\" or \"STEP.OUTPUT\"", who);
	const char *dot = strchr(text, '.');
	struct str step = { text, dot ? (size_t)(dot - text) : strlen(text) };
	struct pipeline_source source = { .step = PIPELINE_INPUT };
	if (!str_eq(step, STR("input")))
		source.step = step_named(parse->pipeline, step);
	if (source.step < PIPELINE_INPUT)
		return err_set(parse->err, ERR_INVALID_ARGUMENT, "pipeline %s: '%s' names no step", who, text);
	if (dot) {
		source.name = keep(parse->pipeline, dot + 1, strlen(dot + 1));
		if (!source.name.len)
			return err_set(parse->err, ERR_INVALID_ARGUMENT, "pipeline %s: '%s' ends with a dot", who, text);
	}
	if (source.step >= 0)
		parse->pipeline->steps[source.step].used++;
	*ret = source;
	return ERR_OK;
}

/* An object of named references, a list of references, or one alone. */
static enum err_code parse_ports(struct parse *parse, const char *who, const json_t *json, bool list,
				 struct pipeline_port **ret, size_t *ret_count)
{
	size_t count = json_is_string(json) ? 1 : json_is_object(json) ? json_object_size(json) : json_array_size(json), i = 0;
	if (count == 0 || count > PORTS_MAX || (json_is_array(json) && !list) || (json_is_object(json) && list))
		return err_set(parse->err, ERR_INVALID_ARGUMENT, "pipeline %s: expected %s", who,
			       list ? "\"inputs\", a list of references" :
				      "references under their names: {\"NAME\": \"STEP.OUTPUT\"}, or one alone");
	struct pipeline_port *ports = arena_try(&parse->pipeline->arena, count * sizeof(*ports));
	if (!ports)
		return no_memory(parse->err);
	*ret = ports;
	*ret_count = count;
	memset(ports, 0, count * sizeof(*ports));
	if (json_is_string(json))
		return parse_reference(parse, who, json, &ports[0].from);
	const char *name;
	json_t *value;
	enum err_code code = ERR_OK;
	if (json_is_object(json)) {
		json_object_foreach((json_t *)json, name, value) {
			ports[i].name = keep(parse->pipeline, name, strlen(name));
			code = parse_reference(parse, who, value, &ports[i++].from);
			if (code != ERR_OK)
				return code;
		}
	} else {
		json_array_foreach(json, i, value) {
			code = parse_reference(parse, who, value, &ports[i].from);
			if (code != ERR_OK)
				return code;
		}
	}
	return ERR_OK;
}

/* --- steps --- */

static enum err_code parse_servable(struct parse *parse, const json_t *json, struct pipeline_step *step)
{
	struct pipeline *pipeline = parse->pipeline;
	const char *text = json_path_string(json, "servable") ?: "", *slash = strchr(text, '/');
	const json_t *version = json_object_get(json, "version"), *parameters = json_object_get(json, "parameters");
	const char *method = json_path_string(json, "method") ?: "run";
	if (!slash || !name_is_owner((struct str){ text, (size_t)(slash - text) }) || !name_is_servable(str_of(slash + 1)))
		return wrong(parse, step->name, "\"servable\" must be OWNER/NAME");
	step->owner = keep(pipeline, text, (size_t)(slash - text));
	step->servable = keep(pipeline, slash + 1, strlen(slash + 1));
	step->method = keep(pipeline, method, strlen(method));
	if (json_is_integer(version)) {
		_cleanup_free_ char *number = xasprintf("%lld", (long long)json_integer_value(version));
		step->version = keep(pipeline, number, strlen(number));
	} else if (json_is_string(version)) {
		step->version = keep(pipeline, json_string_value(version), json_string_length(version));
	} else if (version) {
		return wrong(parse, step->name, "\"version\" must be a number, an alias, \"latest\" or \"sha256:HEX\"");
	}
	if (parameters && !json_is_object(parameters))
		return wrong(parse, step->name, "\"parameters\" must be an object");
	if (json_object_size(parameters)) {
		_cleanup_free_ char *canonical = json_canonical(parameters);
		step->parameters = keep(pipeline, canonical, strlen(canonical));
		if (!step->parameters.data)
			return no_memory(parse->err);
	}
	return ERR_OK;
}

static enum err_code parse_step(struct parse *parse, const json_t *json, struct pipeline_step *step)
{
	const json_t *combine = json_object_get(json, "combine"), *axis = json_object_get(json, "axis");
	const json_t *inputs = json_object_get(json, "inputs");
	if (!combine == !json_object_get(json, "servable"))
		return wrong(parse, step->name, "expected either \"servable\" or \"combine\"");
	enum err_code code = ERR_OK;
	if (combine) {
		step->combine = combine_parse(json_string_value(combine) ?: "");
		if (step->combine == COMBINE_NONE)
			return wrong(parse, step->name, "\"combine\" must be one of " COMBINE_NAMES);
		if (axis && (!json_is_integer(axis) || llabs(json_integer_value(axis)) > TENSOR_RANK_MAX))
			return wrong(parse, step->name, "\"axis\" must be a small whole number");
		step->axis = (int)json_integer_value(axis);
	} else {
		code = parse_servable(parse, json, step);
	}
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *who = xasprintf("step '" STR_FMT "'", STR_ARG(step->name));
	return parse_ports(parse, who, inputs, combine != NULL, &step->inputs, &step->input_count);
}

static enum err_code parse_names(struct parse *parse)
{
	struct pipeline *pipeline = parse->pipeline;
	for (size_t i = 0; i < json_array_size(parse->steps); i++) {
		const char *name = json_path_string(json_array_get(parse->steps, i), "name");
		if (!name || !is_step_name(name))
			return err_set(parse->err, ERR_INVALID_ARGUMENT,
				       "pipeline step %zu: its \"name\" must have 1 to 63 letters, digits, _ and -, and not be 'input'", i + 1);
		if (step_named(pipeline, str_of(name)) >= 0)
			return wrong(parse, str_of(name), "there are two of this name");
		pipeline->steps[i].name = keep(pipeline, name, strlen(name));
		pipeline->step_count++;
	}
	return ERR_OK;
}

/* --- the graph --- */

static bool comes_before(const struct pipeline_step *step, const size_t *place)
{
	for (size_t i = 0; i < step->input_count; i++)
		if (step->inputs[i].from.step >= 0 && place[step->inputs[i].from.step] == SIZE_MAX)
			return false;
	return true;
}

static void renumber(struct pipeline_port *ports, size_t count, const size_t *place)
{
	for (size_t i = 0; i < count; i++)
		if (ports[i].from.step >= 0)
			ports[i].from.step = (int)place[ports[i].from.step];
}

/* Puts each step behind those that it needs. */
static enum err_code put_in_order(struct parse *parse)
{
	struct pipeline *pipeline = parse->pipeline;
	size_t count = pipeline->step_count, placed = 0;
	_cleanup_free_ size_t *place = xcalloc(count, sizeof(*place));
	_cleanup_free_ struct pipeline_step *ordered = xcalloc(count, sizeof(*ordered));
	for (size_t i = 0; i < count; i++)
		place[i] = SIZE_MAX;
	for (bool any = true; any && placed < count;) {
		any = false;
		for (size_t i = 0; i < count; i++)
			if (place[i] == SIZE_MAX && comes_before(&pipeline->steps[i], place)) {
				ordered[placed] = pipeline->steps[i];
				place[i] = placed++;
				any = true;
			}
	}
	for (size_t i = 0; i < count; i++)
		if (place[i] == SIZE_MAX)
			return wrong(parse, pipeline->steps[i].name, "it needs its own output: steps must not go in a circle");
	memcpy(pipeline->steps, ordered, count * sizeof(*ordered));
	for (size_t i = 0; i < count; i++)
		renumber(pipeline->steps[i].inputs, pipeline->steps[i].input_count, place);
	renumber(pipeline->outputs, pipeline->output_count, place);
	return ERR_OK;
}

static enum err_code parse_all(struct parse *parse, const json_t *block)
{
	struct pipeline *pipeline = parse->pipeline;
	enum err_code code = parse_names(parse);
	for (size_t i = 0; code == ERR_OK && i < pipeline->step_count; i++)
		code = parse_step(parse, json_array_get(parse->steps, i), &pipeline->steps[i]);
	if (code == ERR_OK)
		code = parse_ports(parse, "outputs", json_object_get(block, "outputs"), false, &pipeline->outputs,
				   &pipeline->output_count);
	if (code == ERR_OK)
		code = put_in_order(parse);
	for (size_t i = 0; code == ERR_OK && i < pipeline->step_count; i++)
		if (!pipeline->steps[i].used)
			code = wrong(parse, pipeline->steps[i].name, "nothing uses what it gives");
	return code;
}

enum err_code pipeline_parse(const json_t *servable, size_t max_steps, struct pipeline **ret, struct err *err)
{
	const json_t *block = json_object_get(servable, "pipeline"), *steps = json_object_get(block, "steps");
	size_t count = json_array_size(steps);
	if (count == 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "pipeline: expected \"steps\", a list, and \"outputs\"");
	if (count > max_steps)
		return err_set(err, ERR_OUT_OF_RANGE, "pipeline: it has %zu steps, and %zu are allowed (limits.pipeline_steps)", count,
			       max_steps);
	_cleanup_(pipeline_destroyp) struct pipeline *pipeline = NEW(struct pipeline);
	arena_init(&pipeline->arena, PIPELINE_BYTES);
	pipeline->steps = arena_try(&pipeline->arena, count * sizeof(*pipeline->steps));
	if (!pipeline->steps)
		return no_memory(err);
	memset(pipeline->steps, 0, count * sizeof(*pipeline->steps));
	struct parse parse = { pipeline, steps, err };
	enum err_code code = parse_all(&parse, block);
	if (code == ERR_OK)
		*ret = TAKE(pipeline);
	return code;
}

void pipeline_destroy(struct pipeline *pipeline)
{
	if (!pipeline)
		return;
	arena_done(&pipeline->arena);
	free(pipeline);
}
