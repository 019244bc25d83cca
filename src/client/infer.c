#include "client/infer.h"

#include "base/alloc.h"
#include "client/convert.h"

static char *model_path(const char *model, const char *version, const char *tail)
{
	if (!version)
		return xasprintf("/v2/models/%s%s", model, tail);
	return xasprintf("/v2/models/%s/versions/%s%s", model, version, tail);
}

void client_outputs_done(struct client_outputs *outputs)
{
	json_decref(outputs->response);
	buf_done(&outputs->body);
}

enum err_code client_model(struct client *client, const char *model, const char *version, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = model_path(model, version, "");
	return client_json(client, NULL, path, NULL, ret, err);
}

static json_t *shape_json(const struct tensor *tensor)
{
	json_t *shape = json_array();
	for (uint32_t i = 0; i < tensor->rank; i++)
		json_array_append_new(shape, json_integer(tensor->shape[i]));
	return shape;
}

static json_t *request_json(const struct client_infer *infer)
{
	json_t *inputs = json_array();
	for (size_t i = 0; i < infer->input_count; i++) {
		const struct tensor *tensor = &infer->inputs[i];
		json_array_append_new(inputs,
				      json_pack("{s:s%,s:o,s:s,s:{s:I}}", "name", tensor->name.data, tensor->name.len,
						"shape", shape_json(tensor), "datatype", dtype_name(tensor->dtype),
						"parameters", "binary_data_size", (json_int_t)tensor->len));
	}
	json_t *parameters = infer->parameters ? json_copy(infer->parameters) : json_object();
	json_object_set_new(parameters, "binary_data_output", json_true());
	if (infer->timeout_us)
		json_object_set_new(parameters, "timeout", json_integer(infer->timeout_us));
	return json_pack("{s:o,s:o}", "inputs", inputs, "parameters", parameters);
}

static enum err_code read_output(const json_t *json, const uint8_t *data, size_t len, size_t *used, struct arena *arena,
				 struct tensor *tensor, struct err *err)
{
	const char *name = json_path_string(json, "name"), *datatype = json_path_string(json, "datatype");
	const json_t *shape = json_object_get(json, "shape"), *size = json_path(json, "parameters.binary_data_size");
	if (!name || !datatype || !json_is_array(shape) || json_array_size(shape) > TENSOR_RANK_MAX)
		return err_set(err, ERR_INTERNAL, "the hub's answer has an output without name, datatype or shape");
	enum dtype dtype = dtype_parse(str_of(datatype));
	if (!json_is_integer(size)) {
		_cleanup_free_ char *what = xasprintf("output '%s'", name);
		enum err_code code = convert_from_json(json_object_get(json, "data"), dtype, what, arena, tensor, err);
		if (code != ERR_OK)
			return code;
	} else {
		json_int_t bytes = json_integer_value(size);
		if (bytes < 0 || (uint64_t)bytes > len - *used)
			return err_set(err, ERR_INTERNAL,
				       "the hub's answer is cut short: output '%s' needs %lld bytes, %zu are left",
				       name, (long long)bytes, len - *used);
		tensor->dtype = dtype;
		tensor->data = arena_try(arena, (size_t)bytes + 1); /* aligned */
		if (!tensor->data)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "output '%s': too large for this machine's memory",
				       name);
		memcpy(tensor->data, data + *used, (size_t)bytes);
		tensor->len = (size_t)bytes;
		*used += (size_t)bytes;
	}
	tensor->name = str_of(name);
	tensor->rank = (uint32_t)json_array_size(shape);
	for (uint32_t i = 0; i < tensor->rank; i++)
		tensor->shape[i] = json_integer_value(json_array_get(shape, i));
	if (tensor_check(tensor, err) != ERR_OK)
		return err_wrap(err, "the hub's answer, output '%s'", name);
	return ERR_OK;
}

static enum err_code read_outputs(struct client_outputs *outputs, int64_t json_bytes, struct arena *arena,
				  struct err *err)
{
	size_t len = outputs->body.len, head = json_bytes < 0 ? len : (size_t)json_bytes;
	if (head > len)
		return err_set(err, ERR_INTERNAL,
			       "the hub's answer is cut short: %zu of %zu bytes of its JSON part came", len, head);
	enum err_code code = json_read(outputs->body.data ?: "", head, CLIENT_JSON_DEPTH, "the hub's answer",
				       &outputs->response, err);
	if (code != ERR_OK)
		return code;
	const json_t *list = json_object_get(outputs->response, "outputs");
	size_t used = head;
	outputs->count = json_array_size(list);
	outputs->tensors = arena_try(arena, outputs->count * sizeof(*outputs->tensors) + 1);
	if (!outputs->tensors)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "the hub's answer names %zu outputs", outputs->count);
	memset(outputs->tensors, 0, outputs->count * sizeof(*outputs->tensors));
	for (size_t i = 0; i < outputs->count && code == ERR_OK; i++)
		code = read_output(json_array_get(list, i), (const uint8_t *)outputs->body.data, len, &used, arena,
				   &outputs->tensors[i], err);
	return code;
}

enum err_code client_infer(struct client *client, const struct client_infer *infer, struct arena *arena,
			   struct client_outputs *ret, struct err *err)
{
	_cleanup_json_ json_t *request = request_json(infer);
	_cleanup_free_ char *text = json_canonical(request);
	_cleanup_free_ char *header = xasprintf("Inference-Header-Content-Length: %zu", strlen(text));
	_cleanup_free_ char *path = model_path(infer->model, infer->version, "/infer");
	struct buf body;
	buf_init(&body, CLIENT_RESULT_BYTES);
	buf_puts(&body, text);
	for (size_t i = 0; i < infer->input_count; i++)
		buf_append(&body, infer->inputs[i].data, infer->inputs[i].len);
	if (body.overflowed) {
		buf_done(&body);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "the inputs are too large for this machine's memory");
	}
	struct client_reply reply = { 0 };
	const struct client_call call = { .method = "POST",
					  .path = path,
					  .body = body.data,
					  .body_len = body.len,
					  .content_type = "application/octet-stream",
					  .header = header,
					  .ceiling_bytes = CLIENT_RESULT_BYTES,
					  .timeout_ms = -1 };
	enum err_code code = client_call(client, &call, &reply, err);
	buf_done(&body);
	struct client_outputs outputs = { .body = reply.body };
	if (code == ERR_OK)
		code = read_outputs(&outputs, reply.json_bytes, arena, err);
	if (code != ERR_OK) {
		client_outputs_done(&outputs);
		return code;
	}
	*ret = outputs;
	return ERR_OK;
}
