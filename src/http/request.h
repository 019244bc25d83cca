/* http/request.h - one HTTP request on its way through the front door.
 *
 * Belongs to the serving loop, except while its pool handler runs: then to that pool thread alone. Everything
 * is freed when libmicrohttpd says that the exchange is over. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "http/server.h"
#include "wire/deflate.h"

#include <microhttpd.h>

#define TYPE_NPY "application/x-npy"
#define TYPE_FORM "multipart/form-data"
#define TYPE_BYTES "application/octet-stream"
#define REQUEST_PARAMS 4
#define REQUEST_SEGMENTS 12

enum phase {
	PHASE_HEAD,  /* headers are there: framing, route, who, what, may they */
	PHASE_BODY,  /* body bytes come */
	PHASE_WAIT,  /* something else is at it; suspended */
	PHASE_REPLY, /* the answer is made */
	PHASE_SENT,
};

struct reply {
	int status; /* 0: not made yet */
	const char *content_type; /* literal; NULL: application/json */
	const char *policy;       /* literal; of a page: its Content-Security-Policy */
	struct buf body;
	size_t json_bytes; /* Inference-Header-Content-Length; 0: there are no binary tensors */
	const struct tensor *binary; /* sent after the body, those with binary_flags[i] */
	const bool *binary_flags;
	size_t binary_count;
	enum coding coding;  /* how the body is compressed */
	const char *memo;    /* X-DLHub-Memo; literal; NULL: it was not used */
	const char *timing;  /* Server-Timing; of the arena; NULL: nobody asked */
	int file_fd; /* instead of the body where >= 0; owned */
	int64_t file_bytes;
	int retry_after_s;
	unsigned int allowed; /* enum method_flags, of a 405 */
	char *location; /* owned */
	bool close;
};

/* What a run's outputs are sent as. */
enum run_form {
	FORM_OWN, /* JSON of its route, maybe with binary tensors */
	FORM_NPY, /* one output as a .npy file */
	FORM_RAW, /* the bytes of one output */
};

struct route;
struct task_stream; /* http/task_events.c */
struct run_parts; /* http/run_parts.c */
struct unpacker; /* http/run_body.c */
struct upload;	 /* http/publish_routes.c */

struct request {
	struct http_server *server;
	struct MHD_Connection *connection;
	enum phase phase;
	bool suspended;
	bool whole; /* all of it came, and the server counts it as unanswered */
	const char *method, *version; /* of libmicrohttpd */
	const struct route *route;
	struct str segments[REQUEST_SEGMENTS];
	size_t segment_count;
	char *path; /* owned copy that the segments point into */
	struct str params[REQUEST_PARAMS]; /* the {…} parts of the pattern, in order */
	char *param_text[REQUEST_PARAMS];  /* the same as C strings, in the arena */
	struct arena arena;
	char id[40]; /* the caller's X-Request-Id, or one of ours once there is an error to name; else empty */
	/* headers */
	const char *authorization, *content_type, *content_encoding, *content_length, *host,
		*inference_header_length, *accept, *accept_encoding, *traceparent, *cache_control, *timing;
	bool has_body;
	int64_t body_bytes; /* Content-Length; -1: chunked or none */
	int64_t body_seen;
	int64_t body_limit; /* of its route */
	/* who and what */
	bool head_checked;
	const struct principal *principal; /* shared (ref) */
	struct servable *servable; /* shared (ref); routes that need one */
	struct err lookup; /* why there is no principal or servable */
	/* body */
	struct buf body;
	struct run *run;
	struct run_parser *parser;
	struct unpacker *unpacker; /* owned; NULL: the body is not compressed */
	struct run_parts *parts;   /* owned; NULL: the body is no form */
	bool follow;		   /* it names inputs that are to be found */
	struct str query_parameters; /* of a body that has no place for them, as JSON; of the run's arena */
	bool infer;		   /* the forms of the Open Inference Protocol, not of DLHub */
	enum run_form form;	   /* of the answer */
	size_t output;		   /* that is asked for, where a form has room for one */
	/* monotonic: its head was there; its body was read; its run had ended; its answer was made */
	int64_t received_ns, parsed_ns, ended_ns, answered_ns;
	struct trace_context trace; /* trace_id[0] is 0: not traced */
	struct upload *upload;
	/* answer */
	struct reply reply;
	struct statistics_snapshot *statistics; /* owned: copied for the pool */
	json_t *failures; /* owned: of the repository's index, copied for the pool */
	json_t *fallback; /* owned: of the servable to be described, likewise; NULL: the engine in force serves */
	struct load_wait load;
	unsigned int after; /* enum after_flags: what the loop does once the pool handler succeeded */
	enum err_code (*pool_handler)(struct request *request, struct err *err); /* instead of the route's */
	/* asynchronous tasks */
	struct task *submission; /* that waits to be accepted; borrowed */
	struct task_watch task_watch; /* of one that lives, while this waits for it */
	const char *seen_status;      /* literal */
	bool wait_for_end;
	struct task_stream *stream; /* owned */
	void *task_bytes;	    /* owned: records of results that are not in the file yet */
	size_t task_bytes_len;
	int64_t task_file_bytes;
	char *error_metadata; /* owned */
	struct timer *timer; /* long poll */
	int64_t wait_ms;     /* how long the handler may wait for a change; 0: not any more */
	uint64_t task_changes; /* the server's count when the handler began to look */
	bool waiting;
	struct request *next_waiter, *previous_waiter;
	bool watched; /* in the server's list of those whose client may leave: http/leavers.c */
	struct request *suspended_next, *suspended_previous;
	struct request *held_next; /* in the server's list of refusals that wait: http/refusals.c */
	int64_t held_until_ns;
	struct request *paused_next; /* in the server's list of those that go on in the next turn */
};

enum after_flags {
	AFTER_FORGET_TOKENS = 1u << 0,	 /* users, groups or tokens changed */
	AFTER_FORGET_SERVABLE = 1u << 1, /* params[0]/params[1] changed */
	AFTER_PUBLISH = 1u << 2,	 /* a publish was accepted */
	AFTER_USER_REMOVED = 1u << 3,	 /* params[0] */
	AFTER_SITES = 1u << 4,		 /* sites changed */
};

/* --- what handlers use (any thread that has the request) --- */

/* Takes the reference of `json`. */
void reply_json(struct request *request, int status, json_t *json);
void reply_empty(struct request *request, int status);
/* Sets `key` to the date in RFC 3339; wall clock, 0 (not yet) leaves it out. */
void reply_put_date(json_t *object, const char *key, int64_t wall_ms);
/* The one shape of errors. */
void reply_error(struct request *request, const struct err *err);
/* Behind reply_error(): what a servable printed and its traceback, a JSON object's text. */
void reply_add_metadata(struct request *request, struct str metadata);
/* Of the body and the tensors behind it. */
size_t reply_bytes(const struct reply *reply);
/* Compresses a body of limits.compress_bytes or more as the caller accepts it. May take long: on the pool. */
void reply_compress(struct request *request);
/* Whether it would. */
bool reply_wants_coding(const struct request *request);
/* The body as a JSON object; ERR_INVALID_ARGUMENT. Returned owned. */
must_check enum err_code request_json(struct request *request, json_t **ret, struct err *err);
/* Whether its Content-Type is that one. */
bool request_has_type(const struct request *request, const char *type);
/* A query argument, borrowed; NULL if absent. */
const char *request_argument(struct request *request, const char *name);
must_check enum err_code request_argument_int(struct request *request, const char *name, int64_t least, int64_t most,
					      int64_t initial, int64_t *ret, struct err *err);
must_check enum err_code request_argument_bool(struct request *request, const char *name, bool *ret, struct err *err);

/* --- what the server's own files share (loop thread) --- */
/* The reply is made: send it as soon as libmicrohttpd asks. */
void request_complete(struct request *request);
void request_suspend(struct request *request);
/* Suspends it until the next turn of the loop: libmicrohttpd itself does not call again for bytes that were left. */
void request_pause(struct request *request);
/* Lets libmicrohttpd call again, without a reply yet. */
void request_resume(struct request *request);
