/* Open Inference Protocol: health, metadata, configuration. (Inference itself: run_routes.c.) */
#include "http/server_impl.h"
#include "schedule/model_config.h"

enum err_code handle_live(struct request *request, struct err *err)
{
	reply_json(request, 200, json_pack("{s:b}", strcmp(request->segments[2].data, "live") == 0 ? "live" : "ready", 1));
	return ERR_OK;
}

enum err_code handle_server_metadata(struct request *request, struct err *err)
{
	reply_json(request, 200,
		   json_pack("{s:s, s:s, s:[s, s, s, s, s, s, s*]}", "name", "dlhub", "version", DLHUB_VERSION, "extensions",
			     "binary_tensor_data", "parameters", "model_configuration", "statistics", "model_repository",
			     "schedule_policy", request->server->parts.local_socket ? "dlhub_shared_memory" : NULL));
	return ERR_OK;
}

enum err_code handle_model_ready(struct request *request, struct err *err)
{
	reply_json(request, 200, json_pack("{s:s, s:b}", "name", request->servable->full_name, "ready", 1));
	return ERR_OK;
}

static json_t *integers(const int64_t *numbers, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer(numbers[i]));
	return list;
}

static json_t *tensor_metadata(const struct model_tensor *tensors, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s%, s:s, s:o}", "name", tensors[i].name.data, tensors[i].name.len,
						      "datatype", dtype_name(tensors[i].dtype), "shape",
						      integers(tensors[i].shape, tensors[i].rank)));
	return list;
}

/* Every version that is there, the oldest first. */
static enum err_code version_numbers(struct request *request, json_t **ret, struct err *err)
{
	struct version_row *rows = NULL;
	size_t count = 0;
	enum err_code code = catalog_versions_list(request->server->parts.catalog, request->servable->owner,
						   request->servable->name, &rows, &count, err);
	if (code != ERR_OK)
		return code;
	*ret = json_array();
	while (count--) {
		json_array_append_new(*ret, json_sprintf("%lld", (long long)rows[count].number));
		version_row_done(&rows[count]);
	}
	free(rows);
	return ERR_OK;
}

enum err_code handle_model_metadata(struct request *request, struct err *err)
{
	struct model_config config;
	json_t *versions;
	enum err_code code =
		model_config_fill(request->servable, request->server->parts.settings, &request->arena, &config, err);
	if (code == ERR_OK)
		code = version_numbers(request, &versions, err);
	if (code != ERR_OK)
		return code;
	reply_json(request, 200,
		   json_pack("{s:s, s:o, s:s, s:o, s:o}", "name", config.name, "versions", versions, "platform",
			     config.platform, "inputs", tensor_metadata(config.inputs, config.input_count), "outputs",
			     tensor_metadata(config.outputs, config.output_count)));
	return ERR_OK;
}

/* --- model configuration, as Triton spells it --- */

static json_t *tensor_config(const struct model_config *config, const struct model_tensor *tensors, size_t count, bool input)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		uint32_t rank;
		int number;
		const int64_t *dims = model_config_dims(config, &tensors[i], &rank);
		json_t *item = json_pack("{s:s%, s:s, s:o}", "name", tensors[i].name.data, tensors[i].name.len, "data_type",
					 model_config_type(tensors[i].dtype, &number), "dims", integers(dims, rank));
		if (input)
			json_object_set_new(item, "optional", json_false());
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *dynamic_batching(const struct model_config *config)
{
	return json_pack("{s:o, s:I, s:b, s:I, s:I, s:{s:s, s:I, s:b, s:I}}", "preferred_batch_size",
			 integers(config->preferred, config->preferred_count), "max_queue_delay_microseconds",
			 (json_int_t)config->delay_us, "preserve_ordering", 0, "priority_levels",
			 (json_int_t)config->priority_levels, "default_priority_level", (json_int_t)config->default_priority,
			 "default_queue_policy", "timeout_action", "REJECT", "default_timeout_microseconds",
			 (json_int_t)config->timeout_us, "allow_timeout_override", 1, "max_queue_size",
			 (json_int_t)config->queue_runs);
}

enum err_code handle_model_config(struct request *request, struct err *err)
{
	struct model_config config;
	enum err_code code =
		model_config_fill(request->servable, request->server->parts.settings, &request->arena, &config, err);
	if (code != ERR_OK)
		return code;
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:{s:{}}, s:I, s:o, s:o, s:[{s:s, s:s, s:I}], s:{s:{s:s}, s:{s:s}}, s:{s:b}, s:{s:b}}", "name",
		config.name, "platform", config.platform, "backend", config.backend, "version_policy", "all", "max_batch_size",
		(json_int_t)config.max_batch_size, "input", tensor_config(&config, config.inputs, config.input_count, true),
		"output", tensor_config(&config, config.outputs, config.output_count, false), "instance_group", "name", "workers",
		"kind", "KIND_CPU", "count", (json_int_t)config.instances, "parameters", "digest", "string_value", config.digest,
		"version", "string_value", config.version, "model_transaction_policy", "decoupled", 0, "response_cache", "enable",
		config.response_cache);
	if (config.max_batch_size)
		json_object_set_new(json, "dynamic_batching", dynamic_batching(&config));
	reply_json(request, 200, json);
	return ERR_OK;
}
