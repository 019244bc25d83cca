/* site/channel.h - the frame connection to one worker: what is said to it and what it says (api/worker-frames.md).
 *
 * Works on any connected Unix stream socket and knows nothing of processes; whoever has those builds on it (local.c).
 * The channel owns the socket, its buffers, the slots of outstanding batches (whose index and generation are the run
 * id of the frames) and the slabs of both sides. What comes from the worker is checked, and copied out of shared memory but
 * for what loans.h lends; a worker that breaks the protocol ends the channel. All on the serving loop. */
#pragma once

#include "base/settings.h"
#include "io/loop.h"
#include "schedule/batch.h"

/* What channels share: the write at the end of each turn of the loop. */
struct channel_group;
struct channel_group *channel_group_create(struct loop *loop, const struct settings *settings);
/* After its channels. */
void channel_group_destroy(struct channel_group *group);

/* Never called inside channel_create() or channel_destroy(). */
struct channel_events {
	void (*on_ready)(void *context, struct str ready); /* the answer to channel_load(); borrowed */
	/* A batch ended: its runs, or batch->err, are filled. */
	void (*on_batch_done)(void *context, struct batch *batch);
	/* How far a batch is: a well-formed JSON object; borrowed. */
	void (*on_progress)(void *context, struct batch *batch, struct str json);
	void (*on_log)(void *context, struct str text); /* of the worker's own; borrowed */
	/* Nothing comes or goes any more; once. `why` says how it broke the protocol, or is the error that it answered
	 * channel_load() with; ERR_OK: the worker has closed its end. The batches are still held. */
	void (*on_end)(void *context, const struct err *why);
	void *context;
};

struct channel;
/* Takes `fd`, also where it fails. Returned owned. */
must_check enum err_code channel_create(struct channel_group *group, int fd, const struct channel_events *events,
					struct channel **ret, struct err *err);
/* Not inside one of its own callbacks. NULL is fine. */
void channel_destroy(struct channel *channel);

/* The first frame. `load` is JSON text. */
void channel_load(struct channel *channel, struct str load);
/* Lends the batch until on_batch_done or the channel's end; its inputs are read inside. Goes out at the end of the turn. */
must_check enum err_code channel_send(struct channel *channel, struct batch *batch, struct err *err);
/* The worker is told that nobody waits for the batch; it is answered as ever. */
void channel_cancel(struct channel *channel, struct batch *batch);
/* The batches that it holds, in the order in which they were sent. Returned owned, only the array. */
struct batch **channel_held(const struct channel *channel, size_t *ret_count);
/* Reads what has come and was not read: for the last words of a worker that has ended. */
void channel_read_rest(struct channel *channel);
/* Calls nothing any more and stops listening, until channel_destroy(). */
void channel_mute(struct channel *channel);
