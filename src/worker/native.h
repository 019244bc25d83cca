/* worker/native.h - the shim of dlhub-worker-native: an ONNX file or a TensorFlow SavedModel in OpenVINO.
 *
 * Owns the compiled model, one infer request and the tensors bound to it; where the same shapes come again and again
 * also a second compilation, for these. One thread. The order of arguments
 * is the servable's `run` method's; each is found among the model's inputs and outputs by name, or, where the
 * model has only one, is that one. Computes in f32 (and exactly what the model says for integers that fit 32
 * bits: the CPU plugin narrows 64-bit ones, so that larger values are refused, not changed). */
#pragma once

#include "worker/loop.h"

struct native;
struct native *native_create(void);
void native_destroy(struct native *native);
DEFINE_CLEANUP(struct native *, native_destroy)

/* worker_shim.prepare, .load and .run; `context` is the struct native. ERR_UNIMPLEMENTED: OpenVINO cannot serve this
 * model. What native_prepare() has read, native_load() compiles. */
must_check enum err_code native_prepare(void *context, struct worker_loop *loop, json_t *load, json_t *ready,
					struct err *err);
must_check enum err_code native_load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err);
must_check enum err_code native_run(void *context, const struct worker_run *run, struct worker_reply *reply,
				    struct err *err);

/* worker_shim.before_wait: what makes later runs faster (native_fit.c). */
void native_fit(void *context);

/* "OpenVINO 2026.4.1"; returned owned, NULL if it does not tell. */
char *native_framework(void);
/* The folder of OpenVINO's libraries, which it opens its plugins from; returned owned, NULL if it is not known. */
char *native_library_folder(void);
