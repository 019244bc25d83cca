/* Open Inference Protocol, the extension "statistics": what happened to each version's runs. */
#include "http/server_impl.h"

static json_t *duration(const struct duration_count *duration)
{
	return json_pack("{s:I, s:I}", "count", (json_int_t)duration->count, "ns", (json_int_t)duration->ns);
}

static json_t *model_statistics(const struct servable_statistics *record)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}, s:{}, s:[], s:[]}", "name",
			 record->name, "version", record->version, "last_inference", (json_int_t)record->last_wall_ms,
			 "inference_count", (json_int_t)record->inferences, "execution_count", (json_int_t)record->executions,
			 "inference_stats", "success", duration(&record->success), "fail", duration(&record->fail), "queue",
			 duration(&record->queue), "compute_input", duration(&record->compute_input), "compute_infer",
			 duration(&record->compute_infer), "compute_output", duration(&record->compute_output), "cache_hit",
			 duration(&record->cache_hit), "cache_miss", duration(&record->cache_miss), "response_stats", "batch_stats",
			 "memory_usage");
}

static void put_one(void *context, const struct servable_statistics *record)
{
	json_array_append_new(context, model_statistics(record));
}

/* One servable's: of the version that the path names, or of all that ran; the newest is there even if it never did. */
enum err_code handle_model_statistics(struct request *request, struct err *err)
{
	const struct servable *servable = request->servable;
	struct statistics *statistics = request->server->parts.statistics;
	statistics_of(statistics, servable->full_name, servable->number_text);
	json_t *list = json_array();
	statistics_each(statistics, servable->full_name, request->route->version_param ? servable->number_text : NULL, put_one,
			list);
	reply_json(request, 200, json_pack("{s:o}", "model_stats", list));
	return ERR_OK;
}

void prepare_statistics(struct request *request)
{
	request->statistics = statistics_snapshot(request->server->parts.statistics);
}

/* Of all that the caller may discover. */
enum err_code handle_statistics(struct request *request, struct err *err)
{
	const struct statistics_snapshot *snapshot = request->statistics;
	_cleanup_json_ json_t *items = NULL, *names = json_object();
	enum err_code code = catalog_list(request->server->parts.catalog, request->principal, false, &items, err);
	if (code != ERR_OK)
		return code;
	json_t *list = json_array(), *item;
	size_t at;
	json_array_foreach(items, at, item)
		json_object_set_new(names, json_string_value(json_object_get(item, "name")), json_true());
	for (size_t i = 0; i < snapshot->count; i++)
		if (json_object_get(names, snapshot->records[i].name))
			json_array_append_new(list, model_statistics(&snapshot->records[i]));
	reply_json(request, 200, json_pack("{s:o}", "model_stats", list));
	return ERR_OK;
}
