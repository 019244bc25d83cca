#include "grpc/infer.h"

#include "base/clock.h"
#include "grpc/model.h"
#include "grpc/rpc.h"
#include "schedule/run_timing.h"
#include "wire/inference.h"

#define RUN_S_MAX 86400
#define HERE_BYTES (32u << 10) /* of text and documents that may be looked at on the loop, on either way */

enum phase {
	PHASE_LOOKUP, /* waits for the routing row */
	PHASE_DECODE, /* its values are being converted */
	PHASE_POOL,   /* the pool looks at what is long */
	PHASE_RUN,    /* the run path has it */
	PHASE_ANSWER, /* what is left is to send */
};

/* One request; lives in its run's arena, behind the message. */
struct infer {
	struct call *call; /* a reference */
	struct infer *next, *previous; /* of the call's */
	struct run *run;   /* owned: and with it, this */
	enum phase phase;
	size_t message_bytes;
	struct inference_message message;
	struct inference_parser *parser;
	struct work work;
	struct answer answer;
	struct trace_context trace; /* trace_id[0] is 0: not traced */
	int64_t ended_ns;
	struct inference_pieces pieces; /* of the answer */
	struct err err;			/* of what the pool did */
};

static bool is_stream(const struct call *call)
{
	return call->rpc->many;
}

static const struct grpc_parts *parts_of(const struct infer *infer)
{
	return &infer->call->connection->server->parts;
}

static void look_at_stream_end(struct call *call)
{
	if (is_stream(call) && call->end_told && !call->under_way)
		call_end(call, NULL);
}

static void infer_destroy(struct infer *infer)
{
	struct call *call = infer->call;
	struct infer **first = (struct infer **)&call->state;
	*(infer->previous ? &infer->previous->next : first) = infer->next;
	if (infer->next)
		infer->next->previous = infer->previous;
	call_release(call, infer->message_bytes);
	err_done(&infer->err);
	run_destroy(infer->run);
	call_settle(call);
	look_at_stream_end(call);
	call_unref(call);
}

void infer_on_half_close(struct call *call)
{
	look_at_stream_end(call);
}

/* --- the answer --- */

static void release_answer(struct answer *answer)
{
	infer_destroy(CONTAINER_OF(answer, struct infer, answer));
}

static void send_pieces(struct infer *infer, const struct inference_pieces *pieces)
{
	struct call *call = call_ref(infer->call);
	infer->phase = PHASE_ANSWER;
	infer->answer = (struct answer){ .pieces = pieces->items, .count = pieces->count, .release = release_answer };
	call_send(call, &infer->answer);
	if (!is_stream(call))
		call_end(call, NULL);
	call_unref(call);
}

/* Moves from `err`. */
static void fail(struct infer *infer, struct err *err)
{
	struct inference_pieces pieces;
	char text[4096];
	infer->phase = PHASE_ANSWER;
	snprintf(text, sizeof(text), "%s: %s%s%s", err_code_name(err->code), err_text(err), err_hint(err) ? "; " : "",
		 err_hint(err) ?: "");
	struct str cut = str_cut(str_of(text), sizeof(text) - 1);
	if (is_stream(infer->call) && str_is_utf8(cut.data, cut.len) &&
	    inference_write_error(&infer->run->arena, cut, infer->message.model_name, infer->message.id, &pieces, NULL) == ERR_OK) {
		send_pieces(infer, &pieces);
		return;
	}
	call_end(infer->call, err);
	infer_destroy(infer);
}

/* The outputs that the caller asked for, in its order. */
static enum err_code pick_outputs(struct run *run, const struct tensor **ret, size_t *ret_count, struct err *err)
{
	const struct run_request *request = &run->request;
	*ret = run->outputs;
	*ret_count = run->output_count;
	if (!request->output_count)
		return ERR_OK;
	struct tensor *picked = arena_try(&run->arena, request->output_count * sizeof(*picked));
	if (!picked)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to answer");
	for (size_t i = 0; i < request->output_count; i++) {
		size_t at = 0;
		while (at < run->output_count && !str_eq(run->outputs[at].name, request->outputs[i].name))
			at++;
		if (at == run->output_count)
			return err_set(err, ERR_UNKNOWN, "the servable gave no output '" STR_FMT "'",
				       STR_ARG(request->outputs[i].name));
		picked[i] = run->outputs[at];
	}
	*ret = picked;
	*ret_count = request->output_count;
	return ERR_OK;
}

/* Where the time went until now, of the arena; empty where it has no room. */
static struct str timing_of(const struct infer *infer)
{
	struct run *run = infer->run;
	char *text = arena_try(&run->arena, RUN_TIMING_SIZE);
	if (!text)
		return (struct str){ 0 };
	run_timing_format(&(struct run_timing){ .run = run,
						.received_ns = run->received_ns,
						.decoded_ns = run->submitted_ns,
						.ended_ns = infer->ended_ns },
			  text);
	return str_of(text);
}

static enum err_code encode(struct infer *infer, struct inference_pieces *ret, struct err *err)
{
	struct run *run = infer->run;
	struct inference_answer answer = { .model_name = str_of(run->servable->full_name),
					   .version = str_of(run->servable->number_text), .id = run->request.id };
	if (run->err.code != ERR_OK)
		return err_move(err, &run->err);
	enum err_code code = oip_outputs_convert(&run->arena, run->method, run->outputs, run->output_count, err);
	if (code == ERR_OK)
		code = pick_outputs(run, &answer.outputs, &answer.count, err);
	if (code == ERR_OK)
		code = region_write_outputs(run, answer.outputs, err);
	if (code != ERR_OK)
		return code;
	if (run->memo == MEMO_HIT || run->memo == MEMO_JOINED)
		answer.memo = str_of(memo_state_name(run->memo));
	if (infer->call->wants_timing)
		answer.timing = timing_of(infer);
	if (run->request.output_count)
		answer.requested = run->request.outputs;
	return inference_write(&run->arena, &answer, is_stream(infer->call), ret, err);
}

static void report(struct infer *infer, const struct err *err)
{
	run_report(parts_of(infer)->reporter, &(struct run_report){ .run = infer->run,
								    .front_door = "grpc",
								    .request_id = infer->call->request_id,
								    .trace = *infer->trace.trace_id ? &infer->trace : NULL,
								    .code = err->code,
								    .error = err->code ? err_text(err) : NULL,
								    .received_ns = infer->run->received_ns,
								    .ended_ns = infer->ended_ns,
								    .answered_ns = clock_ns() });
}

static void encode_work(void *context)
{
	struct infer *infer = context;
	(void)!encode(infer, &infer->pieces, &infer->err);
}

static void encoded(void *context)
{
	struct infer *infer = context;
	struct err err = ERR_INIT;
	err_move(&err, &infer->err);
	if (!infer->call->connection) {
		infer_destroy(infer);
	} else {
		report(infer, &err);
		if (err.code == ERR_OK)
			send_pieces(infer, &infer->pieces);
		else
			fail(infer, &err);
	}
	err_done(&err);
}

/* Bytes of outputs that have to be converted, or copied to shared memory. */
static size_t encode_bytes(const struct run *run)
{
	size_t bytes = 0;
	for (size_t i = 0; run->err.code == ERR_OK && i < run->output_count; i++)
		if (run->outputs[i].dtype == DTYPE_JSON || run->outputs[i].dtype == DTYPE_FILE)
			bytes += run->outputs[i].len;
	for (size_t i = 0; i < run->request.output_count; i++)
		bytes += run->request.outputs[i].part.data ? run->request.outputs[i].part.bytes : 0;
	return bytes;
}

/* The run has ended. */
static void answer(struct infer *infer)
{
	infer->ended_ns = clock_ns();
	if (!infer->call->connection) {
		infer_destroy(infer);
		return;
	}
	infer->phase = PHASE_POOL;
	if (encode_bytes(infer->run) > HERE_BYTES &&
	    pool_submit(parts_of(infer)->loop, LANE_DISK, encode_work, encoded, infer))
		return;
	encode_work(infer);
	encoded(infer);
}

/* --- the run --- */

static void on_run_done(void *context, struct run *run)
{
	answer(context);
}

static int64_t deadline_of(const struct infer *infer)
{
	const struct grpc_parts *parts = parts_of(infer);
	int64_t now = loop_now_ns(parts->loop), most = now + (int64_t)RUN_S_MAX * 1000000000;
	int64_t given_us = infer->run->request.timeout_us, deadline = infer->call->deadline_ns;
	if (given_us > 0)
		deadline = MIN(deadline, now + MIN(given_us, (int64_t)RUN_S_MAX * 1000000) * 1000);
	else if (deadline == INT64_MAX)
		deadline = now + settings_int(parts->settings, SETTING_LIMITS_RUN_S) * 1000000000;
	return MIN(deadline, most);
}

static void submit(struct infer *infer)
{
	struct run *run = infer->run;
	struct call *call = infer->call;
	struct err err = ERR_INIT;
	bool done = false;
	run->principal = principal_ref(call->principal);
	run->deadline_ns = deadline_of(infer);
	run->priority = (int)MIN(run->request.priority, (int64_t)PRIORITY_LEVELS);
	run->bypass_memo = call->wants_run;
	run->on_done = on_run_done;
	run->context = infer;
	if (tracer_begin(run_reporter_tracer(parts_of(infer)->reporter), call->trace, &infer->trace))
		trace_format(&infer->trace, run->trace);
	infer->phase = PHASE_RUN;
	if (run_path_submit(parts_of(infer)->runs, run, &done, &err) != ERR_OK)
		fail(infer, &err);
	else if (done)
		answer(infer);
	err_done(&err);
}

/* --- the message --- */

static void finish_work(void *context)
{
	struct infer *infer = context;
	(void)!inference_parser_finish(infer->parser, &infer->run->request, &infer->err);
}

static void finished(void *context)
{
	struct infer *infer = context;
	struct err err = ERR_INIT;
	err_move(&err, &infer->err);
	if (!infer->call->connection)
		infer_destroy(infer);
	else if (err.code == ERR_OK)
		submit(infer);
	else
		fail(infer, &err);
	err_done(&err);
}

/* The values are converted. */
static void finish(struct infer *infer)
{
	infer->phase = PHASE_POOL;
	if (inference_parser_left(infer->parser) > HERE_BYTES &&
	    pool_submit(parts_of(infer)->loop, LANE_DISK, finish_work, finished, infer))
		return;
	finish_work(infer);
	finished(infer);
}

/* false: there is more to do, in later turns. */
static bool decode_some(struct infer *infer)
{
	struct err err = ERR_INIT;
	bool done = false;
	int64_t budget_ns = settings_int(parts_of(infer)->settings, SETTING_LIMITS_LOOP_TURN_US) * 1000;
	enum err_code code = inference_parser_step(infer->parser, budget_ns, &done, &err);
	if (code != ERR_OK)
		fail(infer, &err);
	else if (done)
		finish(infer);
	err_done(&err);
	return code != ERR_OK || done;
}

static bool decode_step(struct work *work, int64_t until_ns)
{
	struct infer *infer = CONTAINER_OF(work, struct infer, work);
	if (infer->call->connection)
		return decode_some(infer);
	infer_destroy(infer);
	return true;
}

/* --- shared memory: who names a part of a region has it held until the run is gone --- */

static enum err_code find_part(struct infer *infer, struct region_part *part, struct err *err)
{
	struct region *region;
	if (!part->region.len)
		return ERR_OK;
	enum err_code code = regions_find(parts_of(infer)->regions, infer->call->principal, part->region, part->offset, part->bytes,
					  &region, err);
	if (code != ERR_OK)
		return code;
	part->data = region->data + part->offset;
	if (run_hold(infer->run, region_unref, region))
		return ERR_OK;
	region_unref(region);
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a request's regions");
}

static enum err_code find_parts(struct infer *infer, struct err *err)
{
	size_t inputs, outputs;
	struct region_part *parts = inference_parser_input_parts(infer->parser, &inputs);
	struct requested_output *requested = inference_parser_outputs(infer->parser, &outputs);
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < inputs; i++)
		code = find_part(infer, &parts[i], err);
	for (size_t i = 0; code == ERR_OK && i < outputs; i++)
		code = find_part(infer, &requested[i].part, err);
	return code;
}

static void decode(struct infer *infer)
{
	struct run *run = infer->run;
	const struct settings *settings = parts_of(infer)->settings;
	struct err err = ERR_INIT;
	run->method = signature_method(run->servable->signature, STR("run"));
	if (!run->method)
		err_set(&err, ERR_FAILED_PRECONDITION, "%s has no method 'run'", run->servable->full_name);
	else if (lookup_decide(infer->call->principal, run->servable, RIGHT_RUN, &err) == ERR_OK) {
		infer->parser = inference_parser_create(&run->arena, run->method, &infer->message,
							(int)settings_int(settings, SETTING_LIMITS_JSON_DEPTH));
		if (!infer->parser)
			err_set(&err, ERR_RESOURCE_EXHAUSTED, "no memory to read a request");
		else if (inference_parser_begin(infer->parser, &err) == ERR_OK)
			(void)!find_parts(infer, &err);
	}
	if (err.code != ERR_OK) {
		fail(infer, &err);
		err_done(&err);
		return;
	}
	infer->phase = PHASE_DECODE;
	infer->work.step = decode_step;
	if (!decode_some(infer))
		server_add_work(infer->call->connection->server, &infer->work);
}

static void on_servable(void *context, struct servable *servable, const struct err *err)
{
	struct infer *infer = context;
	if (!infer->call->connection) {
		infer_destroy(infer);
	} else if (servable) {
		infer->run->servable = servable_ref(servable);
		decode(infer);
	} else {
		struct err copy = ERR_INIT;
		err_copy(&copy, err);
		fail(infer, &copy);
		err_done(&copy);
	}
}

static void find_servable(struct infer *infer)
{
	struct err err = ERR_INIT;
	struct model_name name;
	enum lookup_state state = LOOKUP_DONE;
	infer->phase = PHASE_LOOKUP;
	if (model_name_parse(infer->message.model_name, &name, &err) == ERR_OK)
		state = lookup_servable(parts_of(infer)->lookup, infer->call->principal, name.owner, name.name,
					infer->message.model_version, &infer->run->servable, on_servable, infer, &err);
	if (state == LOOKUP_DONE && infer->run->servable)
		decode(infer);
	else if (state == LOOKUP_DONE)
		fail(infer, &err);
	err_done(&err);
}

/* Nobody waits for the answers any more. */
static void on_close(struct call *call)
{
	struct run_path *runs = call->runs;
	for (struct infer *infer = call->state, *next; infer; infer = next) {
		next = infer->next;
		if (infer->phase == PHASE_RUN)
			run_path_give_up(runs, infer->run); /* which may free it */
	}
}

void infer_on_message(struct call *call, struct message *message)
{
	struct err err = ERR_INIT;
	struct infer *infer = arena_alloc(&message->arena, sizeof(*infer));
	struct run *run = run_create(message->arena.ceiling_bytes);
	*infer = (struct infer){ .call = call_ref(call), .run = run, .message_bytes = message->len, .err = ERR_INIT };
	struct str bytes = { (const char *)message->data, message->len };
	run->arena = message->arena; /* with the message in it */
	run->received_ns = is_stream(call) ? loop_now_ns(parts_of(infer)->loop) : call->received_ns;
	infer->next = call->state;
	if (infer->next)
		infer->next->previous = infer;
	call->state = infer;
	call->on_close = on_close;
	call->runs = parts_of(infer)->runs;
	if (inference_scan(&run->arena, bytes, &infer->message, &err) == ERR_OK)
		find_servable(infer);
	else
		fail(infer, &err);
	err_done(&err);
}
