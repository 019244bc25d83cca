#include "schedule/memo_verify.h"

#include "base/alloc.h"
#include "wire/tensor_compare.h"

#include <sys/random.h>

#define AT_ONCE 8 /* runs of its own */
#define BUSY_ONE_IN 50		/* how much of the time all of them together may take: of a dear servable few are run again */
#define AHEAD_NS 1000000000ll	/* and how much before that counts */
#define SLACK_BYTES (1u << 20)

struct memo_verifier {
	const struct memo_parts *parts;
	void (*on_differs)(void *context, struct servable *servable, struct str output);
	void *context;
	uint64_t random; /* xorshift: never 0 */
	size_t under_way;
	int64_t began_ns, spent_ns;
	uint64_t count;
};

/* A run again, in its own arena. */
struct again {
	struct memo_verifier *verifier;
	struct memo_answer *answer; /* shared (ref) */
};

struct memo_verifier *memo_verifier_create(const struct memo_parts *parts,
					   void (*on_differs)(void *context, struct servable *servable, struct str output),
					   void *context)
{
	struct memo_verifier *verifier = NEW(struct memo_verifier);
	*verifier = (struct memo_verifier){ .parts = parts, .on_differs = on_differs, .context = context };
	if (getrandom(&verifier->random, sizeof(verifier->random), 0) != sizeof(verifier->random))
		abort();
	verifier->random |= 1;
	verifier->began_ns = loop_now_ns(parts->loop);
	return verifier;
}

void memo_verifier_destroy(struct memo_verifier *verifier)
{
	free(verifier);
}

uint64_t memo_verifier_count(const struct memo_verifier *verifier)
{
	return verifier->count;
}

static uint64_t next_random(struct memo_verifier *verifier)
{
	uint64_t x = verifier->random;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return verifier->random = x;
}

/* Names the output and no value: the record can be read by those who may not see what others run. */
static void compare(struct memo_verifier *verifier, struct run *run, struct memo_answer *answer)
{
	struct servable *servable = run->servable;
	struct tensor_comparison comparison = { .relative = servable->relative, .absolute = servable->absolute };
	size_t count, i = 0;
	const struct tensor *kept = memo_answer_outputs(answer, &count);
	while (i < count && i < run->output_count && tensor_compare(&comparison, &run->outputs[i], &kept[i], NULL) == ERR_OK)
		i++;
	verifier->count++;
	if (i == count && count == run->output_count)
		return;
	if (servable->options.memo.on)
		verifier->on_differs(verifier->context, servable, run->method->outputs[i].name);
}

static void on_done(void *context, struct run *run)
{
	struct again *again = context;
	struct memo_verifier *verifier = again->verifier;
	verifier->under_way--;
	verifier->spent_ns += run->run_ns;
	if (run->err.code == ERR_OK)
		compare(verifier, run, again->answer);
	memo_answer_unref(again->answer);
	run_destroy(run);
}

/* The caller's inputs go with its request. */
static bool copy_request(struct run *to, const struct run *from)
{
	const struct run_request *request = &from->request;
	to->request.method = request->method;
	to->request.input_count = request->input_count;
	to->request.inputs = arena_try(&to->arena, (request->input_count + 1) * sizeof(struct tensor));
	for (size_t i = 0; to->request.inputs && i < request->input_count; i++) {
		struct tensor *input = &to->request.inputs[i];
		*input = request->inputs[i];
		input->name = from->method->inputs[i].name;
		input->data = arena_try(&to->arena, input->len + 1);
		if (!input->data)
			return false;
		if (input->len)
			memcpy(input->data, request->inputs[i].data, input->len);
	}
	size_t len = request->parameters.len;
	if (len)
		to->request.parameters = (struct str){ arena_strndup(&to->arena, request->parameters.data, len), len };
	return to->request.inputs && (!len || to->request.parameters.data);
}

static struct run *run_like(const struct memo_verifier *verifier, const struct run *from)
{
	const struct settings *settings = verifier->parts->settings;
	size_t bytes = SLACK_BYTES + (size_t)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES);
	for (size_t i = 0; i < from->request.input_count; i++)
		bytes += from->request.inputs[i].len;
	struct run *run = run_create(bytes);
	run->servable = servable_ref(from->servable);
	run->principal = principal_ref(from->principal);
	run->method = from->method;
	run->priority = PRIORITY_LEVELS;
	run->bypass_memo = true;
	run->deadline_ns = loop_now_ns(verifier->parts->loop) + settings_int(settings, SETTING_LIMITS_RUN_S) * 1000000000;
	if (copy_request(run, from))
		return run;
	run_destroy(run);
	return NULL;
}

static bool has_time(const struct memo_verifier *verifier)
{
	int64_t passed = loop_now_ns(verifier->parts->loop) - verifier->began_ns;
	return verifier->under_way < AT_ONCE && verifier->spent_ns <= AHEAD_NS + passed / BUSY_ONE_IN;
}

void memo_verify(struct memo_verifier *verifier, const struct run *run, struct memo_answer *answer)
{
	int64_t one_in = settings_int(verifier->parts->settings, SETTING_MEMO_VERIFY);
	if (!one_in || next_random(verifier) % (uint64_t)one_in != 0 || !has_time(verifier))
		return;
	struct run *again = run_like(verifier, run);
	if (!again)
		return;
	struct again *state = arena_alloc(&again->arena, sizeof(*state));
	*state = (struct again){ verifier, memo_answer_ref(answer) };
	again->on_done = on_done;
	again->context = state;
	if (verifier->parts->submit(verifier->parts->context, again, NULL) == ERR_OK) {
		verifier->under_way++;
		return;
	}
	memo_answer_unref(answer);
	run_destroy(again);
}
