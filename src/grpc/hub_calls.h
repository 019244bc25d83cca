/* grpc/hub_calls.h - calls about the hub itself: handlers of rows. */
#pragma once

#include "grpc/unary.h"

enum err_code hub_live(struct unary *unary, struct err *err);
enum err_code hub_ready(struct unary *unary, struct err *err);
enum err_code hub_metadata(struct unary *unary, struct err *err);
/* What the hub traces and logs is set when it starts: these tell, and refuse to change. */
enum err_code hub_trace(struct unary *unary, struct err *err);
enum err_code hub_log(struct unary *unary, struct err *err);
