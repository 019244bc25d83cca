/* grpc/repository_calls.h - the extension "model_repository": what there is, and making it ready ahead of its first run. */
#pragma once

#include "grpc/unary.h"

enum err_code repository_index(struct unary *unary, struct err *err);
/* Answers when a worker of the newest version is ready. */
enum err_code repository_load(struct unary *unary, struct err *err);
/* Ends its workers once they are idle; the next run starts them again. */
enum err_code repository_unload(struct unary *unary, struct err *err);
