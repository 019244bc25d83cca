/* grpc/pack.h - messages compressed and expanded, a little each turn of the loop where they are long. */
#pragma once

#include "grpc/call.h"

/* Takes the message and a reference of the call. `done` gets the expanded one, owned, or NULL and `err`; never inside this
 * call. */
void unpack_start(struct call *call, struct message *message,
		  void (*done)(struct call *call, struct message *message, struct err *err));
/* Takes the answer and a reference of the call. `done` gets another one with the same bytes, compressed as the call's reply is.
 * Where there is no memory it gets the answer itself, as it is. Never inside this call. */
void pack_start(struct call *call, struct answer *answer, void (*done)(struct call *call, struct answer *answer));
