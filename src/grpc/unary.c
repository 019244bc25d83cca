#include "grpc/rpc.h"

#include "grpc/model.h"

static void *take_memory(void *arena, size_t size)
{
	return arena_try(arena, size);
}

static void leave_memory(void *arena, void *memory)
{
}

ProtobufCMessage *message_unpack(struct message *message, const ProtobufCMessageDescriptor *type, struct err *err)
{
	ProtobufCAllocator allocator = { take_memory, leave_memory, &message->arena };
	ProtobufCMessage *unpacked = protobuf_c_message_unpack(type, &allocator, message->len, message->data);
	if (!unpacked)
		err_set(err, ERR_INVALID_ARGUMENT, "the message is no %s", type->name);
	return unpacked;
}

/* --- the answer --- */

struct parcel {
	struct answer answer;
	struct str piece;
	struct call *call; /* a reference */
	uint8_t bytes[];
};

static void release_parcel(struct answer *answer)
{
	struct parcel *parcel = CONTAINER_OF(answer, struct parcel, answer);
	struct call *call = parcel->call;
	free(parcel);
	call_settle(call);
	call_unref(call);
}

bool call_send_packed(struct call *call, const ProtobufCMessage *reply)
{
	size_t len = protobuf_c_message_get_packed_size(reply);
	const struct settings *settings = call->connection ? call->connection->server->parts.settings : NULL;
	if (!settings)
		return true; /* nobody is there */
	struct parcel *parcel = len <= (size_t)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) ?
					malloc(sizeof(*parcel) + len) : NULL;
	if (!parcel)
		return false;
	*parcel = (struct parcel){ .answer = { .pieces = &parcel->piece, .count = 1, .release = release_parcel },
				   .piece = { (const char *)parcel->bytes, len }, .call = call_ref(call) };
	protobuf_c_message_pack(reply, parcel->bytes);
	call->under_way++;
	call_send(call, &parcel->answer);
	return true;
}

static void unary_end(struct unary *unary, struct err *err)
{
	struct call *call = unary->call;
	call_end(call, err);
	servable_unref(unary->servable);
	err_done(&unary->err);
	call_release(call, unary->message->len);
	message_destroy(unary->message);
	call_settle(call);
	call_unref(call);
}

void unary_reply(struct unary *unary, const ProtobufCMessage *reply)
{
	struct err err = ERR_INIT;
	if (call_send_packed(unary->call, reply)) {
		unary_end(unary, NULL);
		return;
	}
	err_set(&err, ERR_OUT_OF_RANGE, "the answer is larger than limits.output_bytes");
	unary_fail(unary, &err);
	err_done(&err);
}

void unary_fail(struct unary *unary, struct err *err)
{
	unary_end(unary, err);
}

/* --- what blocks --- */

static void work_in_pool(void *context)
{
	struct unary *unary = context;
	unary->work(unary);
}

static void back_from_pool(void *context)
{
	struct unary *unary = context;
	if (unary->err.code != ERR_OK)
		unary_fail(unary, &unary->err);
	else
		unary->done(unary);
}

enum err_code unary_to_pool(struct unary *unary, enum lane lane, void (*work)(struct unary *unary),
			    void (*done)(struct unary *unary), struct err *err)
{
	unary->work = work;
	unary->done = done;
	if (pool_submit(unary->parts->loop, lane, work_in_pool, back_from_pool, unary))
		return ERR_OK;
	return err_set(err, ERR_UNAVAILABLE, "the hub is busy: too many requests wait for the catalog");
}

/* --- the call --- */

static void handle(struct unary *unary)
{
	struct err err = ERR_INIT;
	const struct rpc *rpc = unary->call->rpc;
	if (lookup_decide(unary->call->principal, unary->servable, rpc->right, &err) != ERR_OK)
		unary_fail(unary, &err);
	else if (rpc->handler(unary, &err) != ERR_OK)
		unary_fail(unary, &err);
	err_done(&err);
}

/* Moves from `err`. */
static void no_servable(struct unary *unary, struct err *err)
{
	struct err own = ERR_INIT;
	if (err->code != ERR_NOT_FOUND || !(unary->call->rpc->may_lack & RPC_NO_SERVABLE))
		unary_fail(unary, err);
	else if (unary->call->rpc->handler(unary, &own) != ERR_OK)
		unary_fail(unary, &own);
	err_done(&own);
}

static void on_servable(void *context, struct servable *servable, const struct err *err)
{
	struct unary *unary = context;
	if (!unary->call->connection) {
		unary_fail(unary, NULL);
	} else if (servable) {
		unary->servable = servable_ref(servable);
		handle(unary);
	} else {
		struct err copy = ERR_INIT;
		err_copy(&copy, err);
		no_servable(unary, &copy);
		err_done(&copy);
	}
}

static enum err_code check_caller(const struct unary *unary, struct err *err)
{
	const struct principal *principal = unary->call->principal;
	enum rpc_access access = unary->call->rpc->access;
	if (access == RPC_ANYBODY || access == RPC_SERVABLE)
		return ERR_OK;
	if (!principal->user) {
		err_set(err, ERR_UNAUTHENTICATED, "this needs a token");
		return err_advise(err, "send the metadata 'authorization: Bearer TOKEN'; `dlhub login` keeps one for you");
	}
	return access == RPC_ADMIN && !principal->admin ? err_set(err, ERR_PERMISSION_DENIED, "this is for administrators") :
							  ERR_OK;
}

static const char *text_at(const ProtobufCMessage *request, size_t offset)
{
	return offset ? *(char *const *)((const char *)request + offset) : "";
}

static void find_servable(struct unary *unary)
{
	struct call *call = unary->call;
	const struct rpc *rpc = call->rpc;
	struct err err = ERR_INIT;
	enum lookup_state state = LOOKUP_DONE;
	struct model_name name;
	if (rpc->may_lack & RPC_NO_NAME && !*text_at(unary->request, rpc->name_at)) {
		if (rpc->handler(unary, &err) != ERR_OK)
			unary_fail(unary, &err);
		err_done(&err);
		return;
	}
	const char *version = text_at(unary->request, rpc->version_at);
	enum err_code code = rpc->find_version ? rpc->find_version(unary->request, &version, &err) : ERR_OK;
	if (code == ERR_OK)
		code = model_name_parse(str_of(text_at(unary->request, rpc->name_at)), &name, &err);
	if (code == ERR_OK)
		state = lookup_servable(unary->parts->lookup, call->principal, name.owner, name.name, str_of(version),
					&unary->servable, on_servable, unary, &err);
	if (state == LOOKUP_DONE && unary->servable)
		handle(unary);
	else if (state == LOOKUP_DONE)
		no_servable(unary, &err);
	err_done(&err);
}

void unary_on_message(struct call *call, struct message *message)
{
	struct err err = ERR_INIT;
	struct unary *unary = arena_alloc(&message->arena, sizeof(*unary));
	*unary = (struct unary){ .call = call_ref(call), .message = message, .err = ERR_INIT };
	unary->parts = &call->connection->server->parts;
	unary->request = message_unpack(message, call->rpc->request, &err);
	if (!unary->request || check_caller(unary, &err) != ERR_OK)
		unary_fail(unary, &err);
	else if (call->rpc->access == RPC_SERVABLE)
		find_servable(unary);
	else if (call->rpc->handler(unary, &err) != ERR_OK)
		unary_fail(unary, &err);
	err_done(&err);
}
