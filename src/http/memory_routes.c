/* Triton's extensions "system_shared_memory" and "cuda_shared_memory", which are not here: a client may not name memory to
 * the hub; the hub lends it (lend/door.h). What a client sends before it has registered any is answered all the same. */
#include "http/server_impl.h"

enum err_code handle_memory_status(struct request *request, struct err *err)
{
	reply_json(request, 200, json_array());
	return ERR_OK;
}

enum err_code handle_memory_unregister(struct request *request, struct err *err)
{
	reply_json(request, 200, json_object());
	return ERR_OK;
}

enum err_code handle_memory_register(struct request *request, struct err *err)
{
	err_set(err, ERR_UNIMPLEMENTED, "memory cannot be registered here by its name: the hub lends memory by descriptor");
	return err_advise(err, "ask the hub's local socket for a region, and name that in requests (docs/clients.md)");
}
