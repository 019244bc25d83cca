/* site/link_internal.h - what the parts of a link share: link.c (its life), link_out.c (what goes out, and when) and
 * link_in.c (what comes in). */
#pragma once

#include "site/link.h"

#define LINK_CREDIT_BYTES (LINK_WINDOW_BYTES / 16) /* that are taken before credit is given */
#define LINK_RTT_SAMPLES 8

struct link {
	struct link_options options;
	struct hook *hook;
	bool dirty, gone;
	struct buf control; /* notes that do not wait for credit */
	struct buf out;
	size_t out_at; /* what is sent of it */
	struct way_out *ways;
	uint64_t last_way;
	size_t under_way; /* bytes sent for which no credit has come back */
	struct way_in *incoming;
	uint8_t *assembled; /* the note that on_note sees, where it came in parts */
	size_t taken;	    /* bytes for which no credit was given yet */
	int64_t heard_ns;
	int64_t rtt_ns[LINK_RTT_SAMPLES];
	size_t rtt_count;
};

/* --- link_out.c --- */
/* It has something to send at the end of this turn. */
void link_mark_dirty(struct link *link);
/* One note for each that came, or for each tick; what is too much of a turn is left out. */
void link_send_control(struct link *link, enum site_note type, uint64_t id);
/* The end of a turn: sends what there is credit for. */
void link_flush(struct link *link);
/* Frees the notes that are on their way out. */
void link_out_done(struct link *link);

/* --- link_in.c --- */
/* Frees the notes that are on their way in. */
void link_in_done(struct link *link);
