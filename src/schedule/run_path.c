#include "schedule/run_path.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "schedule/pipeline.h"

struct run_path {
	struct run_path_parts parts;
	struct memo *memo;
	struct pipelines *pipelines;
};

/* --- behind the memo --- */

static enum err_code submit(void *context, struct run *run, struct err *err)
{
	struct run_path *path = context;
	return run->servable->pipeline ? pipelines_submit(path->pipelines, run, err) :
					 scheduler_submit(path->parts.scheduler, run, err);
}

static void give_up(void *context, struct run *run)
{
	struct run_path *path = context;
	if (run->servable->pipeline)
		pipelines_give_up(path->pipelines, run);
	else
		scheduler_give_up(path->parts.scheduler, run);
}

/* --- what the scheduler does not see --- */

static struct servable_statistics *record_of(struct run_path *path, const struct run *run)
{
	return statistics_of(path->parts.statistics, run->servable->full_name, run->servable->number_text);
}

static void count_end(void *context, struct run *run)
{
	if (run->servable->number) /* else it is being tried before it is published */
		statistics_end(record_of(context, run), run->err.code, clock_ns() - (run->received_ns ?: run->submitted_ns));
}

static void count_look_up(struct run_path *path, struct run *run, int64_t began_ns)
{
	struct servable_statistics *record = record_of(path, run);
	int64_t now = clock_ns();
	duration_add(run->memo == MEMO_MISS ? &record->cache_miss : &record->cache_hit, now - began_ns);
	if (run->memo == MEMO_HIT)
		statistics_end(record, ERR_OK, now - (run->received_ns ?: run->submitted_ns));
}

/* --- a servable that is not what its publisher said --- */

/* Its record in the catalog, so that the next start knows it. */
struct note {
	struct run_path *path;
	struct servable *servable; /* shared (ref) */
	char *json;
	struct err err;
};

static void write_note(void *context)
{
	struct note *note = context;
	const struct servable *servable = note->servable;
	(void)!catalog_serving_set(note->path->parts.catalog, servable->owner, servable->name, servable->number, "memo_off",
				   note->json, &note->err);
}

static void note_written(void *context)
{
	struct note *note = context;
	const struct servable *servable = note->servable;
	if (note->err.code != ERR_OK)
		log_error("%s version %s: that its memo is off could not be recorded: %s", servable->full_name,
			  servable->number_text, err_text(&note->err));
	lookup_forget_servable(note->path->parts.lookup, servable->owner, servable->name); /* read without a memo from now on */
	err_done(&note->err);
	servable_unref(note->servable);
	free(note->json);
	free(note);
}

static void on_differs(void *context, struct servable *servable, struct str output)
{
	struct run_path *path = context;
	char date[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(clock_wall_ms(), date);
	log_warning("%s version %s: its memo is off: two runs of the same input differed in output '" STR_FMT "'", servable->full_name,
		    servable->number_text, STR_ARG(output));
	_cleanup_json_ json_t *json = json_pack("{s:s, s:s%}", "date", date, "output", output.data, output.len);
	if (!json)
		abort();
	struct note *note = NEW(struct note);
	*note = (struct note){ path, servable_ref(servable), json_canonical(json), ERR_INIT };
	if (!pool_submit(path->parts.loop, LANE_CATALOG, write_note, note_written, note)) {
		err_set(&note->err, ERR_UNAVAILABLE, "the hub is busy");
		note_written(note);
	}
}

static void on_forget(void *context, const char *owner, const char *name)
{
	struct run_path *path = context;
	_cleanup_free_ char *full_name = xasprintf("%s/%s", owner, name);
	memo_forget(path->memo, full_name);
}

/* --- steps of pipelines --- */

static enum err_code submit_step(void *context, struct run *run, bool *ret_done, struct err *err)
{
	return run_path_submit(context, run, ret_done, err);
}

static void give_up_step(void *context, struct run *run)
{
	run_path_give_up(context, run);
}

/* --- interface --- */

struct run_path *run_path_create(const struct run_path_parts *parts)
{
	struct run_path *path = NEW(struct run_path);
	path->parts = *parts;
	path->memo = memo_create(&(struct memo_parts){ .loop = parts->loop,
						       .settings = parts->settings,
						       .submit = submit,
						       .give_up = give_up,
						       .on_differs = on_differs,
						       .on_followed = count_end,
						       .context = path });
	path->pipelines = pipelines_create(&(struct pipelines_parts){ .loop = parts->loop,
								      .settings = parts->settings,
								      .lookup = parts->lookup,
								      .submit = submit_step,
								      .give_up = give_up_step,
								      .on_end = count_end,
								      .context = path });
	lookup_on_forget(parts->lookup, on_forget, path);
	return path;
}

void run_path_destroy(struct run_path *path)
{
	if (!path)
		return;
	lookup_on_forget(path->parts.lookup, NULL, NULL);
	pipelines_flush(path->pipelines);
	memo_destroy(path->memo);
	pipelines_destroy(path->pipelines);
	free(path);
}

enum err_code run_path_submit(struct run_path *path, struct run *run, bool *ret_done, struct err *err)
{
	int64_t began_ns = run->servable->options.memo.on ? clock_ns() : 0;
	enum memo_state state = memo_begin(path->memo, run);
	*ret_done = state == MEMO_HIT;
	if (state != MEMO_OFF)
		count_look_up(path, run, began_ns);
	if (state == MEMO_HIT || state == MEMO_JOINED)
		return ERR_OK;
	enum err_code code = submit(path, run, err);
	if (code != ERR_OK)
		memo_refused(path->memo, run);
	return code;
}

void run_path_give_up(struct run_path *path, struct run *run)
{
	if (!memo_give_up(path->memo, run))
		give_up(path, run);
}

static void put(struct buf *out, const char *name, enum metric_type type, const char *help, double value)
{
	metric_family(out, name, type, help);
	metric_sample(out, name, NULL, NULL, value);
}

void run_path_collect(void *context, struct buf *out)
{
	const struct run_path *path = context;
	struct memo_figures figures;
	memo_figures(path->memo, &figures);
	put(out, "dlhub_memo_answers", METRIC_GAUGE, "Answers that are kept", (double)figures.answers);
	put(out, "dlhub_memo_bytes", METRIC_GAUGE, "Memory of the answers that are kept", (double)figures.bytes);
	put(out, "dlhub_memo_hits_total", METRIC_COUNTER, "Runs answered from memory", (double)figures.hits);
	put(out, "dlhub_memo_joined_total", METRIC_COUNTER, "Runs that joined an identical one", (double)figures.joined);
	put(out, "dlhub_memo_misses_total", METRIC_COUNTER, "Runs whose answer was not known", (double)figures.misses);
	put(out, "dlhub_memo_verified_total", METRIC_COUNTER, "Answers from memory that were run again and compared",
	    (double)figures.verified);
	put(out, "dlhub_memo_differed_total", METRIC_COUNTER, "Servables that lost their memo, because two runs differed",
	    (double)figures.differed);
}
