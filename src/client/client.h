/* client/client.h - a hub over its REST API: one connection, kept alive between calls, of one thread.
 *
 * Every call blocks. A GET is tried again (four times at most) where the hub says 429 or 503, after the time
 * that it gives in Retry-After, and where a kept connection broke; nothing else is ever sent twice. The text
 * of an error is the hub's own, its code that of the hub's table; a hub that cannot be reached is
 * ERR_UNAVAILABLE. The token goes only to the endpoint: redirects are not followed. */
#pragma once

#include "base/buf.h"
#include "base/json.h"

#define CLIENT_ENDPOINT_DEFAULT	 "http://127.0.0.1:8000"
#define CLIENT_DOCUMENT_BYTES	 (64u << 20)	    /* largest JSON document taken from a hub */
#define CLIENT_RESULT_BYTES	 ((size_t)64 << 30) /* largest result of a run: limits.output_bytes' own most */
#define CLIENT_JSON_DEPTH	 512
#define CLIENT_TRIES		 4
#define CLIENT_RETRY_AFTER_MAX_S 30 /* a hub that asks for more is not waited for */

/* Waits; replaced by tests. */
typedef void (*client_pause_fn)(void *context, int64_t ms);

struct client_options {
	const char *endpoint;  /* as client_endpoint_parse() gives it */
	const char *token;     /* NULL or empty: anonymous */
	client_pause_fn pause; /* NULL: really waits */
	void *pause_context;
};

struct client;
must_check enum err_code client_create(const struct client_options *options, struct client **ret, struct err *err);
void client_destroy(struct client *client);
DEFINE_CLEANUP(struct client *, client_destroy)
const char *client_endpoint(const struct client *client); /* borrowed */
void client_pause(struct client *client, int64_t ms);

/* The endpoint in its one form: scheme (http:// where none is given), host, port, path without the last '/'.
 * Returned owned. ERR_INVALID_ARGUMENT: not http or https, no host, a user or a query in it. */
must_check enum err_code client_endpoint_parse(const char *text, char **ret, struct err *err);
/* Whether the host is this machine itself. */
bool client_endpoint_is_loopback(const char *endpoint);

/* Sent as a file and a document beside it (multipart/form-data). */
typedef void (*client_progress_fn)(void *context, int64_t sent, int64_t total);
struct client_upload {
	const char *metadata; /* JSON text; borrowed */
	size_t metadata_len;
	int fd; /* borrowed; read from its start; -1: there is no file */
	int64_t bytes;
	const char *filename;
	client_progress_fn on_progress; /* may be NULL */
	void *context;
};

struct client_call {
	const char *method; /* NULL: GET */
	const char *path;   /* "/api/v1/whoami?x=1", escaped */
	const void *body;   /* borrowed; NULL: none */
	size_t body_len;
	const char *content_type;	    /* of the body; NULL: application/json */
	const char *header;		    /* one more, "Name: value"; may be NULL */
	const struct client_upload *upload; /* instead of a body */
	size_t ceiling_bytes;		    /* of the reply; 0: CLIENT_DOCUMENT_BYTES */
	int64_t timeout_ms;		    /* of one try; 0: one minute, -1: none */
};

struct client_reply {
	int status;
	struct buf body;
	char request_id[80];
	char content_type[80];
	int64_t retry_after_s; /* -1: not given */
	int64_t json_bytes;    /* Inference-Header-Content-Length; -1: not given */
};
void client_reply_done(struct client_reply *reply);

/* Fills *ret (to be given to client_reply_done() in any case) and says ERR_OK for a status of 2xx. */
must_check enum err_code client_call(struct client *client, const struct client_call *call, struct client_reply *ret,
				     struct err *err);
/* The error that a reply of another status stands for. */
must_check enum err_code client_reply_error(const struct client_reply *reply, const char *endpoint, struct err *err);

/* With a JSON body (NULL: none) and a JSON reply, returned owned (ret may be NULL; *ret is NULL for an empty one). */
must_check enum err_code client_json(struct client *client, const char *method, const char *path, const json_t *body,
				     json_t **ret, struct err *err);
/* `text` with all but letters, digits and -._~ as %XX. */
void client_escape(struct buf *path, const char *text);
