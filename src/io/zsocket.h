/* io/zsocket.h - messages between machines: one libzmq socket in the event loop, encrypted and authenticated by CURVE.
 *
 * Two kinds: one that listens and talks to many peers, each admitted by its public key and known by the name that goes
 * with it; and one that dials out to a listener whose public key it knows. A message is one piece of bytes, whole or not
 * at all, in order; what the other side has taken is not known here (site/link.h counts it).
 *
 * libzmq's descriptor is edge-triggered, and a send may swallow its edge: the socket is drained under a cap of work a turn
 * and looked at again before the loop waits. All on the loop's thread; libzmq has a thread of its own for the wire. */
#pragma once

#include "io/loop.h"

#include <sys/uio.h>

/* --- keys --- */
#define ZKEY_TEXT 40 /* characters of a key, without the NUL: Z85, letters, digits and .-:+=^!/?&<>()[]{}@%$#* */

struct zkey {
	char public[ZKEY_TEXT + 1];
	char secret[ZKEY_TEXT + 1];
};
void zkey_make(struct zkey *ret);
/* The pair that belongs to a secret key. ERR_INVALID_ARGUMENT: it is none. */
must_check enum err_code zkey_of_secret(const char *secret, struct zkey *ret, struct err *err);
/* Whether the text has the form of a key. */
bool zkey_is_key(const char *text);

/* --- sockets --- */
#define ZSOCKET_MESSAGE_BYTES (1u << 20) /* largest message, both ways */
#define ZSOCKET_NAME_SIZE 64		 /* of a peer, with its NUL */

enum zsocket_state {
	ZSOCKET_UP,	 /* connected, both sides have proved their keys */
	ZSOCKET_DOWN,	 /* not reached, or the connection has ended */
	ZSOCKET_REFUSED, /* the listener does not admit our key, or is not who we were told it is */
};

struct zsocket_events {
	/* A whole message; data borrowed during the call. `peer` is its connection, never used again after its end; `name`
	 * is whom it was admitted as. Both are 0 and "" where we dialled. */
	void (*on_message)(void *context, uint32_t peer, const char *name, const uint8_t *data, size_t len);
	/* Of one that listens: whether the holder of this key may come in, and as whom (ZSOCKET_NAME_SIZE bytes). */
	bool (*on_admit)(void *context, const char *public_key, char *ret_name);
	/* Of one that dialled. It does not dial again: after DOWN or REFUSED close it. */
	void (*on_state)(void *context, enum zsocket_state state);
	void *context;
};

struct zsocket;
/* `address` is "ADDR:PORT", port 0 takes a free one. ERR_UNAVAILABLE: taken. Returned owned. */
must_check enum err_code zsocket_listen(struct loop *loop, const char *address, const struct zkey *key, int64_t silence_ms,
					const struct zsocket_events *events, struct zsocket **ret, struct err *err);
/* `address` is "HOST:PORT"; nothing is known of the other side before on_state. A connection without a sign of life for
 * `silence_ms` ends, on both kinds. */
must_check enum err_code zsocket_dial(struct loop *loop, const char *address, const char *listener_key, const struct zkey *key,
				      int64_t silence_ms, const struct zsocket_events *events, struct zsocket **ret,
				      struct err *err);
/* What was sent and is not on the wire is dropped. Not inside one of its callbacks. NULL is fine. */
void zsocket_close(struct zsocket *zsocket);
/* Where one that listens really does: "127.0.0.1:8002". Borrowed. */
const char *zsocket_address(const struct zsocket *zsocket);

/* Sends the parts as one message (copied). false: that peer is gone, or we are not connected (any more). Never blocks; how
 * much may be under way is for the caller to bound. */
bool zsocket_send(struct zsocket *zsocket, uint32_t peer, const struct iovec *parts, size_t count);
