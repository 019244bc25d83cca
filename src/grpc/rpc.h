/* grpc/rpc.h - the table of calls: which path is whose, what it takes, and who may call it. */
#pragma once

#include "grpc/unary.h"

/* What a row asks of the caller before its handler runs. */
enum rpc_access {
	RPC_ANYBODY,
	RPC_SIGNED_IN,
	RPC_ADMIN,
	RPC_SERVABLE, /* `right` on the servable that the request names */
};

enum rpc_lack {
	RPC_NO_NAME = 1u << 0,	   /* the request names none */
	RPC_NO_SERVABLE = 1u << 1, /* it is not there, or not to be seen */
};

struct rpc {
	struct str path;
	/* Takes the message. */
	void (*on_message)(struct call *call, struct message *message);
	/* The caller sends no more, and all messages were handed out; NULL: nothing to do. */
	void (*on_half_close)(struct call *call);
	bool many;  /* messages may come */
	bool large; /* they may have limits.body_bytes; else limits.metadata_bytes */
	/* of unary_on_message(): */
	const ProtobufCMessageDescriptor *request;
	/* Ends `unary`, now or later, or returns an error. */
	enum err_code (*handler)(struct unary *unary, struct err *err);
	enum rpc_access access;
	enum right right;
	unsigned int may_lack; /* enum rpc_lack: the handler is called without a servable */
	size_t name_at, version_at; /* where the request has them; 0: it has none */
	/* Finds the version elsewhere in the request: borrowed of it, "" for the newest. NULL: version_at says where. */
	enum err_code (*find_version)(const ProtobufCMessage *request, const char **ret, struct err *err);
};

/* NULL: there is none. */
const struct rpc *rpc_find(struct str path);
