#include "site/sites.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"
#include "io/zsocket.h"
#include "site/local.h"
#include "site/place.h"
#include "site/remote.h"

#include <unistd.h>

#define TICKS 4 /* in the time after which silence counts */
#define KEY_FILE_BYTES 256

struct site {
	struct site *next;
	struct site_row row;
	struct remote *remote;
};

struct sites {
	struct executor executor;
	struct sites_parts parts;
	struct zsocket *zsocket; /* NULL: takes none */
	struct zkey key;
	struct artifacts *artifacts;
	struct timer *tick;
	struct site *list; /* by name */
	struct site_desk desk;
	char address[128];
	bool reading, read_again;
	struct waiter *waiters; /* for the next reading */
};

static struct site *find(const struct sites *sites, const char *name)
{
	struct site *site = sites->list;
	while (site && strcmp(site->row.name, name) != 0)
		site = site->next;
	return site;
}

/* --- the socket --- */

static bool on_admit(void *context, const char *key, char *ret_name)
{
	struct sites *sites = context;
	for (struct site *site = sites->list; site; site = site->next)
		if (strcmp(site->row.public_key, key) == 0)
			return str_copy(ret_name, ZSOCKET_NAME_SIZE, site->row.name);
	log_warning("a site was refused: its key is not registered here");
	return false;
}

static bool send_to(void *context, uint32_t peer, const struct iovec *parts, size_t count)
{
	struct sites *sites = context;
	return zsocket_send(sites->zsocket, peer, parts, count);
}

static void refuse(struct sites *sites, uint32_t peer, const struct err *why)
{
	_cleanup_free_ char *text = error_format(why, (struct str){ 0 }, 0);
	struct site_header header = { .length = strlen(text), .type = SITE_REFUSE };
	struct iovec parts[] = { { &header, sizeof(header) }, { text, strlen(text) } };
	(void)zsocket_send(sites->zsocket, peer, parts, ARRAY_SIZE(parts));
}

struct seen {
	struct catalog *catalog;
	char name[64];
};

static void write_seen(void *context)
{
	struct seen *seen = context;
	struct err err = ERR_INIT;
	if (catalog_site_seen(seen->catalog, seen->name, clock_wall_ms(), &err) != ERR_OK)
		log_error("site %s: %s", seen->name, err_text(&err));
	err_done(&err);
}

static void note_seen(struct sites *sites, struct site *site)
{
	site->row.seen_ms = clock_wall_ms();
	struct seen *seen = NEW(struct seen);
	seen->catalog = sites->parts.catalog;
	str_copy(seen->name, sizeof(seen->name), site->row.name);
	if (!pool_submit(sites->parts.loop, LANE_CATALOG, write_seen, free, seen))
		free(seen); /* the next time */
}

/* The first message of a connection. */
static void on_first(struct sites *sites, struct site *site, uint32_t peer, const uint8_t *data, size_t len)
{
	struct site_header header;
	const uint8_t *body;
	struct site_hello hello = { 0 };
	struct err err = ERR_INIT;
	enum err_code code;
	if (site_peek(data, len, &header, &body) != 1 || header.type != SITE_HELLO)
		code = err_set(&err, ERR_UNAVAILABLE, "the connection is not known here (any more)");
	else
		code = hello_parse((struct str){ (const char *)body, header.length }, &hello, &err);
	if (code == ERR_OK)
		code = remote_arrive(site->remote, peer, &hello, &err);
	if (code == ERR_OK) {
		log_info("site %s is connected: dlhub-site %s, %lld cores", site->row.name, hello.hardware.program,
			 (long long)hello.hardware.cores);
		note_seen(sites, site);
	} else {
		log_warning("site %s was turned away: %s", site->row.name, err_text(&err));
		refuse(sites, peer, &err);
	}
	hello_done(&hello);
	err_done(&err);
}

static void on_message(void *context, uint32_t peer, const char *name, const uint8_t *data, size_t len)
{
	struct sites *sites = context;
	struct site *site = find(sites, name);
	struct err err = ERR_INIT;
	if (!site)
		return; /* removed while it was connected */
	if (!remote_has_peer(site->remote, peer))
		on_first(sites, site, peer, data, len);
	else if (remote_receive(site->remote, data, len, &err) != ERR_OK)
		log_warning("site %s: %s; its connection is ended", name, err_text(&err));
	err_done(&err);
}

static void on_tick(void *context)
{
	struct sites *sites = context;
	for (struct site *site = sites->list; site; site = site->next) {
		enum remote_change change = remote_tick(site->remote);
		if (change == REMOTE_OUT_OF_REACH)
			log_warning("site %s is out of reach", site->row.name);
		if (change == REMOTE_GIVEN_UP)
			log_warning("site %s did not come back in time (sites.grace_s): its runs are given up", site->row.name);
		if (change != REMOTE_SAME)
			note_seen(sites, site);
	}
}

/* --- who they are --- */

static void site_free(struct site *site, bool silent)
{
	remote_destroy(site->remote, silent);
	site_row_done(&site->row);
	free(site);
}

static void take_rows(struct sites *sites, struct site_row *rows, size_t count)
{
	struct site *kept = NULL, **at = &kept;
	for (size_t i = 0; i < count; i++) {
		struct site **link = &sites->list;
		while (*link && (strcmp((*link)->row.name, rows[i].name) != 0 ||
				 strcmp((*link)->row.public_key, rows[i].public_key) != 0))
			link = &(*link)->next;
		struct site *site = *link;
		if (site) {
			*link = site->next;
			rows[i].seen_ms = MAX(rows[i].seen_ms, site->row.seen_ms);
			site_row_done(&site->row);
		} else {
			const struct remote_options options = { .loop = sites->parts.loop,
								.settings = sites->parts.settings,
								.artifacts = sites->artifacts,
								.name = rows[i].name,
								.send = send_to,
								.context = sites };
			site = NEW(struct site);
			site->remote = remote_create(&options);
		}
		site->row = rows[i];
		site->next = NULL;
		*at = site;
		at = &site->next;
	}
	free(rows);
	struct site *removed = sites->list;
	sites->list = kept;
	for (struct site *next; removed; removed = next) {
		next = removed->next;
		site_free(removed, false);
	}
}

/* Someone who waits until a change can be seen. */
struct waiter {
	struct waiter *next;
	void (*done)(void *context);
	void *context;
};

struct reading {
	struct sites *sites;
	struct waiter *waiters; /* who asked before the reading began */
	struct site_row *rows;
	size_t count;
	struct err err;
};

static void start_reading(struct sites *sites);

static void end_waiting(struct waiter *waiters)
{
	for (struct waiter *next; waiters; waiters = next) {
		next = waiters->next;
		waiters->done(waiters->context);
		free(waiters);
	}
}

static void read_rows(void *context)
{
	struct reading *reading = context;
	(void)!catalog_sites_list(reading->sites->parts.catalog, &reading->rows, &reading->count, &reading->err);
}

static void rows_read(void *context)
{
	struct reading *reading = context;
	struct sites *sites = reading->sites;
	if (reading->err.code == ERR_OK)
		take_rows(sites, reading->rows, reading->count);
	else
		log_error("reading the sites: %s", err_text(&reading->err));
	end_waiting(reading->waiters);
	err_done(&reading->err);
	free(reading);
	sites->reading = false;
	if (sites->read_again)
		start_reading(sites);
}

static void start_reading(struct sites *sites)
{
	sites->read_again = sites->reading;
	if (sites->reading)
		return;
	struct reading *reading = NEW(struct reading);
	reading->sites = sites;
	reading->waiters = sites->waiters;
	sites->waiters = NULL;
	sites->reading = pool_submit(sites->parts.loop, LANE_CATALOG, read_rows, rows_read, reading);
	if (!sites->reading) {
		log_error("reading the sites: the hub is busy");
		end_waiting(reading->waiters);
		free(reading);
	}
}

static void on_changed(void *context, void (*done)(void *done_context), void *done_context)
{
	struct sites *sites = context;
	if (done) {
		struct waiter *waiter = NEW(struct waiter);
		*waiter = (struct waiter){ .next = sites->waiters, .done = done, .context = done_context };
		sites->waiters = waiter;
	}
	start_reading(sites);
}

static json_t *list_one(const struct site *site)
{
	struct remote_state state;
	char text[CLOCK_RFC3339_SIZE];
	remote_get_state(site->remote, &state);
	const struct site_hardware *hardware = &state.hardware;
	_cleanup_json_ json_t *access = json_loads(site->row.visible_to, 0, NULL);
	clock_format_rfc3339(site->row.created_ms, text);
	json_t *json = json_pack("{s:s, s:O*, s:s, s:s, s:I, s:I}", "name", site->row.name, "visible_to",
				 json_object_get(access, "visible_to"), "created", text, "state",
				 !state.connected ? state.workers ? "out of reach" : "away" :
				 state.leaving	  ? "leaving" :
						    "connected",
				 "workers", (json_int_t)state.workers, "runs", (json_int_t)state.runs);
	clock_format_rfc3339(state.connected ? clock_wall_ms() : site->row.seen_ms, text);
	if (state.connected || site->row.seen_ms)
		json_object_set_new(json, "seen", json_string(text));
	if (state.connected)
		json_object_set_new(json, "round_trip_us", json_integer(state.rtt_ns / 1000));
	if (!hardware->cores)
		return json;
	_cleanup_json_ json_t *more = json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:b}", "program", hardware->program, "capacity",
						(json_int_t)hardware->capacity, "cores", (json_int_t)hardware->cores, "memory_bytes",
						(json_int_t)hardware->memory_bytes, "gpus", (json_int_t)hardware->gpus, "python",
						hardware->python, "native", (int)hardware->native);
	json_object_update(json, more);
	return json;
}

static json_t *on_list(void *context)
{
	struct sites *sites = context;
	json_t *list = json_array();
	for (struct site *site = sites->list; site; site = site->next)
		json_array_append_new(list, list_one(site));
	return list;
}

static void collect_family(const struct sites *sites, struct buf *out, const char *name, enum metric_type type, const char *help,
			   double (*value)(const struct remote_state *state))
{
	metric_family(out, name, type, help);
	for (const struct site *site = sites->list; site; site = site->next) {
		struct remote_state state;
		char label[128] = "";
		remote_get_state(site->remote, &state);
		metric_label(label, sizeof(label), "site", site->row.name);
		metric_sample(out, name, NULL, label, value(&state));
	}
}

static double value_up(const struct remote_state *state)
{
	return state->connected;
}

static double value_workers(const struct remote_state *state)
{
	return (double)state->workers;
}

static double value_round_trip(const struct remote_state *state)
{
	return (double)state->rtt_ns / 1e9;
}

static double value_pulled(const struct remote_state *state)
{
	return (double)state->pulled_bytes;
}

void sites_collect(void *context, struct buf *out)
{
	struct sites *sites = context;
	if (!sites->list)
		return;
	collect_family(sites, out, "dlhub_site_up", METRIC_GAUGE, "Whether the site is connected", value_up);
	collect_family(sites, out, "dlhub_site_workers", METRIC_GAUGE, "Workers at the site", value_workers);
	collect_family(sites, out, "dlhub_site_round_trip_seconds", METRIC_GAUGE, "Shortest of the last round trips to the site",
		       value_round_trip);
	collect_family(sites, out, "dlhub_site_pulled_bytes_total", METRIC_COUNTER,
		       "Artifacts and named inputs that the site has pulled", value_pulled);
}

/* --- the executor in front --- */

static struct place place_here(struct sites *sites)
{
	return (struct place){ .open = settings_int(sites->parts.settings, SETTING_WORKER_LOCAL),
			       .admits = true,
			       .runs = true,
			       .cores = sysconf(_SC_NPROCESSORS_ONLN),
			       .memory_bytes = INT64_MAX,
			       .workers = (int64_t)local_executor_worker_count(sites->parts.local),
			       .capacity = settings_int(sites->parts.settings, SETTING_WORKER_MAX) };
}

static struct place place_there(const struct site *site, const struct worker_spec *spec)
{
	struct remote_state state;
	remote_get_state(site->remote, &state);
	bool native = strcmp(spec->program, "native") == 0;
	return (struct place){ .name = site->row.name,
			       .open = state.connected && !state.leaving,
			       .admits = site_row_admits(&site->row, spec->owner),
			       .runs = native ? state.hardware.native : *state.hardware.python != '\0',
			       .has_version = remote_has_version(site->remote, spec->digest),
			       .cores = state.hardware.cores,
			       .memory_bytes = state.hardware.memory_bytes,
			       .workers = (int64_t)state.workers,
			       .capacity = state.hardware.capacity };
}

static enum err_code worker_start(struct executor *executor, const struct worker_spec *spec, const struct worker_events *events,
				  struct worker **ret, struct err *err)
{
	struct sites *sites = CONTAINER_OF(executor, struct sites, executor);
	size_t count = 1, chosen;
	for (struct site *site = sites->list; site; site = site->next)
		count++;
	_cleanup_free_ struct place *places = xcalloc(count, sizeof(*places));
	places[0] = place_here(sites);
	count = 1;
	for (struct site *site = sites->list; site; site = site->next)
		places[count++] = place_there(site, spec);
	enum err_code code = place_choose(places, count, spec->memory_bytes, &chosen, err);
	if (code != ERR_OK)
		return code;
	struct executor *there =
		chosen == 0 ? sites->parts.local : remote_executor(find(sites, places[chosen].name)->remote);
	return there->ops->start(there, spec, events, ret, err);
}

static size_t capacity(const struct executor *executor)
{
	const struct sites *sites = CONTAINER_OF(executor, const struct sites, executor);
	const struct settings *settings = sites->parts.settings;
	int64_t count = settings_int(settings, SETTING_WORKER_LOCAL) ? settings_int(settings, SETTING_WORKER_MAX) : 0;
	for (const struct site *site = sites->list; site; site = site->next) {
		struct remote_state state;
		remote_get_state(site->remote, &state);
		count += state.connected && !state.leaving ? state.hardware.capacity : (int64_t)state.workers;
	}
	return (size_t)MAX(count, 1); /* with no place at all start() says what is wrong */
}

/* A worker is of the executor that has it; only these come here. */
static const struct executor_ops ops = { .start = worker_start, .capacity = capacity };

/* --- life --- */

static enum err_code read_key(struct sites *sites, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/sites.key", sites->parts.data);
	if (!fs_exists(path)) {
		zkey_make(&sites->key);
		_cleanup_free_ char *line = xasprintf("%s\n", sites->key.secret);
		return fs_write_durable(path, line, strlen(line), 0600, err);
	}
	struct buf text;
	buf_init(&text, KEY_FILE_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK && text.len && text.data[text.len - 1] == '\n')
		text.data[text.len - 1] = '\0';
	if (code == ERR_OK)
		code = zkey_of_secret(text.data ? text.data : "", &sites->key, err);
	buf_done(&text);
	return code == ERR_OK ? ERR_OK : err_wrap(err, "reading %s", path);
}

static enum err_code start_listening(struct sites *sites, const char *address, struct err *err)
{
	const struct zsocket_events events = { .on_message = on_message, .on_admit = on_admit, .context = sites };
	int64_t silence_ms = settings_int(sites->parts.settings, SETTING_SITES_SILENCE_MS);
	enum err_code code = read_key(sites, err);
	if (code == ERR_OK)
		code = zsocket_listen(sites->parts.loop, address, &sites->key, silence_ms, &events, &sites->zsocket, err);
	if (code != ERR_OK)
		return code;
	const char *told = settings_string(sites->parts.settings, SETTING_SITES_ADDRESS);
	str_copy(sites->address, sizeof(sites->address), *told ? told : zsocket_address(sites->zsocket));
	sites->desk.address = sites->address;
	sites->desk.key = sites->key.public;
	sites->tick = timer_create_on(sites->parts.loop, on_tick, sites);
	timer_start(sites->tick, silence_ms / TICKS, silence_ms / TICKS);
	return ERR_OK;
}

enum err_code sites_create(const struct sites_parts *parts, struct sites **ret, struct err *err)
{
	struct sites *sites = NEW(struct sites);
	const char *address = settings_string(parts->settings, SETTING_SITES);
	struct site_row *rows;
	size_t count;
	sites->executor.ops = &ops;
	sites->parts = *parts;
	sites->desk = (struct site_desk){ .address = "", .key = "", .list = on_list, .changed = on_changed, .context = sites };
	sites->artifacts = artifacts_create(parts->loop, parts->catalog, parts->blobs);
	enum err_code code = catalog_sites_list(parts->catalog, &rows, &count, err);
	if (code == ERR_OK) {
		take_rows(sites, rows, count);
		code = *address ? start_listening(sites, address, err) : ERR_OK;
	}
	if (code != ERR_OK) {
		sites_destroy(sites);
		return code;
	}
	*ret = sites;
	return ERR_OK;
}

void sites_destroy(struct sites *sites)
{
	if (!sites)
		return;
	timer_close(sites->tick);
	while (sites->list) {
		struct site *site = sites->list;
		sites->list = site->next;
		site_free(site, true);
	}
	zsocket_close(sites->zsocket);
	artifacts_destroy(sites->artifacts);
	free(sites);
}

struct executor *sites_executor(struct sites *sites)
{
	return &sites->executor;
}

const struct site_desk *sites_desk(const struct sites *sites)
{
	return &sites->desk;
}

const char *sites_address(const struct sites *sites)
{
	return sites->zsocket ? zsocket_address(sites->zsocket) : "";
}
