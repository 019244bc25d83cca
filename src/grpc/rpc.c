#include "grpc/rpc.h"

#include "grpc/health.h"
#include "grpc/hub_calls.h"
#include "grpc/infer.h"
#include "health.pb-c.h"
#include "inference.pb-c.h"

#define PATH(text) { text, sizeof(text) - 1 }
#define INFERENCE(name) PATH("/inference.GRPCInferenceService/" name)
#define HEALTH(name) PATH("/grpc.health.v1.Health/" name)
#define UNARY(type, row_handler) \
	.on_message = unary_on_message, .request = &inference__##type##_request__descriptor, .handler = row_handler

static const struct rpc rows[] = {
	{ INFERENCE("ModelInfer"), .on_message = infer_on_message, .large = true },
	{ INFERENCE("ModelStreamInfer"), .on_message = infer_on_message, .on_half_close = infer_on_half_close, .large = true,
	  .many = true },
	{ INFERENCE("ServerLive"), UNARY(server_live, hub_live) },
	{ INFERENCE("ServerReady"), UNARY(server_ready, hub_ready) },
	{ INFERENCE("ServerMetadata"), UNARY(server_metadata, hub_metadata) },
	{ INFERENCE("TraceSetting"), UNARY(trace_setting, hub_trace) },
	{ INFERENCE("LogSettings"), UNARY(log_settings, hub_log) },
	{ HEALTH("Check"), .on_message = unary_on_message, .request = &grpc__health__v1__health_check_request__descriptor,
	  .handler = health_check },
	{ HEALTH("Watch"), .on_message = health_on_watch },
};

const struct rpc *rpc_find(struct str path)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_eq(path, rows[i].path))
			return &rows[i];
	return NULL;
}
