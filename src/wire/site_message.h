/* wire/site_message.h - what a hub and a site say to each other in the messages of io/zsocket.h. api/site-protocol.md says
 * the same in words.
 *
 * A message is a row of notes, each a header and `length` bytes; all notes of one loop turn for one site go into one
 * message. A note too long for a message travels in PARTs. Little endian. Neither side trusts the other: the decoder
 * checks every length, count and type against the bytes it was given. Pure. */
#pragma once

#include "wire/frame.h"

#define SITE_VERSION_LEAST 1
#define SITE_VERSION_NEWEST 2
#define SITE_VERSION_INPUTS 2 /* from which on a site takes FILE */

#define SITE_PART_BYTES (256u << 10)	/* of a note that one PART carries at most */
#define SITE_NOTE_BYTES (128u << 10)	/* a longer note travels in PARTs */
#define SITE_TEXT_BYTES (16u << 20)	/* of a note that is JSON */
#define SITE_DIGEST_BYTES 32u		/* SHA-256 */
#define SITE_FETCH_BYTES (240u << 10)	/* of an artifact that one PIECE carries at most */

enum site_note {
	SITE_HELLO = 1, /* site, first. JSON: versions, instance, hardware, what it still holds */
	SITE_WELCOME,	/* hub, the answer. JSON: version, limits, grace */
	SITE_REFUSE,	/* hub, the other answer. JSON error */
	SITE_PING,	/* both; id is the sender's clock */
	SITE_PONG,	/* both; gives id back */
	SITE_CREDIT,	/* both; id: so many bytes more were taken */
	SITE_PART,	/* both; id: of a note's way. struct site_part and bytes of the note, its header included */
	SITE_DROP,	/* both; id: the rest of that note does not come */
	SITE_START,	/* hub: a worker. JSON */
	SITE_READY,	/* site: it has loaded. JSON of FRAME_READY */
	SITE_RUN,	/* hub; id: the run. struct site_run_head … */
	SITE_RESULT,	/* site; id. struct site_run_head … */
	SITE_ERROR,	/* site; id. JSON error, "run_ns" */
	SITE_PROGRESS,	/* site; id. JSON of run.h, on_progress */
	SITE_ACK,	/* hub; id: its outcome was taken, the site may forget it; id 0: so was the worker's end */
	SITE_CANCEL,	/* hub; id: nobody waits for it any more; it ends as ever */
	SITE_STOP,	/* hub: end the worker; SITE_NOW: at once */
	SITE_GONE,	/* site: the worker has ended. JSON error, "runs": what it held, in its order */
	SITE_FETCH,	/* site; id: offset. Digest: bytes of an artifact that the worker needs */
	SITE_PIECE,	/* hub; id: offset. struct site_piece and bytes */
	SITE_ABSENT,	/* hub; struct site_piece: there is no such artifact for this worker */
	SITE_LEAVE,	/* site: takes no new worker and no new run, will go when it has none left */
	SITE_INPUT,	/* hub; id: of a RUN that comes later. struct site_input: an input that the site is to bring */
	SITE_NOTE_COUNT
};

enum site_flags { SITE_NOW = 1u << 0 };

struct site_header {
	uint64_t length; /* of what follows */
	uint64_t id;
	uint32_t worker; /* the hub's number of it; 0 where there is none */
	uint16_t type;
	uint16_t flags;
};
_Static_assert(sizeof(struct site_header) == 24, "wire layout");

struct site_part {
	uint64_t total, offset;
};
_Static_assert(sizeof(struct site_part) == 16, "wire layout");

struct site_piece {
	uint8_t digest[SITE_DIGEST_BYTES]; /* of the artifact */
	uint64_t total;
};
_Static_assert(sizeof(struct site_piece) == 40, "wire layout");

struct site_input {
	uint8_t digest[SITE_DIGEST_BYTES];
	uint64_t bytes; /* of the whole file */
	uint32_t number; /* of the file in the RUN's frame: FRAME_FILE_FIRST … */
	uint32_t reserved;
};
_Static_assert(sizeof(struct site_input) == 48, "wire layout");

/* Whether it counts against the credit of site/link.h, and may so have to wait. */
bool site_note_is_data(enum site_note type);

/* Appends. false past the ceiling, the buffer as it was. */
bool site_encode(struct buf *out, const struct site_header *header, const void *body);
/* The next note at the start of a whole message. 1: *ret_body points behind its header; 0: no bytes are left; -1: the
 * peer broke the protocol (unknown type, a length that is not that of its type, cut short). */
int site_peek(const uint8_t *data, size_t len, struct site_header *ret, const uint8_t **ret_body);

/* --- RUN and RESULT --- */

/* Behind it: `large` lengths of 8 bytes, a worker frame of `frame_bytes` (wire/frame.h: RUN or RESULT) whose slabs 0 …
 * are the large tensors, and their bytes; the frame and each of them begin at multiples of FRAME_DATA_ALIGN. The frame's
 * deadline_ns is a duration, since clocks differ: until the deadline, or what the run took. */
struct site_run_head {
	uint32_t frame_bytes, large;
};
_Static_assert(sizeof(struct site_run_head) == 8, "wire layout");

/* A tensor that goes behind the frame. */
struct site_large {
	size_t tensor; /* its index */
	size_t offset; /* from the start of the body */
};

/* Appends header and body, but of the large tensors only the room's description: their bytes follow at the offsets that
 * *ret_large (an array of FRAME_TENSORS_MAX, filled in) says, zeros between them. Without any, the note is whole. header->length
 * is of all of it. Errors as of frame_encode_run(). */
must_check enum err_code site_encode_run(struct buf *out, const struct site_header *header, const struct frame_header *frame,
					 const struct run_frame *run, struct site_large *ret_large, size_t *ret_count,
					 struct err *err);
/* As frame_decode_run() on a private `body`; what stays put there is pointed to. *ret_frame is the frame's header. `file` (NULL:
 * there are none) gives the files that INPUT told of.
 * ERR_INVALID_ARGUMENT: the peer broke the protocol. */
must_check enum err_code site_decode_run(const uint8_t *body, size_t len, struct arena *arena, frame_slab_fn file, void *context,
					 struct frame_header *ret_frame, struct run_frame *ret, struct err *err);
