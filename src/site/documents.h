/* site/documents.h - the notes between hub and site that are JSON, read and written (api/site-protocol.md). Pure. */
#pragma once

#include "base/json.h"
#include "base/str.h"
#include "schedule/executor.h"

#define SITE_WORKERS_MAX 4096 /* of one site at once */

/* What a site is and can. */
struct site_hardware {
	int64_t cores, memory_bytes, gpus;
	int64_t capacity;  /* workers at once */
	char program[32];  /* version of dlhub-site */
	char python[32];   /* of the interpreter that environments are made with; "": none */
	bool native;	   /* it has dlhub-worker-native */
};

struct site_hello {
	int64_t version_least, version_newest; /* of the protocol */
	char instance[40];		       /* of this process: another after each start */
	struct site_hardware hardware;
	json_t *workers; /* owned; [{"id": N, "runs": [N, …]}]: what it still holds, ended workers included */
};
/* Returned owned. */
char *hello_format(const struct site_hello *hello);
/* ERR_INVALID_ARGUMENT: it cannot be read. Fill with hello_done() to be called. */
must_check enum err_code hello_parse(struct str text, struct site_hello *ret, struct err *err);
void hello_done(struct site_hello *hello);

struct site_welcome {
	int64_t version;
	int64_t silence_ms; /* without a word for so long, the other is out of reach */
	int64_t grace_ms;   /* after that, and so long, its work is given up */
	int64_t body_bytes, output_bytes; /* limits */
};
char *welcome_format(const struct site_welcome *welcome);
must_check enum err_code welcome_parse(struct str text, struct site_welcome *ret, struct err *err);

/* What a worker of START is to be; of the spec without the folders, which are the site's own. */
struct site_start {
	json_t *json;		 /* owned; holds the texts */
	const char *digest;	 /* of the version: 64 hex */
	const char *program;	 /* "native" or "python" */
	const char *environment; /* its key; NULL: none */
	const char *name;	 /* OWNER/NAME, for logs */
	json_t *load;		 /* FRAME_LOAD, its "directory" to be set; borrowed of json */
	int64_t memory_bytes, start_deadline_ms;
	bool network;
};
char *start_format(const struct worker_spec *spec);
must_check enum err_code start_parse(struct str text, struct site_start *ret, struct err *err);
void start_done(struct site_start *start);

/* {"code", "message", "hint"?, "metadata"?, "run_ns"?}: ERROR and REFUSE. `metadata` is JSON text or empty. Returned
 * owned. */
char *error_format(const struct err *error, struct str metadata, int64_t run_ns);
/* GONE: that with "runs", which the worker held, in its order, and "struck" (executor.h). Returned owned. */
char *gone_format(const struct err *error, bool struck, const uint64_t *runs, size_t count);
/* The document into *ret (owned), the error into `error`, which is set whatever it says. ERR_INVALID_ARGUMENT: no error
 * can be read. */
must_check enum err_code error_parse(struct str text, json_t **ret, struct err *error, struct err *err);
