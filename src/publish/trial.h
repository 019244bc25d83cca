/* publish/trial.h - one engine tried in its sandbox: does it load, are its answers the expected ones, do rows change each
 * other, how long does a run take.
 *
 * Runs go one after another through schedule/run_path.h. Expected is what the publisher recorded, and, on made-up inputs,
 * what the framework gave. All on the serving loop. */
#pragma once

#include "publish/golden.h"
#include "publish/publish.h"
#include "publish/sample.h"

#define TRIAL_SAMPLES 3 /* made-up inputs: one row, two rows, many */

/* What all engines of a publish are tried on; made by the first. */
struct trial_plan {
	struct arena arena;
	json_t *document;	   /* the golden example; borrowed; NULL: its input is made up */
	struct servable *servable; /* shared (ref): the golden input borrows of its signature */
	struct run *golden;	   /* owned; never run itself */
	struct tensor_comparison tolerance;
	bool wants_proof;	   /* of batches: the publisher has said nothing of them */
	bool wants_times;
	bool compares;		   /* several engines are tried: their times are worth measuring well */
	bool made;		   /* the rest is there */
	struct sample samples[TRIAL_SAMPLES];
	size_t sample_count; /* 0: nothing can be made up, or a run takes too long */
	struct sample wide;  /* TRIAL_WIDE rows; none: too large, or a run takes too long */
	const char *no_batch; /* why rows cannot be joined; NULL: they might be */
};

/* Returned owned. ERR_FAILED_PRECONDITION: no example input can be made up. `servable` is any of the publish's. */
must_check enum err_code trial_plan_create(json_t *document, struct servable *servable, const struct settings *settings,
					   struct trial_plan **ret, struct err *err);
void trial_plan_destroy(struct trial_plan *plan);

/* Outputs that later engines are compared with. */
struct answer {
	struct tensor *outputs;
	size_t count;
};

struct trial {
	/* given; borrowed but where said */
	struct trial_plan *plan;
	const struct publisher_parts *parts;
	struct servable *servable;   /* shared (ref) */
	const struct trial *referee; /* NULL: none, or it is this one */
	const char *referee_name;
	void (*on_done)(void *context);
	void *context;
	/* in progress */
	unsigned int phase;
	size_t at;	  /* of the phase's runs */
	struct run *run;  /* under way; owned */
	bool stopped;	  /* on_done is all that is still wanted */
	int64_t sent_ns, phase_ns;
	double *times_ms; /* owned; of the phase */
	struct arena arena;
	struct answer golden, samples[TRIAL_SAMPLES];
	/* outcome */
	struct err err;	  /* ERR_OK: it is equal */
	bool loaded;
	double max_error; /* from what was recorded, and from what the framework gave */
	json_t *record;	  /* owned; of the golden test */
	char *ready;	  /* owned; what its worker said when it had loaded; NULL: nothing */
	double ms_1, ms_32; /* of a usual run; 0: not measured */
	bool asked, proved;
	char *no_batch; /* owned; why not */
};

/* Begins, with the first run. `on_done` comes once, never inside this call. ERR_…: the first run was not taken, and
 * on_done does not come. */
must_check enum err_code trial_start(struct trial *trial, struct err *err);
/* Not while a run is under way: set `stopped` and wait for on_done. */
void trial_done(struct trial *trial);
