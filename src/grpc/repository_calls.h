/* grpc/repository_calls.h - the extension "model_repository": what there is, and making it ready ahead of its first run. */
#pragma once

#include "grpc/unary.h"

enum err_code repository_index(struct unary *unary, struct err *err);
/* Which version a request means: its parameter "version", or "" for the newest. Borrowed of it. ERR_INVALID_ARGUMENT: no text. */
enum err_code repository_load_version(const ProtobufCMessage *request, const char **ret, struct err *err);
enum err_code repository_unload_version(const ProtobufCMessage *request, const char **ret, struct err *err);
/* Answers when a worker of the version is ready. */
enum err_code repository_load(struct unary *unary, struct err *err);
/* Ends its workers once they are idle; the next run starts them again. */
enum err_code repository_unload(struct unary *unary, struct err *err);
