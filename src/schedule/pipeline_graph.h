/* schedule/pipeline_graph.h - what a pipeline is made of: the `pipeline` of its servable block, parsed and checked.
 *
 *   "pipeline": {
 *     "steps": [
 *       {"name": "encode", "servable": "ann/encoder", "version": 3, "method": "run",
 *        "inputs": {"image": "input.image"}, "parameters": {}},
 *       {"name": "best", "combine": "mean", "inputs": ["a.price", "b.price"], "axis": 0}
 *     ],
 *     "outputs": {"price": "best"}
 *   }
 *
 * A reference is "input.NAME" or "STEP.OUTPUT"; ".…" is left out where there is only one. `inputs` of a step with one
 * input, and `outputs`, may be one reference alone. `version` is a number, "sha256:HEX", an alias or "latest". The steps
 * form a graph without cycles; each leads to an output. Immutable; the strings are its own. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "base/str.h"
#include "schedule/combine.h"

#define PIPELINE_INPUT (-1) /* in place of a step: what the caller gives */

/* A value: an output of a step, or an input of the pipeline. */
struct pipeline_source {
	int step;
	struct str name; /* empty: the only one */
};

/* An input of a step or an output of the pipeline, and where its value comes from. */
struct pipeline_port {
	struct str name; /* empty: the only one, or that of a combiner */
	struct pipeline_source from;
};

struct pipeline_step {
	struct str name;
	/* a servable … */
	struct str owner, servable, version, method; /* version empty: the newest when it is published */
	struct str parameters;			     /* canonical JSON text, or empty */
	/* … or a combiner */
	enum combine combine;
	int axis;
	struct pipeline_port *inputs;
	size_t input_count;
	size_t used; /* ports that it feeds, those of the outputs included */
};

struct pipeline {
	struct arena arena;
	struct pipeline_step *steps; /* each behind those that it needs */
	size_t step_count;
	struct pipeline_port *outputs;
	size_t output_count;
};

/* `servable` is the servable block, borrowed. ERR_INVALID_ARGUMENT names the step: "pipeline step 'best': …". Returned
 * owned. */
must_check enum err_code pipeline_parse(const json_t *servable, size_t max_steps, struct pipeline **ret, struct err *err);
void pipeline_destroy(struct pipeline *pipeline); /* NULL is fine */
DEFINE_CLEANUP(struct pipeline *, pipeline_destroy)
