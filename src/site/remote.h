/* site/remote.h - the executor of one site, at the hub: its workers, the batches that they hold, and what becomes of both
 * when the site comes, is out of reach, comes back, or does not.
 *
 * A site that is out of reach keeps its workers for sites.grace_s: nothing new goes there, and what it had is awaited. Back in
 * time it says what it holds, and each batch is either awaited, sent again (it had not arrived) or ended; an outcome that
 * comes twice, or for what was given up, is dropped by its run id. Too late, or as another process, its workers are gone.
 * All on the serving loop. */
#pragma once

#include "base/settings.h"
#include "site/artifacts.h"
#include "site/documents.h"
#include "site/link.h"

struct remote_options {
	struct loop *loop;
	const struct settings *settings;
	struct artifacts *artifacts; /* borrowed */
	const char *name;	     /* of the site; copied */
	bool (*send)(void *context, uint32_t peer, const struct iovec *parts, size_t count);
	void *context;
};

/* What there is to know of a site now. */
struct remote_state {
	bool connected, leaving; /* leaving: takes nothing new */
	size_t workers, runs; /* runs: batches that they hold */
	int64_t rtt_ns;
	uint64_t pulled_bytes; /* of artifacts and inputs that it asked for */
	struct site_hardware hardware; /* as it said last; cores 0: it never came */
};

struct remote;
/* Returned owned. */
struct remote *remote_create(const struct remote_options *options);
/* Its workers are gone, without a word to the scheduler where `silent` (which has abandoned them). NULL is fine. */
void remote_destroy(struct remote *remote, bool silent);
struct executor *remote_executor(struct remote *remote);
/* Whether a worker there is of that version. */
bool remote_has_version(const struct remote *remote, const char *digest);
void remote_get_state(const struct remote *remote, struct remote_state *ret);

/* The site said hello over connection `peer`. ERR_UNAVAILABLE: another process with this site's key is connected.
 * ERR_FAILED_PRECONDITION: it speaks no version of the protocol that we do. What *ret_refusal says is then to be sent. */
must_check enum err_code remote_arrive(struct remote *remote, uint32_t peer, const struct site_hello *hello, struct err *err);
/* Whether that connection is the one it has. */
bool remote_has_peer(const struct remote *remote, uint32_t peer);
/* A message of it. An error says how it broke the protocol: the connection is over. */
must_check enum err_code remote_receive(struct remote *remote, const uint8_t *data, size_t len, struct err *err);
/* A few times a second: asks for signs of life, and gives up what was silent too long. Returns whether it has become
 * out of reach or was given up, for the log. */
enum remote_change { REMOTE_SAME, REMOTE_OUT_OF_REACH, REMOTE_GIVEN_UP };
enum remote_change remote_tick(struct remote *remote);
