/* site/agent.h - the site's side: dials out to the hub, keeps the connection, and runs what the hub sends on this machine's
 * executor (site/local.h).
 *
 * Workers and runs outlive the connection: what has ended is told until the hub has taken it, what runs goes on. Only after
 * the hub's grace all is given up. All on the loop of dlhub-site. */
#pragma once

#include "base/settings.h"
#include "io/loop.h"
#include "io/zsocket.h"
#include "schedule/executor.h"

/* The file that `dlhub site add` has written. */
struct site_file {
	char name[64];
	char hub[128]; /* HOST:PORT */
	char hub_key[ZKEY_TEXT + 1];
	struct zkey key;
};
must_check enum err_code site_file_read(const char *path, struct site_file *ret, struct err *err);

struct agent_options { /* all borrowed */
	struct loop *loop;
	struct settings *settings; /* limits.output_bytes becomes the hub's */
	const struct site_file *file;
	const char *directory; /* of its store */
	const char *programs;
	struct executor *local;
	loop_fn on_drained; /* after agent_drain() */
	void *context;
};

struct agent;
/* Blocks on the folder: at start. Returned owned; it begins to dial. */
must_check enum err_code agent_create(const struct agent_options *options, struct agent **ret, struct err *err);
/* Abandons its workers. After loop_finish_pool(). NULL is fine. */
void agent_destroy(struct agent *agent);
/* Takes nothing new; calls on_drained when the hub has taken all that was under way, or `timeout_ms` after. */
void agent_drain(struct agent *agent, int64_t timeout_ms);
