/* site/channel_internal.h - what the parts of a channel share: channel.c (its life), channel_out.c (what is said to the
 * worker) and channel_in.c (what it says). */
#pragma once

#include "io/file_view.h"
#include "io/slab.h"
#include "site/channel.h"
#include "site/frames_in.h"
#include "site/loans.h"
#include "site/slots.h"

#define READ_BYTES (256u << 10)
#define FILES_MAX 64 /* descriptors of files that wait to be sent to one worker; what is more goes through slabs */

struct channel_group {
	struct loop *loop;
	const struct settings *settings;
	struct hook *flush_hook;
	struct channel *dirty; /* have frames to send at the end of this turn */
};

struct pending_fd {
	size_t offset; /* in `out`: the frame that carries it */
	int fd;	       /* borrowed of the slab pool, or of: */
	struct file_view *file; /* shared (ref); NULL: a slab's */
};

struct channel {
	struct channel_group *group;
	struct channel_events events;
	struct channel *next_dirty;
	bool dirty;
	int socket;
	struct watch *watch;
	struct buf out;
	struct pending_fd fds[SLAB_COUNT_MAX + FILES_MAX]; /* each slab is announced once */
	size_t fd_count, file_count; /* of them */
	struct frames_in in;
	struct slab_pool *slabs;
	struct slab_view *view;
	struct loans *loans; /* of the view */
	struct slots slots; /* outstanding batches */
	bool ready, ended;
};

/* Nothing comes or goes any more: says so, once. */
void channel_end(struct channel *channel, const struct err *why);
/* It has frames to send. */
void channel_mark_dirty(struct channel *channel);
/* The worker may write to the slab again. */
void channel_give_back(void *channel, uint32_t slab);
/* Sends what it can now. */
void channel_flush(struct channel *channel);
/* Reads once. Returns whether anything came. */
bool channel_receive(struct channel *channel);
