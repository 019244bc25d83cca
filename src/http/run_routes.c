/* The two REST decoders in front of the one serving path: Open Inference Protocol `infer` and DLHub `run`. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define RUN_SLACK (1u << 20) /* names, shapes, metadata beside the bytes of inputs and outputs */
#define RUN_S_MAX 86400
#define SMALL_BINARY (32u << 10)

static enum err_code run_begin(struct request *request, const char *method_name, struct err *err)
{
	const struct settings *settings = request->server->parts.settings;
	const struct method *method = signature_method(request->servable->signature, str_of(method_name));
	if (!method)
		return err_set(err, ERR_NOT_FOUND, "%s/%s has no method '%s'", request->servable->owner, request->servable->name,
			       method_name);
	request->run = run_create((size_t)(settings_int(settings, SETTING_LIMITS_BODY_BYTES) * 2 +
					   settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK));
	request->run->method = method;
	request->received_ns = loop_now_ns(request->server->parts.loop);
	if (tracer_begin(run_reporter_tracer(request->server->parts.reporter), request->traceparent, &request->trace))
		trace_format(&request->trace, request->run->trace);
	return ERR_OK;
}

static int json_depth(struct request *request)
{
	return (int)settings_int(request->server->parts.settings, SETTING_LIMITS_JSON_DEPTH);
}

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to read a body");
}

enum err_code begin_infer(struct request *request, struct err *err)
{
	int64_t json_bytes = -1;
	if (request->inference_header_length && !str_parse_i64(request->inference_header_length, 0, INT64_MAX, &json_bytes))
		return err_set(err, ERR_INVALID_ARGUMENT, "Inference-Header-Content-Length is '%s', but must be a number of bytes",
			       request->inference_header_length);
	if (json_bytes > request->body_bytes && request->body_bytes >= 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "Inference-Header-Content-Length is larger than the body");
	enum err_code code = run_begin(request, request_argument(request, "method") ?: "run", err);
	if (code != ERR_OK)
		return code;
	request->parser = oip_parser_create(&request->run->arena, request->run->method, json_bytes, json_depth(request));
	return request->parser ? ERR_OK : no_memory(err);
}

enum err_code begin_run(struct request *request, struct err *err)
{
	enum err_code code = run_begin(request, request_argument(request, "method") ?: "run", err);
	if (code != ERR_OK)
		return code;
	request->parser = dlhub_parser_create(&request->run->arena, request->run->method, json_depth(request));
	if (!request->parser)
		return no_memory(err);
	if (!request_argument(request, "method"))
		dlhub_parser_allow_methods(request->parser, request->servable->signature);
	return ERR_OK;
}

void run_feed(struct request *request, const char *data, size_t *len)
{
	struct err err = ERR_INIT;
	const struct settings *settings = request->server->parts.settings;
	int64_t most = settings_int(settings, SETTING_LIMITS_BODY_BYTES);
	int64_t budget_ns = settings_int(settings, SETTING_LIMITS_LOOP_TURN_US) * 1000;
	size_t used = 0;
	if (request->body_seen > most)
		err_set(&err, ERR_OUT_OF_RANGE, "the body has more than %lld bytes (limits.body_bytes)", (long long)most);
	else
		(void)!run_parser_feed(request->parser, data, *len, budget_ns, &used, &err);
	if (err.code == ERR_OK) {
		*len -= used;
		if (*len)
			request_pause(request);
	} else {
		reply_error(request, &err);
		*len = 0;
	}
	err_done(&err);
}

/* --- the answer --- */

/* The outputs that the caller asked for, in its order. */
static enum err_code pick_outputs(struct run *run, const struct tensor **ret, const bool **ret_binary, size_t *ret_count,
				  struct err *err)
{
	const struct run_request *request = &run->request;
	size_t count = request->output_count ? request->output_count : run->output_count;
	struct tensor *tensors = run->outputs;
	/* The servable's outputs may have left next to nothing of the arena. */
	bool *binary = arena_try(&run->arena, count + 1);
	if (request->output_count)
		tensors = arena_try(&run->arena, count * sizeof(*tensors));
	if (!binary || !tensors)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to answer");
	for (size_t i = 0; i < count; i++) {
		binary[i] = request->binary_default;
		if (!request->output_count)
			continue;
		const struct requested_output *wanted = &request->outputs[i];
		size_t k = 0;
		while (k < run->output_count && !str_eq(run->outputs[k].name, wanted->name))
			k++;
		if (k == run->output_count)
			return err_set(err, ERR_INVALID_ARGUMENT, "there is no output '" STR_FMT "'", STR_ARG(wanted->name));
		tensors[i] = run->outputs[k];
		if (wanted->binary >= 0)
			binary[i] = wanted->binary;
	}
	*ret = tensors;
	*ret_binary = binary;
	*ret_count = count;
	return ERR_OK;
}

/* Puts few bytes of binary tensors behind the JSON: libmicrohttpd sends a reply in pieces only after its head, and a
 * client that waits would wake twice. */
static bool append_small(struct reply *reply, size_t count)
{
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += reply->binary_flags[i] ? reply->binary[i].len : 0;
	if (bytes > SMALL_BINARY || !buf_reserve(&reply->body, bytes))
		return false;
	for (size_t i = 0; i < count; i++)
		if (reply->binary_flags[i])
			buf_append(&reply->body, reply->binary[i].data, reply->binary[i].len);
	return true;
}

static enum err_code write_infer(struct request *request, struct run *run, struct err *err)
{
	struct reply *reply = &request->reply;
	size_t count = 0;
	bool any_binary;
	enum err_code code = oip_outputs_convert(&run->arena, run->method, run->outputs, run->output_count, err);
	if (code == ERR_OK)
		code = pick_outputs(run, &reply->binary, &reply->binary_flags, &count, err);
	if (code != ERR_OK)
		return code;
	code = oip_response_write(&reply->body, str_of(run->servable->full_name), str_of(run->servable->number_text),
				  run->request.id, run->method, reply->binary, count, reply->binary_flags, (struct str){ 0 },
				  &any_binary, err);
	if (code != ERR_OK)
		return code;
	if (any_binary) {
		reply->json_bytes = reply->body.len;
		reply->content_type = "application/octet-stream";
		if (!append_small(reply, count))
			reply->binary_count = count;
	}
	return ERR_OK;
}

static enum err_code write_run(struct request *request, struct run *run, struct err *err)
{
	struct buf *body = &request->reply.body;
	bool envelope = run->request.envelope || run->request.debug;
	if (envelope)
		buf_puts(body, "{\"output\":");
	enum err_code code = dlhub_output_write(body, run->method, run->outputs, run->output_count, !envelope, err);
	if (code != ERR_OK)
		return code;
	if (envelope) {
		buf_printf(body, ",\"version\":%s,\"metadata\":{\"run_ms\":%.3f", run->servable->number_text,
			   (double)run->run_ns / 1e6);
		if (run->metadata.len > 2) { /* an object with something in it */
			buf_putc(body, ',');
			buf_append(body, run->metadata.data + 1, run->metadata.len - 2);
		}
		buf_puts(body, "}}");
	}
	return ERR_OK;
}

static void report(struct request *request, const struct err *err)
{
	run_report(request->server->parts.reporter, &(struct run_report){ .run = request->run,
									  .front_door = "http",
									  .request_id = request->id,
									  .trace = *request->trace.trace_id ? &request->trace : NULL,
									  .code = err->code,
									  .error = err->code == ERR_OK ? NULL : err_text(err),
									  .received_ns = request->received_ns,
									  .ended_ns = request->ended_ns,
									  .answered_ns = clock_ns() });
}

static void answer(struct request *request, struct run *run)
{
	struct err err = ERR_INIT;
	request->ended_ns = clock_ns();
	if (run->err.code != ERR_OK)
		err_move(&err, &run->err);
	else
		(void)!(request->route->handler == begin_infer ? write_infer : write_run)(request, run, &err);
	if (err.code == ERR_OK && request->reply.body.overflowed)
		err_set(&err, ERR_OUT_OF_RANGE, "the answer as JSON is larger than limits.output_bytes: ask for binary output");
	if (err.code == ERR_OK) {
		request->reply.status = 200;
	} else {
		reply_error(request, &err);
		if (run->metadata.len > 2) {
			struct buf *body = &request->reply.body;
			body->len -= 2; /* "}\n" */
			buf_puts(body, ",\"metadata\":");
			buf_append(body, run->metadata.data, run->metadata.len);
			buf_puts(body, "}\n");
		}
	}
	report(request, &err);
	err_done(&err);
}

static void on_run_done(void *context, struct run *run)
{
	struct request *request = context;
	request->server->pending--;
	answer(request, run);
	request_complete(request);
}

void run_finish(struct request *request)
{
	struct run *run = request->run;
	const struct http_parts *parts = &request->server->parts;
	struct err err = ERR_INIT;
	bool done = false;
	if (run_parser_finish(request->parser, &run->request, &err) == ERR_OK) {
		run->method = run->request.method;
		if (run->request.asynchronous)
			err_set(&err, ERR_UNIMPLEMENTED, "asynchronous runs are not there yet: leave \"asynchronous\" out");
	}
	if (err.code == ERR_OK) {
		int64_t limit_us = settings_int(parts->settings, SETTING_LIMITS_RUN_S) * 1000000;
		if (run->request.timeout_us > 0)
			limit_us = MIN(run->request.timeout_us, (int64_t)RUN_S_MAX * 1000000);
		run->servable = servable_ref(request->servable);
		run->principal = principal_ref(request->principal);
		run->deadline_ns = loop_now_ns(parts->loop) + limit_us * 1000;
		run->bypass_memo = request->cache_control && strcasestr(request->cache_control, "no-cache");
		run->on_done = on_run_done;
		run->context = request;
		(void)!run_path_submit(parts->runs, run, &done, &err);
	}
	if (err.code != ERR_OK) {
		reply_error(request, &err);
		err_done(&err);
		request->phase = PHASE_REPLY;
		return;
	}
	if (done) {
		answer(request, run);
		request->phase = PHASE_REPLY;
		return;
	}
	request->server->pending++;
	request_suspend(request);
	leavers_watch(request);
}

static void on_forsaken_done(void *context, struct run *run)
{
	run_destroy(run);
}

void run_give_up(struct request *request)
{
	struct run *run = request->run;
	request->run = NULL;
	request->server->pending--;
	run->on_done = on_forsaken_done;
	run->context = NULL;
	run_path_give_up(request->server->parts.runs, run);
}
