#include "grpc/rpc.h"

#include "grpc/health.h"
#include "grpc/hub_calls.h"
#include "grpc/infer.h"
#include "grpc/model_calls.h"
#include "grpc/region_calls.h"
#include "grpc/repository_calls.h"
#include "health.pb-c.h"
#include "inference.pb-c.h"

#define PATH(text) { text, sizeof(text) - 1 }
#define INFERENCE(name) PATH("/inference.GRPCInferenceService/" name)
#define HEALTH(name) PATH("/grpc.health.v1.Health/" name)
#define MODEL(type, Type, row_handler, row_right)                                                                   \
	.on_message = unary_on_message, .request = &inference__##type##_request__descriptor, .handler = row_handler, \
	.access = RPC_SERVABLE, .right = row_right, .name_at = offsetof(Inference__##Type##Request, name),	     \
	.version_at = offsetof(Inference__##Type##Request, version)
#define UNARY(type, row_handler) \
	.on_message = unary_on_message, .request = &inference__##type##_request__descriptor, .handler = row_handler

static const struct rpc rows[] = {
	{ INFERENCE("ModelInfer"), .on_message = infer_on_message, .large = true },
	{ INFERENCE("ModelStreamInfer"), .on_message = infer_on_message, .on_half_close = infer_on_half_close, .large = true,
	  .many = true },
	{ INFERENCE("ModelReady"), MODEL(model_ready, ModelReady, model_ready, RIGHT_READ), .may_lack = RPC_NO_SERVABLE },
	{ INFERENCE("ModelMetadata"), MODEL(model_metadata, ModelMetadata, model_metadata, RIGHT_READ) },
	{ INFERENCE("ModelConfig"), MODEL(model_config, ModelConfig, model_config, RIGHT_READ) },
	{ INFERENCE("ModelStatistics"), MODEL(model_statistics, ModelStatistics, model_statistics, RIGHT_READ),
	  .may_lack = RPC_NO_NAME },
	{ INFERENCE("RepositoryIndex"), UNARY(repository_index, repository_index) },
	{ INFERENCE("RepositoryModelLoad"), UNARY(repository_model_load, repository_load), .access = RPC_SERVABLE,
	  .right = RIGHT_MANAGE, .name_at = offsetof(Inference__RepositoryModelLoadRequest, model_name),
	  .find_version = repository_load_version },
	{ INFERENCE("RepositoryModelUnload"), UNARY(repository_model_unload, repository_unload), .access = RPC_SERVABLE,
	  .right = RIGHT_MANAGE, .name_at = offsetof(Inference__RepositoryModelUnloadRequest, model_name),
	  .find_version = repository_unload_version },
	{ INFERENCE("SystemSharedMemoryStatus"), UNARY(system_shared_memory_status, system_region_status) },
	{ INFERENCE("SystemSharedMemoryRegister"), UNARY(system_shared_memory_register, system_region_register) },
	{ INFERENCE("SystemSharedMemoryUnregister"), UNARY(system_shared_memory_unregister, system_region_unregister) },
	{ INFERENCE("CudaSharedMemoryStatus"), UNARY(cuda_shared_memory_status, cuda_region_status) },
	{ INFERENCE("CudaSharedMemoryRegister"), UNARY(cuda_shared_memory_register, cuda_region_register) },
	{ INFERENCE("CudaSharedMemoryUnregister"), UNARY(cuda_shared_memory_unregister, cuda_region_unregister) },
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
