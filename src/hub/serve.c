#include "hub/serve.h"

#include "base/log.h"
#include "hub/configure.h"
#include "hub/hub.h"
#include "io/sandbox.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_MS 10000
#define RECORD_MS 5000 /* how long the last outcomes may take to be written; what is not is run after the next start */
#define ANSWER_MS 2000 /* how long the last answers may take to be sent */

struct serving {
	struct hub hub;
	struct signal_watch *on_term, *on_int, *on_hup;
	struct sandbox_probe probe;
	unsigned int sandbox;
	bool ending, again; /* again: start anew when all is ended */
	int argc;
	char **argv; /* borrowed: the settings among the flags */
	struct timer *grace;
	int unanswered; /* front doors that have answers to send before the end */
};

/* --- the end --- */

static void on_answered(void *context)
{
	struct serving *serving = context;
	loop_stop(serving->hub.loop);
}

static void on_door_answered(void *context)
{
	struct serving *serving = context;
	if (--serving->unanswered == 0)
		on_answered(serving);
}

/* The runs have ended and their outcomes are written. */
static void on_recorded(void *context)
{
	struct serving *serving = context;
	timer_start(serving->grace, ANSWER_MS, 0);
	serving->unanswered = serving->hub.grpc ? 2 : 1;
	http_server_finish(serving->hub.http, on_door_answered, serving);
	if (serving->hub.grpc)
		grpc_server_finish(serving->hub.grpc, on_door_answered, serving);
}

static void on_drained(void *context)
{
	struct serving *serving = context;
	timer_start(serving->grace, RECORD_MS, 0);
	tasks_finish(serving->hub.tasks, on_recorded, serving);
}

static void begin_end(struct serving *serving)
{
	serving->ending = true;
	log_info("ending: waiting for the runs under way");
	http_server_quiesce(serving->hub.http);
	grpc_server_quiesce(serving->hub.grpc);
	warm_quiesce(serving->hub.warm);
	publisher_quiesce(serving->hub.publisher);
	tasks_quiesce(serving->hub.tasks);
	scheduler_drain(serving->hub.scheduler, DRAIN_MS, on_drained, serving);
}

static void on_signal(void *context)
{
	struct serving *serving = context;
	serving->again = false; /* to end stands over to start anew */
	if (serving->ending)
		loop_stop(serving->hub.loop); /* asked twice: at once */
	else
		begin_end(serving);
}

static void on_restart(void *context)
{
	struct serving *serving = context;
	if (serving->ending)
		return;
	struct err err = ERR_INIT;
	_cleanup_(settings_destroyp) struct settings *fresh = settings_create();
	if (configure_read(fresh, serving->argc, serving->argv, &err) != ERR_OK) {
		log_error("not starting anew: %s", err_text(&err));
		err_done(&err);
		return;
	}
	serving->again = true;
	begin_end(serving);
}

/* --- what need not be done before the first request --- */

static bool sandbox_required(const struct serving *serving)
{
	return strcmp(settings_string(serving->hub.settings, SETTING_WORKER_SANDBOX), "require") == 0;
}

/* Before the hub listens: one that must have every wall does not serve without. */
static enum err_code require_sandbox(struct serving *serving, struct err *err)
{
	char missing[256];
	if (!sandbox_required(serving))
		return ERR_OK;
	serving->sandbox = sandbox_probe();
	if (serving->sandbox == SANDBOX_ALL)
		return ERR_OK;
	sandbox_format(SANDBOX_ALL & ~serving->sandbox, missing, sizeof(missing));
	err_set(err, ERR_FAILED_PRECONDITION, "worker.sandbox is 'require', and this host does not allow: %s", missing);
	return err_advise(err, "`dlhub doctor` says how to allow it; --worker.sandbox auto serves with the rest of the walls");
}

static void probe_sandbox(void *context)
{
	struct serving *serving = context;
	if (!sandbox_required(serving))
		serving->sandbox = sandbox_probe_finish(&serving->probe);
}

static void sandbox_probed(void *context)
{
	struct serving *serving = context;
	char text[256], missing[256];
	sandbox_format(serving->sandbox, text, sizeof(text));
	if (serving->hub.http)
		http_server_set_sandbox(serving->hub.http, serving->sandbox);
	if (serving->sandbox == SANDBOX_ALL) {
		log_info("sandbox: %s", text);
		return;
	}
	sandbox_format(SANDBOX_ALL & ~serving->sandbox, missing, sizeof(missing));
	log_warning("sandbox: %s; this host does not allow: %s; `dlhub doctor` says how to allow it", text, missing);
}

static void recover(void *context)
{
	struct serving *serving = context;
	struct err err = ERR_INIT;
	if (publisher_recover(serving->hub.publisher, &err) != ERR_OK)
		log_warning("cleaning up: %s", err_text(&err));
	err_done(&err);
	if (uploads_recover(serving->hub.uploads, &err) != ERR_OK)
		log_warning("cleaning up blobs: %s", err_text(&err));
	err_done(&err);
	if (tasks_recover(serving->hub.tasks, &err) != ERR_OK)
		log_error("asynchronous tasks of before wait for the next start: %s", err_text(&err));
	err_done(&err);
}

static void recovered(void *context)
{
	struct serving *serving = context;
	uploads_begin_work(serving->hub.uploads);
	tasks_begin_work(serving->hub.tasks);
	publisher_begin_work(serving->hub.publisher);
	warm_begin_work(serving->hub.warm);
}

/* --- life --- */

static enum err_code begin(struct serving *serving, struct err *err)
{
	struct hub *hub = &serving->hub;
	if (!sandbox_required(serving))
		sandbox_probe_start(&serving->probe);
	enum err_code code = require_sandbox(serving, err);
	if (code == ERR_OK)
		code = hub_build(hub, err);
	if (code != ERR_OK) {
		if (!sandbox_required(serving))
			(void)sandbox_probe_finish(&serving->probe);
		return code;
	}
	serving->on_term = signal_watch_create(hub->loop, SIGTERM, on_signal, serving);
	serving->on_int = signal_watch_create(hub->loop, SIGINT, on_signal, serving);
	serving->on_hup = signal_watch_create(hub->loop, SIGHUP, on_restart, serving);
	serving->grace = timer_create_on(hub->loop, on_answered, serving);
	if (*sites_address(hub->sites))
		log_info("sites dial in at %s", sites_address(hub->sites));
	printf("dlhubd %s ready%s%s%s http://%s\n", DLHUB_VERSION, hub->grpc ? ": gRPC at " : "", grpc_server_address(hub->grpc),
	       hub->grpc ? ", REST at" : " at", http_server_address(hub->http));
	fflush(stdout);
	if (!pool_submit(hub->loop, LANE_DISK, probe_sandbox, sandbox_probed, serving) ||
	    !pool_submit(hub->loop, LANE_DISK, recover, recovered, serving))
		abort();
	return ERR_OK;
}

static void note_addresses(const struct hub *hub, struct serve_again *ret)
{
	ret->wanted = true;
	str_copy(ret->http, sizeof(ret->http), http_server_address(hub->http));
	str_copy(ret->grpc, sizeof(ret->grpc), grpc_server_address(hub->grpc));
	if (str_ends(settings_string(hub->settings, SETTING_SITES), ":0")) /* a free one was taken */
		str_copy(ret->sites, sizeof(ret->sites), sites_address(hub->sites));
}

enum err_code serve_hub(const struct settings *settings, int argc, char **argv, struct serve_again *ret, struct err *err)
{
	struct serving serving = { .hub = { .settings = settings, .data.lock_fd = -1 }, .argc = argc, .argv = argv };
	enum err_code code = begin(&serving, err);
	if (code == ERR_OK) {
		loop_run(serving.hub.loop);
		log_info("ended");
	}
	if (serving.again)
		note_addresses(&serving.hub, ret);
	hub_end(&serving.hub); /* while signals are still heard: one more must not kill it in the middle */
	signal_watch_close(serving.on_term);
	signal_watch_close(serving.on_int);
	signal_watch_close(serving.on_hup);
	timer_close(serving.grace);
	hub_close(&serving.hub);
	return code;
}
