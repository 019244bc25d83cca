#include "schedule/pipeline_types.h"

#include "base/alloc.h"
#include "wire/value_type.h"

#define TYPE_TEXT 160

/* An input of the pipeline whose description follows from the first step that takes it. */
struct own_input {
	struct str name;
	const struct argument *argument; /* NULL: combiners alone take it */
};

struct check {
	const struct pipeline *pipeline;
	const struct method *const *methods;
	const struct method *given;
	struct argument *combined; /* what each combiner gives */
	struct own_input *inputs;  /* where nothing is given */
	size_t input_count;
	struct err *err;
};

static const struct argument anything = { .any_shape = true, .item = ITEM_NUMBER, .type = { "ndarray", 7 } };

static bool describes_inputs(const struct method *method)
{
	return method && method->input_count;
}

/* --- in words --- */

/* "FP32 [-1,64]", "a string" */
static void format_type(const struct argument *argument, char text[TYPE_TEXT])
{
	char shape[TYPE_TEXT / 2];
	if (argument->dtype == DTYPE_JSON || argument->dtype == DTYPE_FILE) {
		snprintf(text, TYPE_TEXT, "the type " STR_FMT, STR_ARG(argument->type));
		return;
	}
	shape_format(argument->shape, argument->rank, shape, sizeof(shape));
	snprintf(text, TYPE_TEXT, "%s %s",
		 argument->dtype != DTYPE_INVALID   ? dtype_name(argument->dtype) :
		 argument->item == ITEM_INTEGER	    ? "integers" :
		 argument->item == ITEM_NUMBER	    ? "numbers" :
						      "any",
		 argument->any_shape ? "of any shape" : shape);
}

static void format_source(const struct check *check, const struct pipeline_source *source, char text[TYPE_TEXT])
{
	struct str step = source->step < 0 ? STR("input") : check->pipeline->steps[source->step].name;
	snprintf(text, TYPE_TEXT, STR_FMT "%s" STR_FMT, STR_ARG(step), source->name.len ? "." : "", STR_ARG(source->name));
}

static void list_names(const struct argument *arguments, size_t count, char *text, size_t size)
{
	size_t len = 0;
	text[0] = '\0';
	for (size_t i = 0; i < count && len + ARGUMENT_NAME_MAX + 4 < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s" STR_FMT, i ? ", " : "", STR_ARG(arguments[i].name));
}

/* --- whether one thing fits another --- */

static bool kinds_fit(enum value_kind from, enum value_kind to)
{
	bool from_number = from <= VALUE_FLOAT && from >= VALUE_NUMBER, to_number = to == VALUE_NUMBER || to == VALUE_FLOAT;
	return from == to || from == VALUE_ANY || to == VALUE_ANY || from == VALUE_OBJECT || to == VALUE_OBJECT ||
	       (from_number && to_number) || (from == VALUE_NUMBER && to == VALUE_INTEGER);
}

/* Whether what is described by `from` can be right for `to`: open is open. */
static bool fits(const struct argument *from, const struct argument *to)
{
	bool document = from->dtype == DTYPE_JSON || from->dtype == DTYPE_FILE;
	if (document || to->dtype == DTYPE_JSON || to->dtype == DTYPE_FILE)
		return from->dtype == to->dtype &&
		       (from->dtype == DTYPE_FILE || kinds_fit(from->value_type->kind, to->value_type->kind));
	if (from->dtype != DTYPE_INVALID && !argument_takes(to, from->dtype))
		return false;
	if (from->any_shape || to->any_shape)
		return true;
	if (from->rank != to->rank)
		return false;
	for (uint32_t i = 0; i < from->rank; i++)
		if (from->shape[i] >= 0 && to->shape[i] >= 0 && from->shape[i] != to->shape[i])
			return false;
	return true;
}

static enum err_code check_fit(struct check *check, const char *who, const struct argument *to,
			       const struct pipeline_source *source, const struct argument *from)
{
	if (fits(from, to))
		return ERR_OK;
	char takes[TYPE_TEXT], gives[TYPE_TEXT], origin[TYPE_TEXT];
	format_type(to, takes);
	format_type(from, gives);
	format_source(check, source, origin);
	return err_set(check->err, ERR_INVALID_ARGUMENT, "%s takes %s, but %s gives %s", who, takes, origin, gives);
}

/* --- what a reference stands for --- */

static const struct argument *find(const struct argument *arguments, size_t count, struct str name)
{
	if (!name.len)
		return count == 1 ? &arguments[0] : NULL;
	for (size_t i = 0; i < count; i++)
		if (str_eq(arguments[i].name, name))
			return &arguments[i];
	return NULL;
}

static enum err_code unknown(struct check *check, const struct pipeline_source *source, const char *who,
			     const struct argument *arguments, size_t count)
{
	char origin[TYPE_TEXT], names[2048];
	format_source(check, source, origin);
	list_names(arguments, count, names, sizeof(names));
	if (source->name.len)
		return err_set(check->err, ERR_INVALID_ARGUMENT, "%s: there is no '%s'%s%s", who, origin, count ? "; there are: " : "", names);
	return err_set(check->err, ERR_INVALID_ARGUMENT, "%s: '%s' does not say which of: %s", who, origin, names);
}

static struct own_input *own_input(struct check *check, struct str name)
{
	name = name.len ? name : STR("input");
	for (size_t i = 0; i < check->input_count; i++)
		if (str_eq(check->inputs[i].name, name))
			return &check->inputs[i];
	struct own_input *input = &check->inputs[check->input_count++];
	*input = (struct own_input){ .name = name };
	return input;
}

/* `taker` is who takes it: an input of the pipeline that is not described becomes what its first taker wants. */
static enum err_code describe(struct check *check, const char *who, const struct pipeline_source *source,
			      const struct argument *taker, const struct argument **ret)
{
	const struct method *method = source->step < 0 ? check->given : check->methods[source->step];
	if (source->step >= 0 && !method) {
		*ret = &check->combined[source->step];
		return source->name.len ? unknown(check, source, who, &anything, 0) : ERR_OK;
	}
	if (source->step < 0 && !describes_inputs(method)) {
		struct own_input *input = own_input(check, source->name);
		if (!input->argument)
			input->argument = taker;
		*ret = input->argument ?: &anything;
		return ERR_OK;
	}
	const struct argument *arguments = source->step < 0 ? method->inputs : method->outputs;
	size_t count = source->step < 0 ? method->input_count : method->output_count;
	*ret = find(arguments, count, source->name);
	return *ret ? ERR_OK : unknown(check, source, who, arguments, count);
}

/* --- the steps --- */

static enum err_code check_combiner(struct check *check, size_t index)
{
	const struct pipeline_step *step = &check->pipeline->steps[index];
	_cleanup_free_ const struct argument **inputs = xcalloc(step->input_count, sizeof(*inputs));
	_cleanup_free_ char *who = xasprintf("pipeline step '" STR_FMT "'", STR_ARG(step->name));
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < step->input_count; i++)
		code = describe(check, who, &step->inputs[i].from, NULL, &inputs[i]);
	if (code == ERR_OK && combine_describe(step->combine, step->axis, inputs, step->input_count, &check->combined[index],
					       check->err) != ERR_OK)
		return err_wrap(check->err, "%s", who);
	return code;
}

static const struct pipeline_port *port_for(const struct pipeline_step *step, const struct method *method, size_t i)
{
	for (size_t k = 0; k < step->input_count; k++)
		if (str_eq(step->inputs[k].name, method->inputs[i].name) || (!step->inputs[k].name.len && method->input_count == 1))
			return &step->inputs[k];
	return NULL;
}

static enum err_code check_port_names(struct check *check, const struct pipeline_step *step, const struct method *method)
{
	char names[2048];
	list_names(method->inputs, method->input_count, names, sizeof(names));
	for (size_t k = 0; k < step->input_count; k++) {
		struct str name = step->inputs[k].name;
		if (find(method->inputs, method->input_count, name))
			continue;
		_cleanup_free_ char *what = name.len ? xasprintf("there is no input '" STR_FMT "'", STR_ARG(name)) :
						       xstrdup("it does not say for which input");
		return err_set(check->err, ERR_INVALID_ARGUMENT, "pipeline step '" STR_FMT "': %s; the inputs of " STR_FMT "/" STR_FMT
			       " are: %s",
			       STR_ARG(step->name), what, STR_ARG(step->owner), STR_ARG(step->servable), names);
	}
	return ERR_OK;
}

static enum err_code check_step(struct check *check, size_t index)
{
	const struct pipeline_step *step = &check->pipeline->steps[index];
	const struct method *method = check->methods[index];
	enum err_code code = check_port_names(check, step, method);
	for (size_t i = 0; code == ERR_OK && i < method->input_count; i++) {
		const struct argument *from, *to = &method->inputs[i];
		const struct pipeline_port *port = port_for(step, method, i);
		_cleanup_free_ char *who = xasprintf("pipeline step '" STR_FMT "': its input '" STR_FMT "'", STR_ARG(step->name),
						     STR_ARG(to->name));
		if (!port)
			return err_set(check->err, ERR_INVALID_ARGUMENT, "%s has no value", who);
		code = describe(check, who, &port->from, to, &from);
		if (code == ERR_OK)
			code = check_fit(check, who, to, &port->from, from);
	}
	return code;
}

/* --- the whole --- */

/* The argument as the schema has it, under that name. Returned owned. */
static json_t *type_json(const struct argument *argument, struct str name)
{
	json_t *type = argument->schema ? json_deep_copy(argument->schema) : json_pack("{s:s}", "type", "ndarray");
	if (!argument->schema && !argument->any_shape) {
		json_t *shape = json_array();
		for (uint32_t i = 0; i < argument->rank; i++)
			json_array_append_new(shape, argument->shape[i] < 0 ? json_null() : json_integer(argument->shape[i]));
		json_object_set_new(type, "shape", shape);
	}
	if (!argument->schema) {
		const char *item = argument->dtype == DTYPE_BYTES ? "string" : argument->dtype == DTYPE_BOOL ? "boolean" : "number";
		json_t *item_type = json_pack("{s:s}", "type", item);
		if (argument->dtype != DTYPE_INVALID)
			json_object_set_new(item_type, "dtype", json_string(dtype_name(argument->dtype)));
		json_object_set_new(type, "item_type", item_type);
	}
	json_object_set_new(type, "name", json_stringn(name.data, name.len));
	return type;
}

/* One argument as it is, several as a tuple. Takes the list. */
static json_t *side_json(json_t *list)
{
	json_t *side = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) :
						    json_pack("{s:s, s:O}", "type", "tuple", "element_types", list);
	json_decref(list);
	return side;
}

static enum err_code check_outputs(struct check *check, json_t **ret)
{
	const struct pipeline *pipeline = check->pipeline;
	const struct method *given = check->given && check->given->output_count ? check->given : NULL;
	_cleanup_json_ json_t *list = json_array();
	if (given && given->output_count != pipeline->output_count)
		return err_set(check->err, ERR_INVALID_ARGUMENT, "pipeline: it has %zu outputs, but its method describes %zu",
			       pipeline->output_count, given->output_count);
	for (size_t i = 0; i < pipeline->output_count; i++) {
		const struct pipeline_port *port = &pipeline->outputs[i];
		const struct argument *from, *to = NULL;
		struct str name = port->name.len ? port->name : STR("output");
		_cleanup_free_ char *who = xasprintf("pipeline output '" STR_FMT "'", STR_ARG(name));
		if (given && !(to = find(given->outputs, given->output_count, port->name)))
			return err_set(check->err, ERR_INVALID_ARGUMENT, "%s is not described by its method", who);
		enum err_code code = describe(check, who, &port->from, to, &from);
		if (code == ERR_OK && to)
			code = check_fit(check, who, to, &port->from, from);
		if (code != ERR_OK)
			return code;
		json_array_append_new(list, type_json(from, name));
	}
	*ret = side_json(TAKE(list));
	return ERR_OK;
}

/* Every input that is described is used. */
static enum err_code check_unused(struct check *check)
{
	const struct pipeline *pipeline = check->pipeline;
	for (size_t i = 0; i < check->given->input_count; i++) {
		const struct argument *input = &check->given->inputs[i];
		bool used = false;
		for (size_t s = 0; s <= pipeline->step_count; s++) {
			const struct pipeline_port *ports = s ? pipeline->steps[s - 1].inputs : pipeline->outputs;
			size_t count = s ? pipeline->steps[s - 1].input_count : pipeline->output_count;
			for (size_t k = 0; k < count; k++)
				used |= ports[k].from.step < 0 &&
					find(check->given->inputs, check->given->input_count, ports[k].from.name) == input;
		}
		if (!used)
			return err_set(check->err, ERR_INVALID_ARGUMENT, "pipeline: nothing uses its input '" STR_FMT "'",
				       STR_ARG(input->name));
	}
	return ERR_OK;
}

static enum err_code check_all(struct check *check, json_t **ret)
{
	_cleanup_json_ json_t *output = NULL;
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < check->pipeline->step_count; i++)
		code = check->methods[i] ? check_step(check, i) : check_combiner(check, i);
	if (code == ERR_OK)
		code = check_outputs(check, &output);
	if (code == ERR_OK && describes_inputs(check->given))
		code = check_unused(check);
	if (code != ERR_OK)
		return code;
	json_t *inputs = json_array();
	for (size_t i = 0; i < check->input_count; i++)
		json_array_append_new(inputs, type_json(check->inputs[i].argument ?: &anything, check->inputs[i].name));
	*ret = json_pack("{s:o, s:O}", "input", side_json(inputs), "output", output);
	return ERR_OK;
}

enum err_code pipeline_check(const struct pipeline *pipeline, const struct method *const *methods, const struct method *given,
			     json_t **ret, struct err *err)
{
	size_t ports = pipeline->output_count;
	for (size_t i = 0; i < pipeline->step_count; i++)
		ports += pipeline->steps[i].input_count;
	struct check check = { .pipeline = pipeline, .methods = methods, .given = given, .err = err };
	check.combined = xcalloc(pipeline->step_count, sizeof(*check.combined));
	check.inputs = xcalloc(ports, sizeof(*check.inputs));
	enum err_code code = check_all(&check, ret);
	free(check.combined);
	free(check.inputs);
	return code;
}
