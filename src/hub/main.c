/* dlhubd - the hub. Builds its parts in order, serves, and tears them down in reverse. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "grpc/server.h"
#include "http/server.h"
#include "lend/door.h"
#include "hub/backup.h"
#include "hub/data.h"
#include "hub/metrics.h"
#include "io/fs.h"
#include "io/outgoing_policy.h"
#include "io/sandbox.h"
#include "site/local.h"
#include "site/sites.h"

#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define HELP_WIDTH  79
#define HELP_DOC_AT 33 /* column */
#define DRAIN_MS 10000
#define RECORD_MS 5000 /* how long the last outcomes may take to be written; what is not is run after the next start */
#define ANSWER_MS 2000 /* how long the last answers may take to be sent */

struct hub {
	struct settings *settings;
	struct data_folder data;
	struct catalog *catalog;
	struct blob_store *blobs;
	struct loop *loop;
	struct executor *executor; /* of this machine */
	struct sites *sites;
	struct scheduler *scheduler;
	struct lookup *lookup;
	struct statistics *statistics;
	struct regions *regions;
	struct lend_door *lend;
	struct run_path *runs;
	struct metrics *metrics;
	struct tracer *tracer;
	struct run_reporter *reporter;
	struct hub_metrics own_metrics;
	struct publisher *publisher;
	struct tasks *tasks;
	struct uploads *uploads;
	struct http_server *http;
	struct grpc_server *grpc;
	struct signal_watch *on_term, *on_int, *on_hup;
	char *programs;
	struct sandbox_probe probe;
	unsigned int sandbox;
	bool ending, again; /* again: start anew when all is ended */
	int argc;
	char **argv; /* borrowed: the settings among the flags */
	struct timer *grace;
	int unanswered; /* front doors that have answers to send before the end */
};

/* One setting: its name, and beside it what it is, broken into lines of 80 columns. */
static void print_setting(const struct setting_row *row)
{
	_cleanup_free_ char *text = xasprintf("%s%s%s%s", row->doc, *row->initial ? " (default " : "", row->initial,
					      *row->initial ? ")" : "");
	printf("  --%-*s", HELP_DOC_AT - 4, row->name);
	int at = HELP_DOC_AT;
	for (const char *word = text; *word;) {
		int len = (int)strcspn(word, " ");
		if (at > HELP_DOC_AT && at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", HELP_DOC_AT, "");
			at = HELP_DOC_AT;
		}
		at += printf("%s%.*s", at > HELP_DOC_AT ? " " : "", len, word);
		word += len + (word[len] == ' ');
	}
	putchar('\n');
}

static int usage(void)
{
	printf("dlhubd %s - the hub: publish, find and run machine-learning models\n\n"
	       "  dlhubd --data DIR [--http ADDR:PORT] [--grpc ADDR:PORT] [--SETTING VALUE]...\n"
	       "  dlhubd --check --data DIR          say whether the data is sound, and end\n"
	       "  dlhubd --backup FILE --data DIR    write all to FILE, beside a running hub too\n"
	       "  dlhubd --restore FILE --data DIR    put a backup in the place of what is there\n\n"
	       "SIGTERM ends the hub after the runs under way; SIGHUP starts it anew, with its\n"
	       "settings read again.\n\n"
	       "Settings come from here, from the environment (DLHUBD_LIMITS_RUN_S is\n"
	       "limits.run_s), and from DIR/dlhubd.conf (lines 'limits.run_s = 60'); the first of\n"
	       "these wins.\n\n",
	       DLHUB_VERSION);
	for (int i = 0; i < SETTING_COUNT; i++)
		print_setting(settings_row((enum setting)i));
	printf("\nExample: dlhubd --data ~/dlhub --http 127.0.0.1:8000\n");
	return 0;
}

static int complain(const struct err *err)
{
	fprintf(stderr, "dlhubd: %s\n", err_text(err));
	if (err_hint(err))
		fprintf(stderr, "  what to do: %s\n", err_hint(err));
	return err_code_exit(err->code);
}

/* Flags are read twice: they say where the file is, and they stand over it. */
static enum err_code read_settings(struct settings *settings, int argc, char **argv, struct err *err)
{
	enum err_code code = settings_load_flags(settings, argc, argv, err);
	if (code != ERR_OK)
		return code;
	const char *config = settings_string(settings, SETTING_CONFIG);
	_cleanup_free_ char *usual = xasprintf("%s/dlhubd.conf", settings_string(settings, SETTING_DATA));
	if (*config || fs_exists(usual)) {
		_cleanup_free_ char *path = xstrdup(*config ? config : usual);
		code = settings_load_file(settings, path, err);
	}
	if (code == ERR_OK)
		code = settings_load_environment(settings, environ, err);
	if (code == ERR_OK)
		code = settings_load_flags(settings, argc, argv, err);
	return code;
}

static char *find_programs(const struct settings *settings)
{
	const char *given = settings_string(settings, SETTING_WORKER_PROGRAMS);
	if (*given)
		return xstrdup(given);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len < 0)
		return xstrdup("/usr/bin");
	self[len] = '\0';
	char *folder = dirname(self);
	_cleanup_free_ char *libexec = xasprintf("%s/../libexec/dlhub", folder);
	_cleanup_free_ char *worker = xasprintf("%s/dlhub-worker-native", libexec);
	return fs_exists(worker) ? TAKE(libexec) : xstrdup(folder);
}

/* --- events --- */

static void on_task(void *context, const char *task)
{
	struct hub *hub = context;
	if (hub->http)
		http_server_task_changed(hub->http, task);
}

/* Its publisher wants workers that wait for runs, not the other way round. */
static void on_newest(void *context, struct servable *servable, const struct err *err)
{
	struct hub *hub = context;
	if (servable && servable->options.replicas_min > 0)
		(void)scheduler_load(hub->scheduler, servable, NULL);
}

static void on_visible(void *context, const char *owner, const char *name)
{
	struct hub *hub = context;
	struct servable *servable = NULL;
	struct err err = ERR_INIT;
	_cleanup_(principal_unrefp) const struct principal *hub_itself = principal_create("", NULL, 0, true);
	lookup_forget_servable(hub->lookup, owner, name);
	if (lookup_servable(hub->lookup, hub_itself, str_of(owner), str_of(name), STR(""), &servable, on_newest, hub,
			    &err) == LOOKUP_DONE)
		on_newest(hub, servable, &err);
	servable_unref(servable);
	err_done(&err);
}

static void on_answered(void *context)
{
	struct hub *hub = context;
	loop_stop(hub->loop);
}

static void on_door_answered(void *context)
{
	struct hub *hub = context;
	if (--hub->unanswered == 0)
		on_answered(hub);
}

/* The runs have ended and their outcomes are written. */
static void on_recorded(void *context)
{
	struct hub *hub = context;
	timer_start(hub->grace, ANSWER_MS, 0);
	hub->unanswered = hub->grpc ? 2 : 1;
	http_server_finish(hub->http, on_door_answered, hub);
	if (hub->grpc)
		grpc_server_finish(hub->grpc, on_door_answered, hub);
}

static void on_drained(void *context)
{
	struct hub *hub = context;
	timer_start(hub->grace, RECORD_MS, 0);
	tasks_finish(hub->tasks, on_recorded, hub);
}

static void begin_end(struct hub *hub)
{
	hub->ending = true;
	log_info("ending: waiting for the runs under way");
	http_server_quiesce(hub->http);
	grpc_server_quiesce(hub->grpc);
	publisher_quiesce(hub->publisher);
	tasks_quiesce(hub->tasks);
	scheduler_drain(hub->scheduler, DRAIN_MS, on_drained, hub);
}

static void on_signal(void *context)
{
	struct hub *hub = context;
	hub->again = false; /* to end stands over to start anew */
	if (hub->ending)
		loop_stop(hub->loop); /* asked twice: at once */
	else
		begin_end(hub);
}

static void on_restart(void *context)
{
	struct hub *hub = context;
	if (hub->ending)
		return;
	struct err err = ERR_INIT;
	_cleanup_(settings_destroyp) struct settings *fresh = settings_create();
	if (read_settings(fresh, hub->argc, hub->argv, &err) != ERR_OK) {
		log_error("not starting anew: %s", err_text(&err));
		err_done(&err);
		return;
	}
	hub->again = true;
	begin_end(hub);
}

/* --- what need not be done before the first request --- */

static bool sandbox_required(const struct hub *hub)
{
	return strcmp(settings_string(hub->settings, SETTING_WORKER_SANDBOX), "require") == 0;
}

/* Before the hub listens: one that must have every wall does not serve without. */
static enum err_code require_sandbox(struct hub *hub, struct err *err)
{
	char missing[256];
	if (!sandbox_required(hub))
		return ERR_OK;
	hub->sandbox = sandbox_probe();
	if (hub->sandbox == SANDBOX_ALL)
		return ERR_OK;
	sandbox_format(SANDBOX_ALL & ~hub->sandbox, missing, sizeof(missing));
	err_set(err, ERR_FAILED_PRECONDITION, "worker.sandbox is 'require', and this host does not allow: %s", missing);
	return err_advise(err, "`dlhub doctor` says how to allow it; --worker.sandbox auto serves with the rest of the walls");
}

static void probe_sandbox(void *context)
{
	struct hub *hub = context;
	if (!sandbox_required(hub))
		hub->sandbox = sandbox_probe_finish(&hub->probe);
}

static void sandbox_probed(void *context)
{
	struct hub *hub = context;
	char text[256], missing[256];
	sandbox_format(hub->sandbox, text, sizeof(text));
	if (hub->http)
		http_server_set_sandbox(hub->http, hub->sandbox);
	if (hub->sandbox == SANDBOX_ALL) {
		log_info("sandbox: %s", text);
		return;
	}
	sandbox_format(SANDBOX_ALL & ~hub->sandbox, missing, sizeof(missing));
	log_warning("sandbox: %s; this host does not allow: %s; `dlhub doctor` says how to allow it", text, missing);
}

static void recover(void *context)
{
	struct hub *hub = context;
	struct err err = ERR_INIT;
	if (publisher_recover(hub->publisher, &err) != ERR_OK)
		log_warning("cleaning up: %s", err_text(&err));
	err_done(&err);
	if (uploads_recover(hub->uploads, &err) != ERR_OK)
		log_warning("cleaning up blobs: %s", err_text(&err));
	err_done(&err);
	if (tasks_recover(hub->tasks, &err) != ERR_OK)
		log_error("asynchronous tasks of before wait for the next start: %s", err_text(&err));
	err_done(&err);
}

static void recovered(void *context)
{
	struct hub *hub = context;
	uploads_begin_work(hub->uploads);
	tasks_begin_work(hub->tasks);
	publisher_begin_work(hub->publisher);
}

/* --- life --- */

/* Where it stands by default it may be missing (the path is too long, the disk has no sockets): other doors are there. */
static enum err_code open_lend_door(struct hub *hub, struct err *err)
{
	struct err why = ERR_INIT;
	enum err_code code = lend_door_open(&(struct lend_parts){ .loop = hub->loop,
								  .settings = hub->settings,
								  .data = hub->data.path,
								  .lookup = hub->lookup,
								  .regions = hub->regions },
					    &hub->lend, &why);
	if (code == ERR_OK)
		return ERR_OK;
	if (*settings_string(hub->settings, SETTING_LOCAL))
		return err_move(err, &why);
	log_warning("no shared memory for local clients: %s", err_text(&why));
	err_done(&why);
	return ERR_OK;
}

static enum err_code build(struct hub *hub, struct err *err)
{
	enum err_code code = data_folder_open(settings_string(hub->settings, SETTING_DATA), &hub->data, err);
	if (code != ERR_OK)
		return code;
	bool restored;
	if ((code = backup_take_over(hub->data.path, &restored, err)) != ERR_OK)
		return err_wrap(err, "taking over the restored backup");
	if (restored)
		log_info("the restored backup is in place");
	if ((code = catalog_open(hub->data.path, hub->settings, &hub->catalog, err)) != ERR_OK)
		return code;
	bool made;
	if ((code = data_folder_first_start(&hub->data, hub->catalog, &made, err)) != ERR_OK)
		return code;
	if (made)
		log_info("first start: the administrator's token is in %s/admin.token", hub->data.path);
	if ((code = blob_store_open(hub->data.path, &hub->blobs, err)) != ERR_OK)
		return code;
	if ((code = loop_create(&hub->loop, err)) != ERR_OK)
		return code;
	hub->programs = find_programs(hub->settings);
	hub->executor = local_executor_create(hub->loop, hub->settings, hub->programs);
	code = sites_create(&(struct sites_parts){ .loop = hub->loop,
						   .settings = hub->settings,
						   .data = hub->data.path,
						   .catalog = hub->catalog,
						   .blobs = hub->blobs,
						   .local = hub->executor },
			    &hub->sites, err);
	if (code != ERR_OK)
		return code;
	hub->statistics = statistics_create((size_t)settings_int(hub->settings, SETTING_LIMITS_ROUTE_CACHE));
	hub->scheduler = scheduler_create(hub->loop, hub->settings, sites_executor(hub->sites), hub->statistics);
	hub->lookup = lookup_create(hub->loop, hub->settings, hub->catalog, hub->data.path);
	hub->runs = run_path_create(&(struct run_path_parts){ .loop = hub->loop,
							      .settings = hub->settings,
							      .catalog = hub->catalog,
							      .scheduler = hub->scheduler,
							      .lookup = hub->lookup,
							      .statistics = hub->statistics });
	hub->publisher = publisher_create(&(struct publisher_parts){ .loop = hub->loop,
								     .settings = hub->settings,
								     .data = hub->data.path,
								     .programs = hub->programs,
								     .catalog = hub->catalog,
								     .blobs = hub->blobs,
								     .scheduler = hub->scheduler,
								     .runs = hub->runs,
								     .on_task = on_task,
								     .on_visible = on_visible,
								     .context = hub });
	hub->metrics = metrics_create();
	hub->own_metrics = (struct hub_metrics){ .loop = hub->loop, .scheduler = hub->scheduler, .publisher = hub->publisher,
						 .started_wall_ms = clock_wall_ms() };
	metrics_add(hub->metrics, hub_metrics_collect, &hub->own_metrics);
	metrics_add(hub->metrics, sites_collect, hub->sites);
	metrics_add(hub->metrics, run_path_collect, hub->runs);
	hub->tracer = tracer_create(hub->loop, hub->settings, hub->metrics);
	hub->reporter = run_reporter_create(hub->settings, hub->statistics, hub->tracer);
	code = outgoing_policy_check(settings_string(hub->settings, SETTING_FETCH_ALLOW), err);
	if (code != ERR_OK)
		return err_wrap(err, "fetch.allow");
	hub->uploads = uploads_create(hub->loop, hub->settings, hub->data.path, hub->catalog);
	hub->tasks = tasks_create(&(struct tasks_parts){ .loop = hub->loop,
							 .settings = hub->settings,
							 .data = hub->data.path,
							 .catalog = hub->catalog,
							 .lookup = hub->lookup,
							 .runs = hub->runs,
							 .reporter = hub->reporter });
	hub->regions = regions_create(hub->settings);
	if ((code = open_lend_door(hub, err)) != ERR_OK)
		return code;
	metrics_add(hub->metrics, tasks_collect, hub->tasks);
	code = http_server_start(&(struct http_parts){ .loop = hub->loop,
						       .settings = hub->settings,
						       .data = hub->data.path,
						       .catalog = hub->catalog,
						       .blobs = hub->blobs,
						       .scheduler = hub->scheduler,
						       .lookup = hub->lookup,
						       .runs = hub->runs,
						       .statistics = hub->statistics,
						       .regions = hub->regions,
						       .local_socket = lend_door_path(hub->lend),
						       .metrics = hub->metrics,
						       .reporter = hub->reporter,
						       .publisher = hub->publisher,
						       .uploads = hub->uploads,
						       .tasks = hub->tasks,
						       .sites = sites_desk(hub->sites) },
				 &hub->http, err);
	if (code != ERR_OK)
		return code;
	return grpc_server_start(&(struct grpc_parts){ .loop = hub->loop,
						       .settings = hub->settings,
						       .catalog = hub->catalog,
						       .lookup = hub->lookup,
						       .scheduler = hub->scheduler,
						       .regions = hub->regions,
						       .runs = hub->runs,
						       .reporter = hub->reporter,
						       .statistics = hub->statistics,
						       .metrics = hub->metrics },
				 &hub->grpc, err);
}

static void teardown(struct hub *hub)
{
	if (hub->loop)
		loop_finish_pool(hub->loop); /* while all that its work uses is there */
	publisher_destroy(hub->publisher);
	tasks_end(hub->tasks);
	scheduler_destroy(hub->scheduler); /* completes what waits, so that connections can be answered */
	grpc_server_stop(hub->grpc);
	run_path_destroy(hub->runs);
	http_server_stop(hub->http);
	hub->http = NULL;
	lend_door_close(hub->lend);
	tasks_destroy(hub->tasks);
	uploads_destroy(hub->uploads);
	lookup_destroy(hub->lookup);
	run_reporter_destroy(hub->reporter);
	tracer_destroy(hub->tracer);
	regions_destroy(hub->regions);
	statistics_destroy(hub->statistics);
	metrics_destroy(hub->metrics);
	sites_destroy(hub->sites);
	local_executor_destroy(hub->executor);
	signal_watch_close(hub->on_term);
	signal_watch_close(hub->on_int);
	signal_watch_close(hub->on_hup);
	timer_close(hub->grace);
	if (hub->loop)
		loop_destroy(hub->loop);
	blob_store_close(hub->blobs);
	catalog_close(hub->catalog);
	data_folder_close(&hub->data);
	settings_destroy(hub->settings);
	free(hub->programs);
}

static int check(const struct settings *settings, const char *data, const char *unused)
{
	struct err err = ERR_INIT;
	struct catalog *catalog = NULL;
	_cleanup_free_ char *format = xasprintf("%s/format", data);
	enum err_code code = fs_exists(format) ? catalog_open(data, settings, &catalog, &err) :
						 err_set(&err, ERR_NOT_FOUND, "%s is no data folder of DLHub", data);
	if (code == ERR_OK)
		code = catalog_check(catalog, &err);
	int status = code == ERR_OK ? 0 : complain(&err);
	if (code == ERR_OK)
		printf("sound: %s\n", data);
	catalog_close(catalog);
	err_done(&err);
	return status;
}

static int back_up(const struct settings *settings, const char *data, const char *file)
{
	struct err err = ERR_INIT;
	int status = backup_write(settings, data, file, &err) == ERR_OK ? 0 : complain(&err);
	if (status == 0)
		printf("written: %s\n", file);
	err_done(&err);
	return status;
}

static int restore(const struct settings *settings, const char *data, const char *file)
{
	struct err err = ERR_INIT;
	int hub = 0;
	int status = backup_stage(settings, data, file, &hub, &err) == ERR_OK ? 0 : complain(&err);
	if (status == 0 && hub)
		printf("restored: the running hub (process %d) takes it over now\n", hub);
	else if (status == 0)
		printf("restored: the next start of dlhubd on %s takes it over\n", data);
	err_done(&err);
	return status;
}

/* What dlhubd does besides serving: each ends the program. */
static const struct {
	const char *flag;
	bool takes_file;
	int (*run)(const struct settings *settings, const char *data, const char *file);
} commands[] = { { "--check", false, check }, { "--backup", true, back_up }, { "--restore", true, restore } };

static void raise_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int serve(struct hub *hub)
{
	struct err err = ERR_INIT;
	if (!sandbox_required(hub))
		sandbox_probe_start(&hub->probe);
	if (require_sandbox(hub, &err) != ERR_OK || build(hub, &err) != ERR_OK) {
		int status = complain(&err);
		if (!sandbox_required(hub))
			(void)sandbox_probe_finish(&hub->probe);
		err_done(&err);
		return status;
	}
	hub->on_term = signal_watch_create(hub->loop, SIGTERM, on_signal, hub);
	hub->on_int = signal_watch_create(hub->loop, SIGINT, on_signal, hub);
	hub->on_hup = signal_watch_create(hub->loop, SIGHUP, on_restart, hub);
	hub->grace = timer_create_on(hub->loop, on_answered, hub);
	if (*sites_address(hub->sites))
		log_info("sites dial in at %s", sites_address(hub->sites));
	printf("dlhubd %s ready%s%s%s http://%s\n", DLHUB_VERSION, hub->grpc ? ": gRPC at " : "", grpc_server_address(hub->grpc),
	       hub->grpc ? ", REST at" : " at",
	       http_server_address(hub->http));
	fflush(stdout);
	if (!pool_submit(hub->loop, LANE_DISK, probe_sandbox, sandbox_probed, hub) ||
	    !pool_submit(hub->loop, LANE_DISK, recover, recovered, hub))
		abort();
	loop_run(hub->loop);
	log_info("ended");
	return 0;
}

/* The same program with the same flags, on the addresses that it had; `sites` empty: as its settings say. */
static int start_again(char **argv, int argc, const char *http, const char *grpc, const char *sites)
{
	char **again = xcalloc((size_t)argc + 7, sizeof(*again));
	memcpy(again, argv, (size_t)argc * sizeof(*again));
	again[argc++] = (char *)"--http";
	again[argc++] = (char *)http;
	again[argc++] = (char *)"--grpc";
	again[argc++] = (char *)grpc;
	if (*sites) {
		again[argc++] = (char *)"--sites";
		again[argc++] = (char *)sites;
	}
	execv("/proc/self/exe", again);
	log_error("cannot start again");
	free(again);
	return 1;
}

int main(int argc, char **argv)
{
	int kept = 1, command = -1;
	const char *file = NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return usage();
		if (strcmp(argv[i], "--version") == 0)
			return printf("dlhubd %s\n", DLHUB_VERSION) < 0;
		size_t k = 0;
		while (k < ARRAY_SIZE(commands) && strcmp(argv[i], commands[k].flag) != 0)
			k++;
		if (k == ARRAY_SIZE(commands)) {
			argv[kept++] = argv[i];
			continue;
		}
		command = (int)k;
		if (commands[k].takes_file && i + 1 == argc) {
			fprintf(stderr, "dlhubd: %s needs a file\n", argv[i]);
			return err_code_exit(ERR_INVALID_ARGUMENT);
		}
		if (commands[k].takes_file)
			file = argv[++i];
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_DUMPABLE, 0); /* its memory is not for other processes of the same user */
	raise_open_files();
	struct hub hub = { .data.lock_fd = -1 };
	struct err err = ERR_INIT;
	hub.settings = settings_create();
	int status;
	hub.argc = kept - 1;
	hub.argv = argv + 1;
	enum err_code code = read_settings(hub.settings, hub.argc, hub.argv, &err);
	enum log_level level;
	if (code == ERR_OK && log_level_parse(settings_string(hub.settings, SETTING_LOG_LEVEL), &level))
		log_set_level(level);
	if (code == ERR_OK)
		log_set_json(strcmp(settings_string(hub.settings, SETTING_LOG_FORMAT), "json") == 0);
	if (code != ERR_OK)
		status = complain(&err);
	else if (command >= 0)
		status = commands[command].run(hub.settings, settings_string(hub.settings, SETTING_DATA), file);
	else
		status = serve(&hub);
	char http[64] = "", grpc[64] = "", sites[64] = "";
	if (hub.again) {
		str_copy(http, sizeof(http), http_server_address(hub.http));
		str_copy(grpc, sizeof(grpc), grpc_server_address(hub.grpc));
		if (str_ends(settings_string(hub.settings, SETTING_SITES), ":0")) /* a free one was taken */
			str_copy(sites, sizeof(sites), sites_address(hub.sites));
	}
	err_done(&err);
	teardown(&hub);
	return hub.again ? start_again(argv, kept, http, grpc, sites) : status;
}
