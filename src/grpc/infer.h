/* grpc/infer.h - ModelInfer and ModelStreamInfer: a message → the servable → a run → an answer.
 *
 * Answers of a stream come as they are ready, each with its request's id; an error of one of them is a message of the stream,
 * and the stream goes on. When the caller leaves, its runs are given up. */
#pragma once

#include "grpc/call.h"

/* on_message of the rows. */
void infer_on_message(struct call *call, struct message *message);
/* on_half_close of the stream's. */
void infer_on_half_close(struct call *call);
