#include "grpc/health.h"

#include "grpc/rpc.h"
#include "health.pb-c.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static bool is_known(const char *service)
{
	return !*service || strcmp(service, "inference.GRPCInferenceService") == 0;
}

static Grpc__Health__V1__HealthCheckResponse status_of(const struct call *call)
{
	Grpc__Health__V1__HealthCheckResponse reply = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	reply.status = call->connection && !call->connection->server->ending ? STATUS(SERVING) : STATUS(NOT_SERVING);
	return reply;
}

enum err_code health_check(struct unary *unary, struct err *err)
{
	const Grpc__Health__V1__HealthCheckRequest *request = (const void *)unary->request;
	if (!is_known(request->service))
		return err_set(err, ERR_NOT_FOUND, "there is no service '%.200s'", request->service);
	Grpc__Health__V1__HealthCheckResponse reply = status_of(unary->call);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

void health_on_watch(struct call *call, struct message *message)
{
	struct err err = ERR_INIT;
	const Grpc__Health__V1__HealthCheckRequest *request =
		(const void *)message_unpack(message, &grpc__health__v1__health_check_request__descriptor, &err);
	if (request) {
		Grpc__Health__V1__HealthCheckResponse reply = status_of(call);
		call->watches = is_known(request->service);
		if (!call->watches)
			reply.status = STATUS(SERVICE_UNKNOWN);
		call_send_packed(call, &reply.base);
	} else {
		call_end(call, &err);
	}
	err_done(&err);
	call_release(call, message->len);
	message_destroy(message);
	call_settle(call);
}

void health_announce(struct grpc_server *server)
{
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		for (struct call *call = connection->calls; call; call = call->next) {
			Grpc__Health__V1__HealthCheckResponse reply = status_of(call);
			if (call->watches && !call->ended)
				call_send_packed(call, &reply.base);
		}
}
