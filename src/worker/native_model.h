/* worker/native_model.h - the parts of struct native, shared by native.c (loading) and native_run.c (running). */
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

struct native {
	ov_core_t *core;
	ov_model_t *model; /* read, not compiled yet; kept by a zygote, for its workers */
	ov_compiled_model_t *compiled;
	ov_infer_request_t *request;
	struct signature *signature;
	const struct method *method; /* borrowed of the signature */
	struct native_port *inputs, *outputs;
	size_t input_count, output_count;
	bool outputs_static; /* the shapes of all outputs are known before a run */
};

/* Sets `err` from OpenVINO's last message, without its "Exception from file:line" lines. */
enum err_code native_error(struct err *err, enum err_code code, const char *what);
