#include "hub/hub.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "hub/backup.h"
#include "io/fs.h"
#include "io/outgoing_policy.h"

#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

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

static void on_visible(void *context, const char *owner, const char *name)
{
	struct hub *hub = context;
	lookup_forget_servable(hub->lookup, owner, name);
	warm_newest(hub->warm, owner, name);
}

/* --- the parts --- */

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

enum err_code hub_build(struct hub *hub, struct err *err)
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
	hub->warm = warm_create(&(struct warm_parts){ .loop = hub->loop,
						      .settings = hub->settings,
						      .catalog = hub->catalog,
						      .lookup = hub->lookup,
						      .scheduler = hub->scheduler });
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

void hub_end(struct hub *hub)
{
	if (hub->loop)
		loop_finish_pool(hub->loop); /* while all that its work uses is there */
	warm_destroy(hub->warm);
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
}

void hub_close(struct hub *hub)
{
	if (hub->loop)
		loop_destroy(hub->loop);
	blob_store_close(hub->blobs);
	catalog_close(hub->catalog);
	data_folder_close(&hub->data);
	free(hub->programs);
}
