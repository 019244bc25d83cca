#include "grpc/model_calls.h"

#include "base/json.h"
#include "grpc/rpc.h"
#include "inference.pb-c.h"

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the answer");
}

enum err_code model_ready(struct unary *unary, struct err *err)
{
	Inference__ModelReadyResponse reply = INFERENCE__MODEL_READY_RESPONSE__INIT;
	reply.ready = unary->servable && !unary->call->connection->server->ending;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

/* --- statistics --- */

/* One record as a message, with all that it points to. */
struct statistics_message {
	Inference__ModelStatistics model;
	Inference__InferStatistics infer;
	Inference__StatisticDuration durations[8];
};

struct statistics_list {
	struct arena *arena;
	Inference__ModelStatistics **items;
	size_t count;
	bool full;
};

static void put_record(void *context, const struct servable_statistics *record)
{
	struct statistics_list *list = context;
	struct statistics_message *message = arena_try(list->arena, sizeof(*message));
	size_t grown = (list->count & (list->count - 1)) == 0 ? MAX(2 * list->count, 1u) : 0; /* at 0, 1, 2, 4 ... */
	Inference__ModelStatistics **items =
		grown ? arena_grow(list->arena, list->items, list->count * sizeof(*items), grown * sizeof(*items)) : list->items;
	char *name = arena_strndup(list->arena, record->name, strlen(record->name));
	char *version = arena_strndup(list->arena, record->version, strlen(record->version));
	list->full = list->full || !message || !items || !name || !version;
	if (list->full)
		return;
	list->items = items;
	inference__model_statistics__init(&message->model);
	inference__infer_statistics__init(&message->infer);
	message->model.name = name;
	message->model.version = version;
	message->model.last_inference = (uint64_t)record->last_wall_ms;
	message->model.inference_count = record->inferences;
	message->model.execution_count = record->executions;
	message->model.inference_stats = &message->infer;
	const struct {
		const struct duration_count *from;
		Inference__StatisticDuration **to;
	} rows[] = { { &record->success, &message->infer.success },
		     { &record->fail, &message->infer.fail },
		     { &record->queue, &message->infer.queue },
		     { &record->compute_input, &message->infer.compute_input },
		     { &record->compute_infer, &message->infer.compute_infer },
		     { &record->compute_output, &message->infer.compute_output },
		     { &record->cache_hit, &message->infer.cache_hit },
		     { &record->cache_miss, &message->infer.cache_miss } };
	_Static_assert(ARRAY_SIZE(rows) == ARRAY_SIZE(message->durations), "one for each");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		inference__statistic_duration__init(&message->durations[i]);
		message->durations[i].count = rows[i].from->count;
		message->durations[i].ns = rows[i].from->ns;
		*rows[i].to = &message->durations[i];
	}
	list->items[list->count++] = &message->model;
}

static enum err_code reply_statistics(struct unary *unary, const struct statistics_list *list, struct err *err)
{
	Inference__ModelStatisticsResponse reply = INFERENCE__MODEL_STATISTICS_RESPONSE__INIT;
	if (list->full)
		return no_memory(err);
	reply.model_stats = list->items;
	reply.n_model_stats = list->count;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

/* On the pool: of a copy of all records, those of servables that the caller may discover. */
static void pick_statistics(struct unary *unary)
{
	struct statistics_snapshot *snapshot = unary->state;
	struct statistics_list *list = arena_try(&unary->message->arena, sizeof(*list));
	_cleanup_json_ json_t *items = NULL, *names = json_object();
	json_t *item;
	size_t i;
	if (!list)
		no_memory(&unary->err);
	else if (catalog_list(unary->parts->catalog, unary->call->principal, false, &items, &unary->err) == ERR_OK) {
		*list = (struct statistics_list){ .arena = &unary->message->arena };
		json_array_foreach(items, i, item)
			json_object_set_new(names, json_string_value(json_object_get(item, "name")), json_true());
		for (size_t k = 0; k < snapshot->count; k++)
			if (json_object_get(names, snapshot->records[k].name))
				put_record(list, &snapshot->records[k]);
	}
	statistics_snapshot_destroy(snapshot);
	unary->state = list;
}

static void picked_statistics(struct unary *unary)
{
	struct err err = ERR_INIT;
	if (reply_statistics(unary, unary->state, &err) != ERR_OK)
		unary_fail(unary, &err);
	err_done(&err);
}

enum err_code model_statistics(struct unary *unary, struct err *err)
{
	struct statistics *statistics = unary->parts->statistics;
	struct servable *servable = unary->servable;
	const Inference__ModelStatisticsRequest *request = (const void *)unary->request;
	if (!servable) {
		unary->state = statistics_snapshot(statistics);
		if (unary_to_pool(unary, LANE_SEARCH, pick_statistics, picked_statistics, err) == ERR_OK)
			return ERR_OK;
		statistics_snapshot_destroy(unary->state);
		return err->code;
	}
	struct statistics_list list = { .arena = &unary->message->arena };
	statistics_of(statistics, servable->full_name, servable->number_text); /* the newest is there even if it never ran */
	statistics_each(statistics, servable->full_name, *request->version ? servable->number_text : NULL, put_record, &list);
	return reply_statistics(unary, &list, err);
}
