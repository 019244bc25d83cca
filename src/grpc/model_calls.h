/* grpc/model_calls.h - calls about models other than running them: handlers of rows. */
#pragma once

#include "grpc/unary.h"

/* A servable that is not there, or not to be seen, is not ready. */
enum err_code model_ready(struct unary *unary, struct err *err);
enum err_code model_metadata(struct unary *unary, struct err *err);
enum err_code model_config(struct unary *unary, struct err *err);
/* Of one, or, where the request names none, of all that the caller may discover. */
enum err_code model_statistics(struct unary *unary, struct err *err);
