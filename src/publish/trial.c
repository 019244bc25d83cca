#include "publish/trial.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <math.h>

#define MANY_ROWS 7
#define FEW_ROWS 3   /* where a run takes long */
#define WIDE_ROWS 32
#define SEED 20181126u
#define SAMPLE_BYTES (16ll << 20) /* of a made-up input */
#define KEPT_BYTES (256u << 20)	  /* of the made-up inputs, and of the outputs kept of one engine */
#define BUDGET_NS 5000000000ll	  /* for all runs on made-up inputs, by the time that the first run took */
#define LONG_BUDGET_NS 30000000000ll /* for the few that are worth waiting for */
#define TIMED_RUNS 1000
#define TIMED_ENOUGH 50	      /* runs, where they take no shorter than TIMED_LEAST_NS together */
#define TIMED_LEAST_NS 100000000ll /* so that what else goes on passes */
#define TIMED_MOST_NS 1000000000ll
#define ALONE_LEAST_NS 20000000ll /* the same where there is nothing to compare with */
#define ALONE_MOST_NS 100000000ll

enum {
	PHASE_GOLDEN,
	PHASE_SAMPLES, /* each made-up input */
	PHASE_ROWS,    /* each row of the last of them by itself */
	PHASE_WIDE,
	PHASE_TIME_ONE,
	PHASE_TIME_WIDE,
	PHASE_END
};

/* --- what they are tried on --- */

static struct run *new_run(const struct settings *settings)
{
	return run_create((size_t)(2 * settings_int(settings, SETTING_LIMITS_BODY_BYTES) +
				   settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES)));
}

enum err_code trial_plan_create(json_t *document, struct servable *servable, const struct settings *settings,
				struct trial_plan **ret, struct err *err)
{
	struct trial_plan *plan = NEW(struct trial_plan);
	arena_init(&plan->arena, KEPT_BYTES);
	plan->document = document;
	plan->servable = servable_ref(servable);
	plan->tolerance = golden_tolerance(document);
	plan->golden = new_run(settings);
	plan->golden->method = signature_method(servable->signature, STR("run"));
	enum err_code code = golden_request(document, plan->golden, (int)settings_int(settings, SETTING_LIMITS_JSON_DEPTH), err);
	if (code != ERR_OK) {
		trial_plan_destroy(plan);
		return code;
	}
	*ret = plan;
	return ERR_OK;
}

void trial_plan_destroy(struct trial_plan *plan)
{
	if (!plan)
		return;
	run_destroy(plan->golden);
	servable_unref(plan->servable);
	arena_done(&plan->arena);
	free(plan);
}

/* As much as the time of the first run, on the golden input, lets hope to afford. */
static void make_samples(struct trial_plan *plan, int64_t golden_ns)
{
	const struct run_request *golden = &plan->golden->request;
	plan->made = true;
	plan->no_batch = sample_no_rows(plan->golden->method, golden);
	if (plan->no_batch)
		return;
	int64_t rows = golden->inputs[0].shape[0], row_ns = golden_ns / rows;
	int64_t row_bytes = (int64_t)sample_bytes(golden->inputs, golden->input_count) / rows;
	bool quick = row_ns * (3 + 2 * MANY_ROWS + WIDE_ROWS) < BUDGET_NS;
	int64_t many = quick ? MANY_ROWS : FEW_ROWS;
	if (row_ns * (3 + 2 * FEW_ROWS) > LONG_BUDGET_NS || row_bytes * many > SAMPLE_BYTES) {
		plan->no_batch = row_bytes * many > SAMPLE_BYTES ? "its inputs are too large to try several" :
								   "a run takes too long to try several";
		return;
	}
	const int64_t sizes[TRIAL_SAMPLES] = { 1, 2, many };
	while (plan->sample_count < TRIAL_SAMPLES &&
	       sample_make(&plan->arena, golden, sizes[plan->sample_count], SEED + (uint32_t)plan->sample_count,
			   &plan->samples[plan->sample_count]))
		plan->sample_count++;
	if (plan->sample_count < TRIAL_SAMPLES) {
		plan->no_batch = "its inputs are too large to try several";
		plan->sample_count = 0;
		return;
	}
	if (quick && row_bytes * WIDE_ROWS <= SAMPLE_BYTES)
		(void)!sample_repeat(&plan->arena, &plan->samples[TRIAL_SAMPLES - 1], WIDE_ROWS, &plan->wide);
}

/* --- outcomes --- */

static void end_trial(struct trial *trial)
{
	const char *ready = scheduler_ready_text(trial->servable);
	trial->loaded = ready != NULL;
	trial->ready = ready ? xstrdup(ready) : NULL;
	scheduler_retire(trial->parts->scheduler, trial->servable);
	trial->on_done(trial->context);
}

static void no_batch(struct trial *trial, const char *why)
{
	free(trial->no_batch);
	trial->no_batch = xstrdup(why);
}

/* false: there is no memory for them; later engines are then not compared with them. */
static bool keep(struct trial *trial, const struct run *run, struct answer *ret)
{
	struct tensor *outputs = arena_try(&trial->arena, (run->output_count + 1) * sizeof(*outputs));
	for (size_t i = 0; outputs && i < run->output_count; i++) {
		outputs[i] = run->outputs[i];
		outputs[i].name = run->method->outputs[i].name; /* of the servable, which outlives the run */
		outputs[i].data = arena_try(&trial->arena, run->outputs[i].len + 1);
		if (!outputs[i].data)
			return false;
		memcpy(outputs[i].data, run->outputs[i].data, run->outputs[i].len);
	}
	*ret = (struct answer){ outputs, run->output_count };
	return outputs != NULL;
}

static enum err_code compare_with_referee(struct trial *trial, const struct run *run, const struct answer *theirs,
					  struct err *err)
{
	if (!theirs->outputs)
		return ERR_OK;
	if (run->output_count != theirs->count)
		return err_set(err, ERR_FAILED_PRECONDITION, "it gives %zu outputs, %s gives %zu", run->output_count,
			       trial->referee_name, theirs->count);
	_cleanup_free_ char *words = xasprintf("comes from %s", trial->referee_name);
	struct tensor_comparison comparison = trial->plan->tolerance;
	comparison.words = words;
	enum err_code code = tensors_compare(&comparison, run->outputs, theirs->outputs, theirs->count, err);
	trial->max_error = fmax(trial->max_error, comparison.max_error);
	return code;
}

/* --- one phase after the other: each looks at a run's end and returns false where the trial ends with it --- */

static bool after_golden(struct trial *trial, struct run *run)
{
	struct trial_plan *plan = trial->plan;
	json_t *document = plan->document;
	int depth = (int)settings_int(trial->parts->settings, SETTING_LIMITS_JSON_DEPTH);
	if (run->err.code != ERR_OK) {
		err_move(&trial->err, &run->err);
		err_wrap(&trial->err, document ? "running the example input" : "running an input made up from the schema");
		if (!document && !err_hint(&trial->err))
			err_advise(&trial->err, "if such an input makes no sense to this servable, give one that does: "
						"--example-input FILE (.json or .npy), or \"golden\" in the metadata");
		return false;
	}
	double error;
	if (golden_compare(document, run, depth, &error, &trial->err) != ERR_OK)
		return false;
	trial->max_error = error;
	if (trial->referee && compare_with_referee(trial, run, &trial->referee->golden, &trial->err) != ERR_OK)
		return false;
	trial->record = golden_record(document, run, error);
	(void)!keep(trial, run, &trial->golden);
	if (!plan->made)
		make_samples(plan, run->run_ns);
	if (plan->no_batch)
		no_batch(trial, plan->no_batch);
	return true;
}

#define NO_ROWS "not every output has a row for each of the input"

/* Every output has as many rows as went in: else a batch could not be split. */
static bool has_rows(const struct run *run, int64_t rows)
{
	for (size_t i = 0; i < run->output_count; i++)
		if (!run->outputs[i].rank || run->outputs[i].shape[0] != rows)
			return false;
	return true;
}

static bool after_sample(struct trial *trial, struct run *run)
{
	const struct answer *theirs = trial->referee ? &trial->referee->samples[trial->at] : NULL;
	if (run->err.code != ERR_OK) {
		if (theirs && theirs->outputs) {
			err_move(&trial->err, &run->err);
			err_wrap(&trial->err, "running a made-up input, which %s runs", trial->referee_name);
			return false;
		}
		/* Not every servable takes what is only like its example: it is judged by the example alone. */
		_cleanup_free_ char *why = xasprintf("it does not run on made-up inputs: %s", err_text(&run->err));
		no_batch(trial, why);
		trial->phase = PHASE_WIDE;
		return true;
	}
	if (theirs && compare_with_referee(trial, run, theirs, &trial->err) != ERR_OK) {
		err_wrap(&trial->err, "on a made-up input of %lld rows", (long long)trial->plan->samples[trial->at].rows);
		return false;
	}
	if (!trial->no_batch && !has_rows(run, trial->plan->samples[trial->at].rows))
		no_batch(trial, NO_ROWS);
	(void)!keep(trial, run, &trial->samples[trial->at]);
	return true;
}

/* The outputs of `run` against rows of the largest sample's, which ran together. */
static enum err_code compare_row(struct trial *trial, const struct run *run, int64_t own, int64_t row, struct err *err)
{
	const struct answer *together = &trial->samples[TRIAL_SAMPLES - 1];
	struct tensor_comparison comparison = trial->plan->tolerance;
	comparison.words = "comes out when it runs among others";
	for (size_t i = 0; i < run->output_count; i++) {
		struct tensor alone, among;
		if (!sample_rows_of(&run->outputs[i], own, 1, &alone) || !sample_rows_of(&together->outputs[i], row, 1, &among))
			return err_set(err, ERR_FAILED_PRECONDITION, NO_ROWS);
		enum err_code code = tensors_compare(&comparison, &alone, &among, 1, err);
		if (code != ERR_OK)
			return err_wrap(err, "rows change each other");
	}
	return ERR_OK;
}

static bool after_row(struct trial *trial, struct run *run)
{
	struct err err = ERR_INIT;
	if (run->err.code != ERR_OK)
		err_set(&err, run->err.code, "a row of a made-up input does not run by itself: %s", err_text(&run->err));
	else if (!has_rows(run, 1))
		err_set(&err, ERR_FAILED_PRECONDITION, NO_ROWS);
	else
		(void)!compare_row(trial, run, 0, (int64_t)trial->at, &err);
	if (err.code != ERR_OK) {
		no_batch(trial, err_text(&err));
		trial->phase = PHASE_WIDE; /* nothing more to prove */
	}
	err_done(&err);
	return true;
}

static bool after_wide(struct trial *trial, struct run *run)
{
	int64_t many = trial->plan->samples[TRIAL_SAMPLES - 1].rows;
	struct err err = ERR_INIT;
	if (run->err.code != ERR_OK)
		err_set(&err, run->err.code, "%d rows do not run together: %s", WIDE_ROWS, err_text(&run->err));
	else if (!has_rows(run, WIDE_ROWS))
		err_set(&err, ERR_FAILED_PRECONDITION, NO_ROWS);
	for (int64_t row = 0; row < WIDE_ROWS && err.code == ERR_OK; row++)
		(void)!compare_row(trial, run, row, row % many, &err);
	if (err.code != ERR_OK)
		no_batch(trial, err_text(&err));
	err_done(&err);
	return true;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static bool after_timed(struct trial *trial, struct run *run)
{
	int64_t now = clock_ns(), spent = now - trial->phase_ns;
	bool compares = trial->plan->compares;
	if (run->err.code != ERR_OK) { /* it ran before: whoever counts on it will hear of it */
		trial->at = TIMED_RUNS;
		return true;
	}
	trial->times_ms[trial->at] = (double)(now - trial->sent_ns) / 1e6;
	size_t count = trial->at + 1;
	bool enough = count >= TIMED_ENOUGH && spent >= (compares ? TIMED_LEAST_NS : ALONE_LEAST_NS);
	if (count < TIMED_RUNS && !enough && spent < (compares ? TIMED_MOST_NS : ALONE_MOST_NS))
		return true;
	/* The median of the faster half: what else the machine does makes a run slower, never faster. */
	qsort(trial->times_ms, count, sizeof(double), by_size);
	*(trial->phase == PHASE_TIME_ONE ? &trial->ms_1 : &trial->ms_32) = trial->times_ms[count / 4];
	trial->at = TIMED_RUNS;
	return true;
}

/* --- the walk --- */

/* How many runs a phase has; 0: it is left out. */
static size_t run_count(const struct trial *trial)
{
	const struct trial_plan *plan = trial->plan;
	bool proves = plan->wants_proof && plan->sample_count && trial->samples[TRIAL_SAMPLES - 1].outputs && !trial->no_batch;
	switch (trial->phase) {
	case PHASE_GOLDEN:
		return 1;
	case PHASE_SAMPLES: /* of use where there is a referee, or one is made, or a batch is to be proved */
		return plan->compares || plan->wants_proof ? plan->sample_count : 0;
	case PHASE_ROWS:
		return proves ? (size_t)plan->samples[TRIAL_SAMPLES - 1].rows : 0;
	case PHASE_WIDE:
		return proves && plan->wide.rows ? 1 : 0;
	case PHASE_TIME_ONE:
		return plan->wants_times ? TIMED_RUNS : 0;
	default:
		return plan->wants_times && plan->wide.rows && trial->samples[TRIAL_SAMPLES - 1].outputs ? TIMED_RUNS : 0;
	}
}

/* The inputs of the next run. */
static bool next_inputs(struct trial *trial, struct arena *arena, struct sample *ret)
{
	struct trial_plan *plan = trial->plan;
	const struct run_request *golden = &plan->golden->request;
	switch (trial->phase) {
	case PHASE_SAMPLES:
		*ret = plan->samples[trial->at];
		return true;
	case PHASE_ROWS:
		return sample_cut(arena, &plan->samples[TRIAL_SAMPLES - 1], (int64_t)trial->at, 1, ret);
	case PHASE_WIDE:
	case PHASE_TIME_WIDE:
		*ret = plan->wide;
		return true;
	case PHASE_TIME_ONE:
		if (trial->samples[0].outputs) {
			*ret = plan->samples[0];
			return true;
		}
		/* fall through */
	default:
		*ret = (struct sample){ golden->inputs, golden->input_count, 0 };
		return true;
	}
}

static void on_run(void *context, struct run *run);

static enum err_code send_run(struct trial *trial, struct err *err)
{
	const struct publisher_parts *parts = trial->parts;
	int64_t limit_s = settings_int(parts->settings, SETTING_LIMITS_RUN_S);
	bool done;
	if (trial->phase == PHASE_GOLDEN)
		limit_s += settings_int(parts->settings, SETTING_LIMITS_START_S);
	struct run *run = new_run(parts->settings);
	struct sample sample;
	if (!next_inputs(trial, &run->arena, &sample)) {
		run_destroy(run);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an input of a trial");
	}
	/* The scheduler may put inputs into order: the list is the run's own, the bytes are borrowed. */
	run->servable = servable_ref(trial->servable);
	run->method = signature_method(trial->servable->signature, STR("run"));
	run->request = (struct run_request){ .method = run->method, .parameters = trial->plan->golden->request.parameters,
					     .inputs = arena_try(&run->arena, (sample.count + 1) * sizeof(struct tensor)),
					     .input_count = sample.count };
	if (!run->request.inputs) {
		run_destroy(run);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an input of a trial");
	}
	if (sample.count)
		memcpy(run->request.inputs, sample.inputs, sample.count * sizeof(struct tensor));
	run->principal = principal_anonymous();
	run->on_done = on_run;
	run->context = trial;
	run->bypass_memo = true; /* it is to be run, here and now */
	run->deadline_ns = loop_now_ns(parts->loop) + limit_s * 1000000000;
	trial->sent_ns = clock_ns();
	enum err_code code = run_path_submit(parts->runs, run, &done, err);
	if (code != ERR_OK) {
		run_destroy(run);
		return code;
	}
	trial->run = run;
	return ERR_OK;
}

/* The next run, of this phase or the next that has any. false: there is none. */
static bool step_on(struct trial *trial)
{
	trial->at++;
	while (trial->phase < PHASE_END && trial->at >= run_count(trial)) {
		trial->phase++;
		trial->at = 0;
		trial->phase_ns = clock_ns();
	}
	return trial->phase < PHASE_END;
}

static void on_run(void *context, struct run *run)
{
	static bool (*const after[])(struct trial *, struct run *) = {
		[PHASE_GOLDEN] = after_golden,	   [PHASE_SAMPLES] = after_sample,  [PHASE_ROWS] = after_row,
		[PHASE_WIDE] = after_wide,	   [PHASE_TIME_ONE] = after_timed,  [PHASE_TIME_WIDE] = after_timed,
	};
	struct trial *trial = context;
	trial->run = NULL;
	if (trial->stopped) { /* what is borrowed may be gone */
		run_destroy(run);
		trial->on_done(trial->context);
		return;
	}
	bool more = after[trial->phase](trial, run);
	run_destroy(run);
	if (more && step_on(trial) && send_run(trial, &trial->err) == ERR_OK)
		return;
	trial->asked = trial->plan->made && trial->plan->wants_proof;
	trial->proved = trial->asked && !trial->no_batch && trial->samples[TRIAL_SAMPLES - 1].outputs;
	end_trial(trial);
}

enum err_code trial_start(struct trial *trial, struct err *err)
{
	arena_init(&trial->arena, KEPT_BYTES);
	trial->times_ms = xcalloc(TIMED_RUNS, sizeof(double));
	trial->phase = PHASE_GOLDEN;
	return send_run(trial, err);
}

void trial_done(struct trial *trial)
{
	arena_done(&trial->arena);
	servable_unref(trial->servable);
	err_done(&trial->err);
	json_decref(trial->record);
	free(trial->ready);
	free(trial->no_batch);
	free(trial->times_ms);
	*trial = (struct trial){ 0 };
}
