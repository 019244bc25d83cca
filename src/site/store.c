#include "site/store.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/fs.h"
#include "io/process.h"
#include "site/pull.h"
#include "site/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENVIRONMENT_FILE "dlhub-environment.json"
#define OUTPUT_BYTES (1u << 20) /* what dlhub-build says of an error */

/* One worker's way from START to what it needs: looked at on the pool, pulled, looked at again, its tree made, its
 * environment built. */
struct preparation {
	struct preparation *next;
	struct store *store;
	uint32_t worker;
	const struct site_start *start;
	store_ready_fn done;
	void *context;
	struct version_check check;
	bool pulled_manifest, pulled_files;
	struct pull *pull;
	struct process *build;
	struct timer *deadline;
	bool on_pool, dropped, waiting;
	struct err err;
};

struct store {
	struct store_options options;
	char *directory, *programs;
	struct blob_store *blobs;
	struct preparation *list; /* in the order in which they came */
	struct known_versions known;
	struct inputs *inputs;
};

static void go_on(struct preparation *p);

/* --- ends --- */

static void preparation_free(struct preparation *p)
{
	pull_drop(p->pull);
	process_close(p->build);
	timer_close(p->deadline);
	version_check_done(&p->check);
	err_done(&p->err);
	free(p);
}

static void unlink_preparation(struct preparation *p)
{
	struct preparation **at = &p->store->list;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

/* Whether an older one is at the same version or environment. */
static bool must_wait(const struct preparation *p)
{
	for (const struct preparation *o = p->store->list; o != p; o = o->next) {
		const char *a = o->start->environment, *b = p->start->environment;
		if (strcmp(o->start->digest, p->start->digest) == 0 || (a && b && strcmp(a, b) == 0))
			return true;
	}
	return false;
}

static void wake_others(struct store *store)
{
	for (;;) {
		struct preparation *p = store->list;
		while (p && (!p->waiting || must_wait(p)))
			p = p->next;
		if (!p)
			return;
		p->waiting = false;
		go_on(p); /* may end it, and others */
	}
}

static void finish(struct preparation *p)
{
	struct store *store = p->store;
	_cleanup_free_ char *directory = xasprintf("%s/versions/%s", store->directory, p->start->digest);
	_cleanup_free_ char *environment =
		p->start->environment ? xasprintf("%s/environments/%s", store->directory, p->start->environment) : NULL;
	bool ready = p->err.code == ERR_OK;
	unlink_preparation(p);
	p->done(p->context, ready ? directory : NULL, ready ? environment : NULL, &p->err);
	preparation_free(p);
	wake_others(store);
}

/* --- on the pool --- */

static void on_pool_done(void *context)
{
	struct preparation *p = context;
	p->on_pool = false;
	if (p->dropped)
		preparation_free(p);
	else
		go_on(p);
}

static void work_check(void *context)
{
	struct preparation *p = context;
	(void)!version_check(&p->check, &p->err);
}

static void to_pool(struct preparation *p, loop_fn work)
{
	p->on_pool = pool_submit(p->store->options.loop, LANE_DISK, work, on_pool_done, p);
	if (p->on_pool)
		return;
	err_set(&p->err, ERR_UNAVAILABLE, "the site's disk has too much to do");
	finish(p);
}

/* --- pulling --- */

static void fetch(void *context, const struct digest *digest, uint64_t offset)
{
	struct preparation *p = context;
	p->store->options.fetch(p->store->options.context, p->worker, digest, offset);
}

static void on_pulled(void *context, const struct err *err)
{
	struct preparation *p = context;
	if (err->code != ERR_OK)
		err_set(&p->err, err->code, "%s", err_text(err));
	pull_drop(TAKE(p->pull));
	go_on(p);
}

static void start_pull(struct preparation *p)
{
	_cleanup_free_ char *folder = xasprintf("%s/pull", p->store->directory);
	const struct pull_options options = { .loop = p->store->options.loop, .blobs = p->store->blobs, .folder = folder,
					      .fetch = fetch, .on_done = on_pulled, .context = p };
	p->pull = pull_create(&options);
	for (size_t i = 0; i < p->check.missing_count; i++)
		pull_add(p->pull, &p->check.missing[i].digest, p->check.missing[i].bytes);
	log_info("%s: pulling %zu artifacts from the hub", p->start->name, p->check.missing_count);
	pull_start(p->pull);
}

/* --- the environment --- */

static char *environment_path(const struct preparation *p, const char *suffix)
{
	return xasprintf("%s/environments/%s%s", p->store->directory, p->start->environment, suffix);
}

static void read_build_error(struct preparation *p, int status)
{
	_cleanup_free_ char *path = environment_path(p, ".out");
	_cleanup_json_ json_t *said = NULL;
	struct buf text;
	buf_init(&text, OUTPUT_BYTES);
	char how[128];
	process_status_format(status, how, sizeof(how));
	if (fs_read(path, &text, NULL) == ERR_OK &&
	    json_read(text.data ? text.data : "", text.len, 16, path, &said, NULL) == ERR_OK && json_object_get(said, "error")) {
		_cleanup_free_ char *error = json_canonical(json_object_get(said, "error"));
		_cleanup_json_ json_t *ignored = NULL;
		(void)!error_parse(str_of(error), &ignored, &p->err, NULL);
	} else if (p->err.code == ERR_OK) {
		err_set(&p->err, ERR_INTERNAL, "building the environment: dlhub-build %s", how);
	}
	err_wrap(&p->err, "building the Python environment at the site");
	buf_done(&text);
}

static void on_built(void *context, int status)
{
	struct preparation *p = context;
	process_close(TAKE(p->build));
	timer_stop(p->deadline);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		read_build_error(p, status);
	go_on(p);
}

static void on_build_deadline(void *context)
{
	struct preparation *p = context;
	err_set(&p->err, ERR_DEADLINE_EXCEEDED, "it took longer than limits.publish_s");
	process_kill(p->build, SIGKILL);
}

static enum err_code start_build(struct preparation *p, struct err *err)
{
	const struct settings *settings = p->store->options.settings;
	_cleanup_free_ char *program = xasprintf("%s/dlhub-build", p->store->programs);
	_cleanup_free_ char *into = environment_path(p, ""), *requirements = environment_path(p, ".txt");
	_cleanup_free_ char *output = environment_path(p, ".out");
	const char *index = settings_string(settings, SETTING_ENVIRONMENTS_INDEX);
	const char *argv[16] = { program, "environment", "--requirements", requirements, "--python",
				 settings_string(settings, SETTING_ENVIRONMENTS_PYTHON), "--into", into };
	size_t n = 8;
	if (p->check.system_packages)
		argv[n++] = "--system-packages";
	if (*index) {
		argv[n++] = "--index";
		argv[n++] = index;
	}
	enum err_code code = fs_write_durable(requirements, p->check.requirements, strlen(p->check.requirements), 0600, err);
	if (code != ERR_OK)
		return code;
	_cleanup_close_ int out = open(output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return err_errno(err, errno, "making %s", output);
	_cleanup_free_ const char **environment = process_environment_of_pip();
	struct process_options options = { .argv = argv, .environment = environment, .directory = "/", .stdin_fd = -1,
					   .stdout_fd = out, .stderr_fd = STDERR_FILENO, .keep_fd = -1 };
	log_info("%s: building its Python environment", p->start->name);
	code = process_start(p->store->options.loop, &options, on_built, p, &p->build, err);
	if (code == ERR_OK) {
		p->deadline = timer_create_on(p->store->options.loop, on_build_deadline, p);
		timer_start(p->deadline, settings_int(settings, SETTING_LIMITS_PUBLISH_S) * 1000, 0);
	}
	return code;
}

static bool needs_build(struct preparation *p)
{
	if (!p->start->environment || p->deadline) /* it was built just now */
		return false;
	_cleanup_free_ char *marker = environment_path(p, "/" ENVIRONMENT_FILE);
	return !fs_exists(marker);
}

/* --- the way --- */

/* What is next for it. */
static void go_on(struct preparation *p)
{
	if (p->err.code != ERR_OK) {
		finish(p);
	} else if (!p->check.looked) {
		p->check.deep = !known_versions_has(&p->store->known, p->start->digest);
		to_pool(p, work_check);
	} else if (p->check.missing_count) {
		/* First the manifest, which says what else there is; then that. A third time would be for ever. */
		bool *pulled = p->check.have_manifest ? &p->pulled_files : &p->pulled_manifest;
		if (*pulled) {
			err_set(&p->err, ERR_DATA_LOSS, "what was pulled from the hub is not in the site's store");
			finish(p);
			return;
		}
		*pulled = true;
		p->check.looked = false;
		start_pull(p);
	} else if (needs_build(p)) {
		if (start_build(p, &p->err) != ERR_OK)
			finish(p);
	} else {
		known_versions_add(&p->store->known, p->start->digest);
		finish(p);
	}
}

void store_prepare(struct store *store, uint32_t worker, const struct site_start *start, store_ready_fn done, void *context)
{
	struct preparation *p = NEW(struct preparation);
	*p = (struct preparation){ .store = store, .worker = worker, .start = start, .done = done, .context = context };
	version_check_init(&p->check, store->directory, store->blobs, start->digest,
			   settings_int(store->options.settings, SETTING_SITES_CACHE_BYTES));
	struct preparation **at = &store->list;
	while (*at)
		at = &(*at)->next;
	*at = p;
	p->waiting = must_wait(p);
	if (!p->waiting)
		go_on(p);
}

static struct preparation *find(const struct store *store, uint32_t worker)
{
	struct preparation *p = store->list;
	while (p && p->worker != worker)
		p = p->next;
	return p;
}

void store_forget(struct store *store, uint32_t worker)
{
	struct preparation *p = find(store, worker);
	if (!p)
		return;
	unlink_preparation(p);
	p->dropped = true;
	if (!p->on_pool)
		preparation_free(p);
	wake_others(store);
}

void store_take(struct store *store, uint32_t worker, const struct site_piece *piece, uint64_t offset, const uint8_t *data,
		size_t len)
{
	struct preparation *p = find(store, worker);
	if (!p || !p->pull || !pull_take(p->pull, piece, offset, data, len))
		inputs_take(store->inputs, worker, piece, offset, data, len);
}

void store_connected(struct store *store)
{
	for (struct preparation *p = store->list; p; p = p->next)
		if (p->pull)
			pull_again(p->pull);
	inputs_connected(store->inputs);
}

struct inputs *store_inputs(struct store *store)
{
	return store->inputs;
}

/* --- life --- */

enum err_code store_open(const struct store_options *options, struct store **ret, struct err *err)
{
	static const char *const folders[] = { "versions", "environments", "pull" };
	struct store *store = NEW(struct store);
	store->options = *options;
	store->directory = xstrdup(options->directory);
	store->programs = xstrdup(options->programs);
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < ARRAY_SIZE(folders) && code == ERR_OK; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", store->directory, folders[i]);
		if (i == 2) /* of what was under way when it ended */
			code = fs_remove_tree(path, err);
		if (code == ERR_OK)
			code = fs_mkdirs(path, err);
	}
	if (code == ERR_OK)
		code = blob_store_open(store->directory, &store->blobs, err);
	if (code != ERR_OK) {
		store_close(store);
		return code;
	}
	store->inputs = inputs_create(&(struct inputs_options){ .loop = options->loop,
								.blobs = store->blobs,
								.directory = store->directory,
								.cache_bytes = settings_int(options->settings, SETTING_SITES_CACHE_BYTES),
								.fetch = options->fetch,
								.context = options->context });
	*ret = store;
	return ERR_OK;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	while (store->list) {
		struct preparation *p = store->list;
		store->list = p->next;
		preparation_free(p);
	}
	inputs_destroy(store->inputs);
	blob_store_close(store->blobs);
	known_versions_done(&store->known);
	free(store->directory);
	free(store->programs);
	free(store);
}
