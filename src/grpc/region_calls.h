/* grpc/region_calls.h - shared memory that a client would register by its name, which the hub does not do (it lends memory:
 * schedule/region.h): handlers of rows that say so, and that let clients clean up, as they do before they begin. */
#pragma once

#include "grpc/unary.h"

enum err_code system_region_status(struct unary *unary, struct err *err);
enum err_code system_region_register(struct unary *unary, struct err *err);
enum err_code system_region_unregister(struct unary *unary, struct err *err);
enum err_code cuda_region_status(struct unary *unary, struct err *err);
enum err_code cuda_region_register(struct unary *unary, struct err *err);
enum err_code cuda_region_unregister(struct unary *unary, struct err *err);
