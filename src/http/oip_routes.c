/* Open Inference Protocol: health and metadata. (Inference itself: run_routes.c.) */
#include "http/route.h"

enum err_code handle_live(struct request *request, struct err *err)
{
	reply_json(request, 200, json_pack("{s:b}", strcmp(request->segments[2].data, "live") == 0 ? "live" : "ready", 1));
	return ERR_OK;
}

enum err_code handle_server_metadata(struct request *request, struct err *err)
{
	reply_json(request, 200,
		   json_pack("{s:s, s:s, s:[s, s]}", "name", "dlhub", "version", DLHUB_VERSION, "extensions",
			     "binary_tensor_data", "parameters"));
	return ERR_OK;
}

enum err_code handle_model_ready(struct request *request, struct err *err)
{
	reply_json(request, 200, json_pack("{s:s, s:b}", "name", request->servable->full_name, "ready", 1));
	return ERR_OK;
}

static json_t *tensor_metadata(const struct argument *arguments, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		int64_t shape[TENSOR_RANK_MAX];
		uint32_t rank;
		enum dtype dtype = argument_oip(&arguments[i], shape, &rank);
		json_t *axes = json_array();
		for (uint32_t k = 0; k < rank; k++)
			json_array_append_new(axes, json_integer(shape[k]));
		json_array_append_new(list, json_pack("{s:s%, s:s, s:o}", "name", arguments[i].name.data,
						      arguments[i].name.len, "datatype", dtype_name(dtype), "shape", axes));
	}
	return list;
}

enum err_code handle_model_metadata(struct request *request, struct err *err)
{
	const struct servable *servable = request->servable;
	const struct method *method = signature_method(servable->signature, STR("run"));
	reply_json(request, 200,
		   json_pack("{s:s, s:[s], s:s, s:o, s:o}", "name", servable->full_name, "versions",
			     servable->number_text, "platform", servable->platform, "inputs",
			     tensor_metadata(method->inputs, method->input_count), "outputs",
			     tensor_metadata(method->outputs, method->output_count)));
	return ERR_OK;
}
