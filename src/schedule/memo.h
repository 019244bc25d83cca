/* schedule/memo.h - answers that are kept, of servables whose publisher says that they are deterministic.
 *
 * A call that was answered before (schedule/memo_key.h: of whom, to what) is answered from memory; one that is under
 * way is joined: the first leads, the others follow and get its answer. A follower keeps its own deadline and may give
 * up alone; a leader that gives up goes on for those who follow. Where a leader is cancelled or late, the next follower
 * leads; where it fails, each follower is run by itself. Errors are never kept.
 *
 * One in memo.verify hits is run again, later and unseen, and compared: a servable that gives something else loses its
 * memo. After the access decision, before the queue. Serving loop. */
#pragma once

#include "io/loop.h"
#include "schedule/servable.h"

struct memo;

struct memo_parts {
	struct loop *loop;		 /* borrowed */
	const struct settings *settings; /* borrowed */
	/* Runs it without a memo, as scheduler_submit() does. */
	enum err_code (*submit)(void *context, struct run *run, struct err *err);
	void (*give_up)(void *context, struct run *run);
	/* Two runs of one input differed, in that output (borrowed). The servable has lost its memo here; to
	 * remember that is the caller's business. */
	void (*on_differs)(void *context, struct servable *servable, struct str output);
	/* A run that followed another has its answer, or its error: nobody else will count it. */
	void (*on_followed)(void *context, struct run *run);
	void *context;
};

/* Returned owned. */
struct memo *memo_create(const struct memo_parts *parts);
/* No leader is under way any more; those who still wait end with ERR_UNAVAILABLE. */
void memo_destroy(struct memo *memo);

/* What becomes of a run (also kept in run->memo). MEMO_OFF: it is submitted as if there was no memo. MEMO_MISS: it is
 * submitted and leads. MEMO_HIT: its outputs are there. MEMO_JOINED: it follows; its end comes. */
enum memo_state memo_begin(struct memo *memo, struct run *run);
/* One that was to lead was not taken. */
void memo_refused(struct memo *memo, struct run *run);
/* Nobody waits for this run any more. false: it is the caller's to end; true: a follower has ended, with its on_done
 * inside this call, or a leader goes on for others. */
must_check bool memo_give_up(struct memo *memo, struct run *run);
/* The servable has changed or is gone. */
void memo_forget(struct memo *memo, const char *full_name);

struct memo_figures {
	size_t answers, bytes;
	uint64_t hits, misses, joined, verified, differed;
};
void memo_figures(const struct memo *memo, struct memo_figures *ret);
