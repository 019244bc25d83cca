#include "hub/warm.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"

struct warm {
	struct warm_parts parts;
	json_t *names; /* owned; OWNER/NAME of those that want workers */
	size_t at;     /* of the next */
	struct err err;
	bool ending;
};

struct warm *warm_create(const struct warm_parts *parts)
{
	struct warm *warm = NEW(struct warm);
	*warm = (struct warm){ .parts = *parts, .names = json_array(), .err = ERR_INIT };
	return warm;
}

void warm_quiesce(struct warm *warm)
{
	warm->ending = true;
}

void warm_destroy(struct warm *warm)
{
	if (!warm)
		return;
	json_decref(warm->names);
	err_done(&warm->err);
	free(warm);
}

static void load(struct warm *warm, struct servable *servable)
{
	if (servable && servable->options.replicas_min > 0 && !warm->ending)
		(void)scheduler_load(warm->parts.scheduler, servable, NULL);
}

static enum lookup_state look_up(struct warm *warm, struct str owner, struct str name, lookup_servable_fn done,
				 struct servable **ret)
{
	struct err err = ERR_INIT;
	_cleanup_(principal_unrefp) const struct principal *hub_itself = principal_create("", NULL, 0, true);
	enum lookup_state state =
		lookup_servable(warm->parts.lookup, hub_itself, owner, name, STR(""), ret, done, warm, &err);
	err_done(&err); /* it may be removed by now; else it is loaded when it is first run */
	return state;
}

/* --- one --- */

static void on_newest(void *context, struct servable *servable, const struct err *err)
{
	load(context, servable);
}

void warm_newest(struct warm *warm, const char *owner, const char *name)
{
	struct servable *servable = NULL;
	if (look_up(warm, str_of(owner), str_of(name), on_newest, &servable) == LOOKUP_DONE)
		load(warm, servable);
	servable_unref(servable);
}

/* --- all --- */

/* On the pool. */
static void add(void *context, const char *full_name)
{
	struct warm *warm = context;
	json_array_append_new(warm->names, json_string(full_name));
}

static void ask(void *context)
{
	struct warm *warm = context;
	(void)!catalog_each_warm(warm->parts.catalog, add, warm, &warm->err);
}

static void go_on(struct warm *warm);

static void on_looked_up(void *context, struct servable *servable, const struct err *err)
{
	struct warm *warm = context;
	load(warm, servable);
	go_on(warm);
}

/* One more than there is room for would take another's place. */
static bool has_room(const struct warm *warm)
{
	size_t most = (size_t)settings_int(warm->parts.settings, SETTING_WORKER_MAX);
	if (scheduler_worker_count(warm->parts.scheduler) < most)
		return true;
	log_warning("%zu servables with replicas.min start when they are first run: there are %zu workers (worker.max)",
		    json_array_size(warm->names) - warm->at, most);
	return false;
}

static void go_on(struct warm *warm)
{
	while (!warm->ending && warm->at < json_array_size(warm->names) && has_room(warm)) {
		struct str owner = str_of(json_string_value(json_array_get(warm->names, warm->at++))), name;
		size_t slash = strcspn(owner.data, "/");
		name = (struct str){ owner.data + slash + 1, owner.len - slash - 1 };
		owner.len = slash;
		struct servable *servable = NULL;
		if (look_up(warm, owner, name, on_looked_up, &servable) == LOOKUP_WAITS)
			return; /* on_looked_up() goes on */
		load(warm, servable);
		servable_unref(servable);
	}
}

static void on_asked(void *context)
{
	struct warm *warm = context;
	if (warm->err.code != ERR_OK)
		log_warning("workers that shall wait for runs start with the first of them: %s", err_text(&warm->err));
	go_on(warm);
}

void warm_begin_work(struct warm *warm)
{
	if (!pool_submit(warm->parts.loop, LANE_CATALOG, ask, on_asked, warm))
		log_warning("workers that shall wait for runs start with the first of them: the hub is busy");
}
