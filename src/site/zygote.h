/* site/zygote.h - this machine's zygotes, and the workers that they fork (api/worker-frames.md, "A zygote").
 *
 * There is one zygote for each version that has, or just had, more than one worker; it ends when it had none for
 * worker.idle_s, when its version is retired, or when another one needs its place. A zygote has run the servable's code,
 * so it is trusted as little as a worker: what it can do is lose its own workers. A version that cannot be forked is
 * remembered, with the reason logged once. All on the serving loop. */
#pragma once

#include "base/hash.h"
#include "site/launch.h"

struct zygotes;
/* `launcher` is copied; what it points to is borrowed. */
struct zygotes *zygotes_create(const struct launcher *launcher);
/* Ends all; no event comes any more. NULL is fine. */
void zygotes_destroy(struct zygotes *zygotes);

/* Never called inside zygotes_fork() or forked_close(). One of the two comes, once. */
struct forked_events {
	/* It was not forked: start it by itself, on another socket. `spec` is the one that was given, borrowed. */
	void (*on_refused)(void *context, const struct worker_spec *spec);
	/* It has ended; `status` as wait(2) gives it. */
	void (*on_exit)(void *context, int status);
	void *context;
};

/* Workers of the same key can come from one zygote: all that a worker is told to load it by. */
void zygotes_key(const struct worker_spec *spec, struct digest *ret);

/* No worker of that key is wanted any more: its zygote, if there is one, ends with the last that it has. */
void zygotes_retire(struct zygotes *zygotes, const struct digest *key);

/* A worker that is being, or was, forked. */
struct forked;

/* Has a worker forked whose descriptor 3 is `socket`. `siblings`: how many workers of that key there are already. NULL:
 * start it by itself; `socket` is then still the caller's, else it is taken. */
struct forked *zygotes_fork(struct zygotes *zygotes, const struct worker_spec *spec, const struct digest *key,
			    size_t siblings, int socket, const struct forked_events *events);
void forked_kill(struct forked *forked, int signum);
/* Kills it; no event comes any more. NULL is fine. */
void forked_close(struct forked *forked);
