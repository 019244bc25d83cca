#include "grpc/region_calls.h"

#include "inference.pb-c.h"

static enum err_code no_region(const char *name, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no shared memory region '%.200s'", name);
}

enum err_code system_region_status(struct unary *unary, struct err *err)
{
	const Inference__SystemSharedMemoryStatusRequest *request = (const void *)unary->request;
	Inference__SystemSharedMemoryStatusResponse reply = INFERENCE__SYSTEM_SHARED_MEMORY_STATUS_RESPONSE__INIT;
	if (*request->name)
		return no_region(request->name, err);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code system_region_register(struct unary *unary, struct err *err)
{
	err_set(err, ERR_UNIMPLEMENTED, "memory cannot be registered here by its name: the hub lends memory by descriptor");
	return err_advise(err, "ask the hub's local socket for a region, and name that in requests (docs/clients.md)");
}

enum err_code system_region_unregister(struct unary *unary, struct err *err)
{
	Inference__SystemSharedMemoryUnregisterResponse reply = INFERENCE__SYSTEM_SHARED_MEMORY_UNREGISTER_RESPONSE__INIT;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code cuda_region_status(struct unary *unary, struct err *err)
{
	const Inference__CudaSharedMemoryStatusRequest *request = (const void *)unary->request;
	Inference__CudaSharedMemoryStatusResponse reply = INFERENCE__CUDA_SHARED_MEMORY_STATUS_RESPONSE__INIT;
	if (*request->name)
		return no_region(request->name, err);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code cuda_region_register(struct unary *unary, struct err *err)
{
	err_set(err, ERR_UNIMPLEMENTED, "CUDA shared memory is not offered: servables run on processors");
	return err_advise(err, "send tensors in raw_input_contents");
}

enum err_code cuda_region_unregister(struct unary *unary, struct err *err)
{
	Inference__CudaSharedMemoryUnregisterResponse reply = INFERENCE__CUDA_SHARED_MEMORY_UNREGISTER_RESPONSE__INIT;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}
