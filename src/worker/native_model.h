/* worker/native_model.h - the parts of struct native, shared by native.c (loading), native_compile.c,
 * native_fit.c and native_run.c (running). */
#pragma once

#include "worker/native.h"

#include "wire/signature.h"

#include <openvino/c/openvino.h>

/* One argument and the model's input or output behind it. */
struct native_port {
	const struct argument *argument; /* borrowed of the signature */
	ov_output_const_port_t *port;	 /* owned */
	ov_element_type_e type;
	enum dtype dtype;
	bool is_static;
	struct tensor shape; /* name, dtype and, where static, shape and len; no data */

	/* The tensor that the request has now. */
	ov_tensor_t *bound; /* owned; NULL: none yet */
	struct tensor bound_as;
	bool bound_outside; /* its memory is not OpenVINO's own */
	uint8_t *place;	    /* of an output: where its reply wants it; borrowed, valid during a run */
};

/* The model made ready to run. */
struct native_compiled {
	ov_compiled_model_t *model; /* NULL: there is none */
	ov_infer_request_t *request;
	struct native_port *inputs, *outputs;
	bool outputs_static; /* the shapes of all outputs are known before a run */
};

struct native {
	ov_core_t *core;
	ov_model_t *model; /* read, not compiled yet; kept by a zygote, for its workers */
	char *path;	   /* owned; where it was read */
	int64_t threads;
	struct signature *signature;
	const struct method *method; /* borrowed of the signature */
	size_t input_count, output_count;
	struct native_compiled any;    /* takes every shape that the model takes */
	struct native_compiled fitted; /* for the shapes of `usual` alone, and faster: native_fit.c */
	int64_t compile_ns, compile_bytes; /* what `any` took */
	struct tensor *usual;	       /* owned; the inputs' shapes of the last runs, NULL: not asked for (any more) */
	size_t usual_runs;	       /* so many more had them than had others */
	int64_t usual_ns;	       /* spent on these */
};

/* Compiles, for the input shapes that `model` has. On an error *ret is to be given to native_compiled_done() all the same. */
must_check enum err_code native_compile(struct native *native, const ov_model_t *model, struct native_compiled *ret,
					struct err *err);
void native_compiled_done(const struct native *native, struct native_compiled *compiled);

static inline bool native_same_shape(const struct tensor *a, const struct tensor *b)
{
	return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof(*a->shape)) == 0;
}

/* native_fit.c: a second compilation for shapes that come again and again. */
void native_fit_init(struct native *native);
/* After a run of `any`, which took so long. */
void native_fit_count(struct native *native, const struct run_frame *frame, int64_t took_ns);

/* Sets `err` from OpenVINO's last message, without its "Exception from file:line" lines. */
enum err_code native_error(struct err *err, enum err_code code, const char *what);
