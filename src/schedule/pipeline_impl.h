/* schedule/pipeline_impl.h - one run of a pipeline and its steps, as the files that carry it out share them. Private to
 * pipeline.c (its begin and its end) and pipeline_step.c (its steps). Serving loop. */
#pragma once

#include "schedule/pipeline.h"
#include "schedule/pipeline_graph.h"

enum step_state { STEP_WAITS, STEP_RUNS, STEP_DONE };

struct whole;

struct step {
	struct whole *whole;
	struct servable *servable; /* shared (ref); NULL: a combiner, or not looked up yet */
	const struct method *method;
	enum step_state state;
	struct run *run; /* owned, kept until `uses` is 0 */
	size_t uses;	 /* those that take from it and have not ended, the pipeline itself included */
	int64_t began_ns, started_ns, ended_ns; /* started: it was sent to a worker; 0: not */
	enum memo_state memo;
	struct str said; /* its run's metadata, of the pipeline's arena */
};

/* One run of a pipeline. Its memory outlives the run where steps are still under way: they take their inputs from it. */
struct whole {
	struct run_layer layer; /* over the run's own end: by it the run finds this */
	struct pipelines *pipelines;
	struct run *run; /* NULL: it has ended */
	struct servable *servable; /* shared (ref): the pipeline */
	const struct pipeline *pipeline;
	unsigned int refs; /* of the run, of look-ups, of steps under way, of the list of those that end soon */
	size_t looking, under_way, left;
	bool starting, advancing, soon;
	struct err err;
	struct whole *next_soon;
	struct arena arena; /* the run's, once it has ended before its steps */
	struct step steps[];
};

struct pipelines {
	struct pipelines_parts parts;
	struct whole *soon; /* ended inside their submit: told on the next turn */
	struct timer *timer;
};

/* --- pipeline.c --- */
void whole_unref(struct whole *whole);
/* Its answer is made, or was found to be wrong: it ends. */
void whole_end(struct whole *whole);
/* The first failure is the pipeline's, and ends the steps under way. Takes the error. */
void whole_fail_at(struct whole *whole, size_t index, struct err *err);
bool whole_has_ended(const struct whole *whole);
void step_drop_run(struct step *step);
const char *pipeline_step_text(const struct pipeline_step *step, char text[64]);

/* --- pipeline_step.c --- */
/* Begins what can begin; ends the pipeline where nothing is left. */
void whole_advance(struct whole *whole);
/* What the ports refer to, in *ret of `arena`; the bytes stay where they are. ERR_FAILED_PRECONDITION, ERR_RESOURCE_EXHAUSTED. */
must_check enum err_code whole_gather(const struct whole *whole, const struct pipeline_port *ports, size_t count,
				      struct arena *arena, struct tensor **ret, struct err *err);
