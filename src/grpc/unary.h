/* grpc/unary.h - calls of one small message and one small answer: unpacked, the caller's right checked, handled, packed. */
#pragma once

#include "grpc/call.h"
#include "schedule/servable.h"

#include <protobuf-c/protobuf-c.h>

struct unary {
	struct call *call;		 /* a reference */
	struct message *message;	 /* owned; its arena holds this struct and the request */
	const ProtobufCMessage *request; /* of the row's type */
	struct servable *servable;	 /* shared (ref), where the row asks for one */
	const struct grpc_parts *parts;	 /* borrowed of the server, which outlives the pool's work */
	void *state;			 /* of the handler */
	/* of unary_to_pool() */
	struct err err;
	void (*work)(struct unary *unary);
	void (*done)(struct unary *unary);
};

/* A row's on_message. */
void unary_on_message(struct call *call, struct message *message);
/* Sends the answer and ends the call and `unary`. For handlers; `reply` is borrowed. */
void unary_reply(struct unary *unary, const ProtobufCMessage *reply);
/* The same for an error, which is moved from. */
void unary_fail(struct unary *unary, struct err *err);
/* `work` runs on the pool, where it may use the arena and sets unary->err or not; then `done` on the loop, where there was no
 * error. ERR_UNAVAILABLE: there is no place. */
must_check enum err_code unary_to_pool(struct unary *unary, enum lane lane, void (*work)(struct unary *unary),
				       void (*done)(struct unary *unary), struct err *err);
/* Unpacks into the message's arena. NULL with `err`: it is no such message. */
ProtobufCMessage *message_unpack(struct message *message, const ProtobufCMessageDescriptor *type, struct err *err);
/* Packs and sends; the call goes on. false: it is larger than limits.output_bytes. */
bool call_send_packed(struct call *call, const ProtobufCMessage *reply);
