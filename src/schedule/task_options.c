#include "schedule/task_options.h"

#include "base/buf.h"
#include "base/json.h"

#define FORMAT_CEILING (1u << 20)

static void put_flag(struct buf *out, const char *name, bool value)
{
	if (value)
		buf_printf(out, ",\"%s\":true", name);
}

char *task_options_format(const struct task_options *options, const struct run_request *request)
{
	struct buf out;
	buf_init(&out, FORMAT_CEILING);
	buf_printf(&out, "{\"form\":\"%s\"", options->form == TASK_OIP ? "oip" : "dlhub");
	buf_puts(&out, ",\"method\":");
	buf_put_json_string(&out, request->method->name.data, request->method->name.len);
	put_flag(&out, "each", request->each);
	put_flag(&out, "bypass_memo", options->bypass_memo);
	put_flag(&out, "binary", request->binary_default);
	put_flag(&out, "debug", request->debug);
	put_flag(&out, "envelope", request->envelope);
	if (options->priority)
		buf_printf(&out, ",\"priority\":%d", options->priority);
	if (request->timeout_us)
		buf_printf(&out, ",\"timeout_us\":%lld", (long long)request->timeout_us);
	if (request->id.len) {
		buf_puts(&out, ",\"id\":");
		buf_put_json_string(&out, request->id.data, request->id.len);
	}
	for (size_t i = 0; i < request->output_count; i++) {
		buf_puts(&out, i ? ",[" : ",\"outputs\":[[");
		buf_put_json_string(&out, request->outputs[i].name.data, request->outputs[i].name.len);
		buf_printf(&out, ",%d]", request->outputs[i].binary);
	}
	if (request->output_count)
		buf_putc(&out, ']');
	if (buf_putc(&out, '}'))
		return buf_take(&out, NULL);
	buf_done(&out);
	return NULL;
}

static bool keep_text(struct arena *arena, const json_t *json, struct str *ret)
{
	if (!json_is_string(json))
		return true;
	size_t len = json_string_length(json);
	char *copy = arena_strndup(arena, json_string_value(json), len);
	*ret = (struct str){ copy, len };
	return copy != NULL;
}

static bool keep_outputs(struct arena *arena, const json_t *outputs, struct run_request *request)
{
	size_t count = json_array_size(outputs);
	request->outputs = count ? arena_try(arena, count * sizeof(*request->outputs)) : NULL;
	if (count && !request->outputs)
		return false;
	request->output_count = count;
	for (size_t i = 0; i < count; i++) {
		const json_t *pair = json_array_get(outputs, i);
		request->outputs[i] = (struct requested_output){ .binary = (int)json_integer_value(json_array_get(pair, 1)) };
		if (!keep_text(arena, json_array_get(pair, 0), &request->outputs[i].name))
			return false;
	}
	return true;
}

enum err_code task_options_parse(const char *text, struct arena *arena, struct task_options *ret_options,
				 struct run_request *ret_request, struct err *err)
{
	_cleanup_json_ json_t *json = json_loads(text, 0, NULL);
	const char *form = json_path_string(json, "form");
	if (!form)
		return err_set(err, ERR_DATA_LOSS, "the task's record cannot be read");
	*ret_options = (struct task_options){
		.form = strcmp(form, "oip") == 0 ? TASK_OIP : TASK_DLHUB,
		.each = json_is_true(json_object_get(json, "each")),
		.bypass_memo = json_is_true(json_object_get(json, "bypass_memo")),
		.priority = (int)json_integer_value(json_object_get(json, "priority")),
	};
	struct run_request request = {
		.binary_default = json_is_true(json_object_get(json, "binary")),
		.debug = json_is_true(json_object_get(json, "debug")),
		.envelope = json_is_true(json_object_get(json, "envelope")),
		.timeout_us = json_integer_value(json_object_get(json, "timeout_us")),
	};
	if (!keep_text(arena, json_object_get(json, "id"), &request.id) ||
	    !keep_text(arena, json_object_get(json, "method"), &ret_options->method) ||
	    !keep_outputs(arena, json_object_get(json, "outputs"), &request))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a task");
	*ret_request = request;
	return ERR_OK;
}
