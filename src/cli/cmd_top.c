/* cli/cmd_top.c - `dlhub top`: what a hub is doing, from its metrics. */
#include "base/alloc.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/samples.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define METRICS_BYTES (256u << 20)
#define RUNS "nv_inference_request_success"
#define FAILURES "nv_inference_request_failure"
#define DURATION "dlhub_run_duration_seconds"

struct view {
	struct samples before, now;
	int64_t before_ms, now_ms;
};

/* One row: a version that has been run. Rates are since the view before; the first view's, since the hub started. */
struct row {
	const char *model, *version; /* borrowed of the view */
	double rate, failures, p50_ms, p99_ms, queue_ms, run_ms, batch, hits, pending;
};

static double grown(const struct view *view, const char *name, const char *model, const char *version)
{
	return samples_sum(&view->now, name, model, version, NULL, NULL) -
	       samples_sum(&view->before, name, model, version, NULL, NULL);
}

static double since_start_s(const struct view *view)
{
	double started = samples_sum(&view->now, "process_start_time_seconds", NULL, NULL, NULL, NULL);
	return MAX((double)clock_wall_ms() / 1e3 - started, 0.001);
}

static double elapsed_s(const struct view *view)
{
	return view->before.count ? (double)(view->now_ms - view->before_ms) / 1e3 : since_start_s(view);
}

/* NAN where nothing came. */
static double per(double amount, double count)
{
	return count > 0 ? amount / count : NAN;
}

static struct row row_of(const struct view *view, const char *model, const char *version)
{
	double seconds = elapsed_s(view), runs = grown(view, RUNS, model, version);
	double hits = grown(view, "nv_cache_num_hits_per_model", model, version);
	double misses = grown(view, "nv_cache_num_misses_per_model", model, version);
	double batches = grown(view, "nv_inference_exec_count", model, version);
	return (struct row){
		.model = model,
		.version = version,
		.rate = runs / seconds,
		.failures = grown(view, FAILURES, model, version) / seconds,
		.p50_ms = 1e3 * samples_quantile(&view->before, &view->now, DURATION, model, version, 0.5),
		.p99_ms = 1e3 * samples_quantile(&view->before, &view->now, DURATION, model, version, 0.99),
		.queue_ms = per(grown(view, "nv_inference_queue_duration_us", model, version) / 1e3, runs - hits),
		.run_ms = per(grown(view, "nv_inference_compute_infer_duration_us", model, version) / 1e3, runs - hits),
		.batch = per(grown(view, "nv_inference_count", model, version), batches),
		.hits = per(hits, hits + misses),
		.pending = samples_sum(&view->now, "nv_inference_pending_request_count", model, version, NULL, NULL),
	};
}

static int busiest_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	int order = strcmp(x->model, y->model);
	return order ? order : strcmp(x->version, y->version);
}

/* Returned owned. */
static struct row *rows_of(const struct view *view, size_t *ret_count)
{
	struct row *rows = xcalloc(view->now.count + 1, sizeof(*rows));
	*ret_count = 0;
	for (size_t i = 0; i < view->now.count; i++) {
		const struct sample *sample = &view->now.list[i];
		const char *model = sample_label(sample, "model"), *version = sample_label(sample, "version");
		if (strcmp(sample->name, RUNS) == 0 && model && version)
			rows[(*ret_count)++] = row_of(view, model, version);
	}
	qsort(rows, *ret_count, sizeof(*rows), busiest_first);
	return rows;
}

static double gauge(const struct view *view, const char *name)
{
	return samples_sum(&view->now, name, NULL, NULL, NULL, NULL);
}

static void add_number(struct table *table, const char *format, double value)
{
	char text[32];
	snprintf(text, sizeof(text), format, value);
	table_add(table, isnan(value) ? "-" : text);
}

static void print_view(struct cli *cli, const struct view *view, size_t most)
{
	static const char *const heads[] = { "SERVABLE", "RUNS/S", "FAIL/S", "P50 ms", "P99 ms", "QUEUE ms", "RUN ms",
					     "ROWS/BATCH", "MEMO", "WAITING" };
	size_t count;
	char memory[OUT_BYTES_SIZE];
	struct table table;
	_cleanup_free_ struct row *rows = rows_of(view, &count);
	out_bytes((int64_t)gauge(view, "process_resident_memory_bytes"), memory);
	double cpu = grown(view, "process_cpu_seconds_total", NULL, NULL) / elapsed_s(view);
	out_print(cli,
		  BOLD "%s" PLAIN "  up %.0f s  hub %.0f %% of a core, %s  workers %.0f  connections %.0f  longest turn %.2f ms\n\n",
		  cli->endpoint, since_start_s(view), 100 * cpu, memory, gauge(view, "dlhub_workers"),
		  gauge(view, "dlhub_http_connections"), 1e3 * gauge(view, "dlhub_loop_longest_turn_seconds"));
	if (!count) {
		out_print(cli, "nothing has been run yet\n");
		return;
	}
	table_init(&table, ARRAY_SIZE(heads));
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		table_add(&table, heads[i]);
	for (size_t i = 0; i < count && i < most; i++) {
		const struct row *row = &rows[i];
		table_addf(&table, "%s %s", row->model, row->version);
		add_number(&table, "%.1f", row->rate);
		add_number(&table, row->failures ? "%.1f" : "-", row->failures);
		add_number(&table, "%.2f", row->p50_ms);
		add_number(&table, "%.2f", row->p99_ms);
		add_number(&table, "%.2f", row->queue_ms);
		add_number(&table, "%.2f", row->run_ms);
		add_number(&table, "%.1f", row->batch);
		add_number(&table, "%.0f %%", 100 * row->hits);
		add_number(&table, "%.0f", row->pending);
	}
	table_print(cli, &table);
	table_done(&table);
	if (count > most)
		out_print(cli, "… and %zu more\n", count - most);
}

/* null where nothing came. */
static json_t *number(double value)
{
	return isnan(value) ? json_null() : json_real(value);
}

static void print_json(const struct view *view)
{
	size_t count;
	_cleanup_free_ struct row *rows = rows_of(view, &count);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "servable", rows[i].model,
					"version", rows[i].version, "runs_per_s", number(rows[i].rate), "failures_per_s",
					number(rows[i].failures), "p50_ms", number(rows[i].p50_ms), "p99_ms",
					number(rows[i].p99_ms), "queue_ms", number(rows[i].queue_ms), "run_ms",
					number(rows[i].run_ms), "rows_per_batch", number(rows[i].batch), "memo_hits",
					number(rows[i].hits), "waiting", number(rows[i].pending)));
	_cleanup_json_ json_t *json = json_pack(
		"{s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "uptime_s", since_start_s(view), "cpu",
		grown(view, "process_cpu_seconds_total", NULL, NULL) / elapsed_s(view), "resident_bytes",
		gauge(view, "process_resident_memory_bytes"), "workers", gauge(view, "dlhub_workers"), "connections",
		gauge(view, "dlhub_http_connections"), "longest_turn_ms", 1e3 * gauge(view, "dlhub_loop_longest_turn_seconds"),
		"servables", list);
	out_json(json);
}

static enum err_code look(struct cli *cli, struct view *view, struct err *err)
{
	struct client *client;
	struct client_reply reply = { 0 };
	struct client_call call = { .path = "/metrics", .ceiling_bytes = METRICS_BYTES };
	enum err_code code = cli_hub(cli, &client, err);
	if (code != ERR_OK)
		return code;
	samples_done(&view->before);
	view->before = view->now;
	view->before_ms = view->now_ms;
	view->now = (struct samples){ 0 };
	code = client_call(client, &call, &reply, err);
	if (code == ERR_OK)
		code = samples_parse(reply.body.data ?: "", &view->now, err);
	if (code == ERR_UNAUTHENTICATED || code == ERR_PERMISSION_DENIED)
		err_advise(err, "metrics name every servable, so they are for administrators: use an administrator's token");
	view->now_ms = clock_ms();
	client_reply_done(&reply);
	return code;
}

static enum err_code run_top(struct cli *cli, struct err *err)
{
	int64_t every_s = 2, views = cli->json ? 1 : isatty(STDOUT_FILENO) ? INT64_MAX : 1, rows = 20;
	struct view view = { 0 };
	struct client *client;
	enum err_code code = args_number(&cli->args, "every", 1, 3600, &every_s, err);
	if (code == ERR_OK)
		code = args_number(&cli->args, "views", 1, INT64_MAX, &views, err);
	if (code == ERR_OK)
		code = args_number(&cli->args, "rows", 1, 100000, &rows, err);
	if (code == ERR_OK)
		code = cli_hub(cli, &client, err);
	for (int64_t i = 0; code == ERR_OK && i < views; i++) {
		if (i)
			client_pause(client, every_s * 1000);
		code = look(cli, &view, err);
		if (code != ERR_OK)
			break;
		if (!cli->json && views > 1 && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout); /* home, and clear the screen */
		if (cli->json)
			print_json(&view);
		else
			print_view(cli, &view, (size_t)rows);
		fflush(stdout);
	}
	samples_done(&view.before);
	samples_done(&view.now);
	return code;
}

static const struct cli_option top_options[] = {
	{ "every", 'n', "SECONDS", "how long between two views (2)", NULL },
	{ "views", 0, "COUNT", "end after so many; the first is of all since the hub started", NULL },
	{ "rows", 0, "COUNT", "show the busiest (20)", NULL },
	{ 0 },
};

const struct cli_command cmd_top = {
	.name = "top",
	.summary = "show what the hub is doing, again and again",
	.usage = "[--every SECONDS] [--views COUNT]",
	.about = "Rates, times and batches of each servable since the view before, the busiest first. Takes an\n"
		 "administrator's token. Away from a terminal it shows one view.",
	.options = top_options,
	.examples = "dlhub top\n"
		    "dlhub top --json --views 1",
	.run = run_top,
};
