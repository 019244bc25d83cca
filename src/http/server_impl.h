/* http/server_impl.h - the server's inside, for the files of this folder. */
#pragma once

#include "http/route.h"
#include "io/listen.h"

struct client; /* a connection, as http/patience.c sees it */
struct client_list {
	struct client *first, *last;
};

struct http_server {
	struct http_parts parts;
	struct MHD_Daemon *daemon;
	struct watch *watch;
	struct hook *hook;
	struct timer *housekeeping;
	bool resumed; /* a connection was resumed since libmicrohttpd last ran */
	char address[LISTEN_ADDRESS_SIZE];
	char boot[9];
	uint64_t next_id; /* atomic: pool handlers name their errors too */
	size_t pending;
	size_t unanswered; /* requests whose answer is not sent */
	loop_fn finished; /* called when that becomes 0 */
	void *finished_context;
	bool ending; /* no new connection, no long poll */
	bool ended;  /* the parts are going: nothing new is begun */
	int64_t started_ms;
	unsigned int sandbox;
	uint64_t replies[600]; /* by status */
	struct request *waiters; /* long polls of tasks */
	struct task_stream *streams;
	int64_t next_beat_ms; /* monotonic: when silent streams say that they are there */
	struct request *suspended; /* those whose client may leave while they wait */
	struct request *paused; /* those that gave the turn to others in the middle of their body */
	uint64_t task_changes;	 /* how often any task has changed */
	struct request *held, *held_last; /* refusals that wait to be sent, the oldest first */
	struct timer *refusals;
	struct client_list awaited; /* connections whose next head is awaited, the longest waiting first */
	struct client_list sending; /* those with a request under way */
	size_t client_count;
	uint64_t hung_up; /* connections that were closed because they were slow */
	struct lingerer *lingering; /* connections that were refused before their body's end */
	unsigned int lingering_count;
};

/* http/request.c: a request from its first call to its end. */
enum MHD_Result request_on_call(void *server, struct MHD_Connection *connection, const char *url, const char *method,
				const char *version, const char *upload_data, size_t *upload_size, void **request_context);
void request_on_completed(void *context, struct MHD_Connection *connection, void **request_context,
			  enum MHD_RequestTerminationCode why);
void requests_resume_paused(struct http_server *server);

/* http/reply_send.c: gives the reply that was made to libmicrohttpd. */
enum MHD_Result reply_send(struct request *request);

/* http/head.c: everything that is decided before the first body byte. Returns false when it waits for the pool. */
bool head_advance(struct request *request, const char *method, const char *url);

/* http/publish_routes.c */
enum err_code upload_begin(struct request *request, struct err *err);
/* false: suspended until the bytes are on disk. */
bool upload_feed(struct request *request, const char *data, size_t *len);
void upload_finish(struct request *request);
void upload_destroy(struct upload *upload);

/* http/run_arguments.c: fills request->query_parameters. ERR_INVALID_ARGUMENT: an argument is no parameter of the method, or of
 * another kind than its default. */
must_check enum err_code run_arguments_read(struct request *request, struct err *err);

/* http/run_body.c */
/* Body bytes, uncompressed where they came so, into the parser; *len becomes what was not used. */
void run_feed(struct request *request, const char *data, size_t *len);
/* All bytes have come: ERR_INVALID_ARGUMENT where a compressed body is cut short. */
must_check enum err_code run_body_end(struct request *request, struct err *err);
must_check enum err_code unpacker_begin(struct request *request, struct err *err); /* where the body is compressed */
void unpacker_destroy(struct unpacker *unpacker);

/* http/run_parts.c: a body that is a form. */
must_check enum err_code run_parts_begin(struct request *request, struct err *err);
must_check enum err_code run_parts_feed(struct request *request, const char *data, size_t len, struct err *err);
/* All parts are there: gives the parser the run that they are. */
must_check enum err_code run_parts_end(struct request *request, struct err *err);
bool run_parts_find(struct request *request, struct str name, uint8_t **ret, size_t *ret_len);
void run_parts_destroy(struct run_parts *parts);

/* http/run_references.c: finds the inputs that the run names. On the pool: blocks, on addresses as long as fetch.s. */
must_check enum err_code run_references_follow(struct request *request, struct err *err);

/* http/run_routes.c */
bool request_says_no_cache(const struct request *request); /* it is to be run, also where its answer is in memory */
void run_finish(struct request *request);
/* Nobody waits for the run any more: it ends without its request. */
void run_give_up(struct request *request);

/* http/run_reply.c */
/* Which form the caller wants, and of which output; before it is run. */
must_check enum err_code run_reply_choose(struct request *request, const struct method *method, struct err *err);
/* Writes the run's outputs, or its error, as the reply. May run on the pool. */
void run_reply_encode(struct request *request);
/* Appends the outputs as a DLHub run's answer. */
must_check enum err_code run_reply_write_dlhub(struct buf *out, struct run *run, struct err *err);
/* The run has ended: makes the reply. false: it is large, so the pool does, and request_complete() comes later. */
must_check bool run_reply(struct request *request);

/* http/refusals.c: takes a request whose answer is 429, to be completed a moment later; false: it is to be answered now. */
bool refusal_hold(struct request *request);
void refusals_on_timer(void *server);
void refusals_end_all(struct http_server *server);

/* http/patience.c: slow clients. */
void patience_connection(void *context, struct MHD_Connection *connection, void **socket_context,
			 enum MHD_ConnectionNotificationCode code);
void patience_request_begins(struct request *request);
void patience_request_ends(struct request *request);
void patience_sweep(struct http_server *server);

/* http/leavers.c: between watch and unwatch, a request whose client leaves is ended at the next sweep. */
void leavers_watch(struct request *request);
void leavers_unwatch(struct request *request); /* does nothing for one that is not watched */
void leavers_sweep(struct http_server *server);

/* http/metric_routes.c: metric_collect_fn of the server's own numbers. */
void metric_collect_http(void *context, struct buf *out);

/* http/linger.c: lets the client of a connection that is about to be closed send the rest, so that it reads the answer. */
void linger_start(struct http_server *server, struct MHD_Connection *connection);
void linger_end_all(struct http_server *server);

/* http/task_submit.c */
/* Whether the run, whose body was read, is to be a task. ERR_UNAUTHENTICATED, ERR_INVALID_ARGUMENT. */
must_check enum err_code task_submit_wanted(struct request *request, bool *ret, struct err *err);
/* Takes request->run; the answer comes later. */
must_check enum err_code task_submit(struct request *request, struct err *err);
/* The client has gone; what was submitted stays. */
void task_submit_forget(struct request *request);

/* http/task_result.c: GET /api/v1/{task}/status, of a run. On the pool. */
must_check enum err_code task_old_status(struct request *request, struct err *err);

/* http/task_events.c */
struct MHD_Response *task_stream_response(struct request *request);
void task_stream_destroy(struct task_stream *stream);
void task_stream_leave(struct task_stream *stream); /* its client has */
void task_streams_end(struct http_server *server);
void task_streams_beat(struct http_server *server);

/* http/task_routes.c */
/* The run task {task} where it lives and the caller may see it; else NULL. */
struct task *task_find_mine(struct request *request);
/* Suspends until its status changes (`for_end`: until it ends) or the time is over, then answers. */
void task_wait_alive(struct request *request, struct task *task, int64_t wait_ms, bool for_end);
/* Takes a long poll of a publish that has to wait; false: it is to be answered now. */
bool task_wait(struct request *request);
void task_wait_done(struct request *request);

/* http/repository_routes.c: nobody waits any more for a version to be loaded; does nothing where nobody did. */
void load_give_up(struct request *request);

/* Runs route->handler on the pool, then completes. */
void request_to_pool(struct request *request);
