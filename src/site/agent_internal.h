/* site/agent_internal.h - what agent.c (the connection) and agent_worker.c (workers and runs) share. */
#pragma once

#include "schedule/servable.h"
#include "site/agent.h"
#include "site/documents.h"
#include "site/link.h"
#include "site/store.h"

/* A run that the hub has sent, until it has taken the outcome. */
struct held_run {
	struct held_run *next;
	struct agent_worker *worker;
	uint64_t id;
	struct run *run;
	struct batch *batch; /* while its worker has it */
	bool ended;	     /* the outcome is in the run */
	const uint8_t *note; /* RUN's body, of `body` or of the run's arena; NULL: only files of it have come so far */
	size_t note_len;
	int64_t came_ns;     /* when RUN did */
	void *body;	     /* the note, where that was long */
	struct held_input *inputs; /* agent_input.c */
	size_t inputs_missing;	   /* that are not here yet */
};

struct agent_worker {
	struct agent_worker *next;
	struct agent *agent;
	uint32_t id;
	struct site_start start;
	struct servable *servable; /* only what running needs: the signature */
	struct worker *local;	   /* NULL: not started yet, or gone */
	char *ready, *gone;	   /* what was told, or is to be told again; NULL: not so far */
	struct held_run *runs, **last;
};

struct agent {
	struct agent_options options;
	struct zsocket *zsocket; /* NULL: not dialled */
	struct link *link;	 /* NULL: no hello yet */
	bool up, welcome, closing, draining, was_refused;
	char instance[40];
	struct site_hardware hardware;
	struct store *store;
	struct agent_worker *workers;
	struct timer *dial, *tick, *drain;
	int64_t backoff_ms, dialled_ns, lost_ns;
	int64_t silence_ns, grace_ns, body_bytes;
};

/* --- agent.c --- */
/* Where there is a connection; else it is said again at the next. */
void agent_note(struct agent *agent, enum site_note type, uint32_t worker, uint64_t id, const char *text);
/* A worker is gone and the hub knows it. */
void agent_look_whether_drained(struct agent *agent);

/* --- agent_worker.c --- */
must_check enum err_code agent_on_note(struct agent *agent, const struct site_header *header, const uint8_t *body,
				       struct err *err);
/* RUN and all its inputs are here. */
void agent_begin_run(struct held_run *held);

/* --- agent_input.c --- */
/* INPUT, before the RUN: begins to bring it. */
must_check enum err_code agent_on_input(struct held_run *held, const struct site_input *file, struct err *err);
void agent_forget_inputs(struct held_run *held);
/* frame_slab_fn over the files of a held run. */
bool agent_get_file(void *context, uint32_t number, uint8_t **ret_data, size_t *ret_size);

/* --- agent_worker.c --- */
/* [{"id", "runs"}] for HELLO. Returned owned. */
json_t *agent_held(const struct agent *agent);
/* Says again what the hub may have missed: workers that are ready or gone, outcomes. */
void agent_tell_again(struct agent *agent);
/* Ends all workers and forgets all runs, at once. */
void agent_give_up(struct agent *agent);
