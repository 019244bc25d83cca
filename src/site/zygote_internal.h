/* site/zygote_internal.h - what zygote.c (zygotes and their workers) shares with zygote_link.c (what they say). */
#pragma once

#include "site/zygote.h"

#include "site/frames_in.h"

#define ZYGOTE_READ_BYTES 4096u
#define ZYGOTE_FRAME_BYTES (64u << 10) /* largest payload that a zygote may send */

enum zygote_state {
	ZYGOTE_LOADING,
	ZYGOTE_READY,
	ZYGOTE_FAILED,	/* no process; may be tried again */
	ZYGOTE_REFUSED, /* no process; its servable cannot be forked */
};

struct zygotes {
	struct launcher launcher;
	struct zygote *first;
};

struct zygote {
	struct zygotes *zygotes;
	struct zygote *next;
	enum zygote_state state;
	struct digest key;
	struct worker_spec spec; /* strings owned */
	struct process *process;
	int socket;
	struct watch *watch;
	struct timer *timer; /* start deadline, then idleness, or the grace of its end */
	struct buf out;
	struct frames_in in;
	struct forked *workers;
	uint64_t last_id;
	int64_t used_ns, failed_ns;
	size_t log_bytes;
	bool closed; /* it has closed its end */
	bool retired; /* ends with its last worker */
	bool busy; /* events are being told: it stays where it is */
};

struct forked {
	struct zygote *zygote; /* NULL: it has ended */
	struct forked *next;
	struct forked_events events;
	uint64_t id;
	int socket; /* until the zygote is asked; then -1 */
	int pidfd;  /* from when it is there; -1 before */
	int signum; /* to be sent when there is a pidfd */
	bool closed; /* nobody waits for its end */
};

/* --- zygote.c, for what came --- */
/* It has loaded its servable. */
void zygote_loaded(struct zygote *zygote);
/* Tells the owner of a worker its end, or that there is none; frees it where nobody waits for that. */
void zygote_end_worker(struct zygote *zygote, struct forked *worker, int status);
void zygote_refuse_worker(struct zygote *zygote, struct forked *worker);

/* --- zygote_link.c --- */
/* Sends what waits: the LOAD frame, and FORK for each worker that was not asked for yet. Listens for the rest. */
must_check enum err_code zygote_send(struct zygote *zygote, struct err *err);
/* Reads once. *ret_more: something came, and there may be more. *ret_closed: it has closed its end. ERR_FAILED_PRECONDITION:
 * its servable cannot be forked, and why; others: what is wrong with it. */
must_check enum err_code zygote_receive(struct zygote *zygote, bool *ret_more, bool *ret_closed, struct err *err);
