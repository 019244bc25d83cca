/* grpc/health.h - grpc.health.v1: whether the hub takes calls. */
#pragma once

#include "grpc/unary.h"

/* Health/Check. */
enum err_code health_check(struct unary *unary, struct err *err);
/* Health/Watch: on_message. */
void health_on_watch(struct call *call, struct message *message);
/* Tells all who watch. */
void health_announce(struct grpc_server *server);
