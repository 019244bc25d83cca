/* The two REST decoders in front of the one serving path: Open Inference Protocol `infer` and DLHub `run`. Their bodies are
 * read in run_body.c, their answers made in run_reply.c. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define RUN_SLACK (1u << 20) /* names, shapes, metadata beside the bytes of inputs and outputs */
#define RUN_S_MAX 86400
#define FINISH_HERE (32u << 10) /* bytes that the end of parsing may look at on the loop */

/* The run and what uncompresses its body; the parser is the caller's. */
static enum err_code run_begin(struct request *request, struct err *err)
{
	const struct settings *settings = request->server->parts.settings;
	if (request->timing && strcmp(request->timing, "1") != 0)
		request->timing = NULL;
	const char *method_name = request_argument(request, "method") ?: "run";
	const struct method *method = signature_method(request->servable->signature, str_of(method_name));
	if (!method)
		return err_set(err, ERR_NOT_FOUND, "%s/%s has no method '%s'", request->servable->owner, request->servable->name,
			       method_name);
	request->run = run_create((size_t)(settings_int(settings, SETTING_LIMITS_BODY_BYTES) * 2 +
					   settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK));
	request->run->method = method;
	request->received_ns = request->run->received_ns = loop_now_ns(request->server->parts.loop);
	if (tracer_begin(run_reporter_tracer(request->server->parts.reporter), request->traceparent, &request->trace))
		trace_format(&request->trace, request->run->trace);
	return unpacker_begin(request, err);
}

static int json_depth(struct request *request)
{
	return (int)settings_int(request->server->parts.settings, SETTING_LIMITS_JSON_DEPTH);
}

static enum err_code take_parser(struct request *request, struct run_parser *parser, struct err *err)
{
	request->parser = parser;
	return parser ? ERR_OK : err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to read a body");
}

static enum err_code begin_npy(struct request *request, struct err *err)
{
	enum err_code code = run_begin(request, err);
	if (code == ERR_OK)
		code = run_arguments_read(request, err);
	if (code != ERR_OK)
		return code;
	return take_parser(request, npy_parser_create(&request->run->arena, request->run->method, json_depth(request)), err);
}

enum err_code begin_infer(struct request *request, struct err *err)
{
	int64_t json_bytes = -1;
	request->infer = true;
	if (request_has_type(request, TYPE_NPY))
		return begin_npy(request, err);
	if (request->inference_header_length && !str_parse_i64(request->inference_header_length, 0, INT64_MAX, &json_bytes))
		return err_set(err, ERR_INVALID_ARGUMENT, "Inference-Header-Content-Length is '%s', but must be a number of bytes",
			       request->inference_header_length);
	enum err_code code = run_begin(request, err);
	if (code != ERR_OK)
		return code;
	if (json_bytes > request->body_bytes && request->body_bytes >= 0 && !request->unpacker)
		return err_set(err, ERR_INVALID_ARGUMENT, "Inference-Header-Content-Length is larger than the body");
	if (json_bytes == 0 && (code = run_arguments_read(request, err)) != ERR_OK)
		return code;
	return take_parser(request, oip_parser_create(&request->run->arena, request->run->method, json_bytes, json_depth(request)),
			   err);
}

enum err_code begin_run(struct request *request, struct err *err)
{
	if (request_has_type(request, TYPE_NPY))
		return begin_npy(request, err);
	enum err_code code = run_begin(request, err);
	if (code != ERR_OK)
		return code;
	struct arena *arena = &request->run->arena;
	const struct method *method = request->run->method;
	if (request_has_type(request, TYPE_BYTES) && !request->inference_header_length) {
		code = run_arguments_read(request, err);
		return code == ERR_OK ? take_parser(request, raw_parser_create(arena, method, json_depth(request)), err) : code;
	}
	code = take_parser(request, dlhub_parser_create(arena, method, json_depth(request)), err);
	if (code != ERR_OK)
		return code;
	if (request_has_type(request, TYPE_FORM) && run_parts_begin(request, err) != ERR_OK)
		return err->code;
	dlhub_parser_allow_items(request->parser, (size_t)settings_int(request->server->parts.settings, SETTING_LIMITS_EACH));
	if (!request_argument(request, "method"))
		dlhub_parser_allow_methods(request->parser, request->servable->signature);
	return code;
}

/* --- the body has ended --- */

static void on_run_done(void *context, struct run *run)
{
	struct request *request = context;
	request->server->pending--;
	leavers_unwatch(request);
	if (run_reply(request) && !refusal_hold(request))
		request_complete(request);
}

bool request_says_no_cache(const struct request *request)
{
	return request->cache_control && strcasestr(request->cache_control, "no-cache");
}

/* --- shared memory: who names a part of a region has it held until the run is gone --- */

static enum err_code find_part(struct request *request, struct region_part *part, struct err *err)
{
	struct region *region;
	enum err_code code = regions_find(request->server->parts.regions, request->principal, part->region, part->offset,
					  part->bytes, &region, err);
	if (code != ERR_OK)
		return code;
	part->data = region->data + part->offset;
	if (run_hold(request->run, region_unref, region))
		return ERR_OK;
	region_unref(region);
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a request's regions");
}

static enum err_code find_inputs(struct request *request, struct err *err)
{
	size_t count;
	struct region_part *parts = run_parser_parts(request->parser, &count);
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = find_part(request, &parts[i], err);
	return code;
}

static enum err_code find_outputs(struct request *request, bool asynchronous, struct err *err)
{
	struct run_request *asked = &request->run->request;
	for (size_t i = 0; i < asked->output_count; i++) {
		if (!asked->outputs[i].part.region.len)
			continue;
		if (asynchronous || request->form != FORM_OWN)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "output '" STR_FMT "' cannot be written to shared memory: %s", STR_ARG(asked->outputs[i].name),
				       asynchronous ? "the run is asynchronous, and the region may be gone when it ends" :
						      "the reply is asked for in another form");
		enum err_code code = find_part(request, &asked->outputs[i].part, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* May run on the pool. */
static enum err_code parse_end(struct request *request, struct err *err)
{
	struct run *run = request->run;
	size_t references = 0;
	enum err_code code = request->follow ? run_references_follow(request, err) : run_body_end(request, err);
	if (code == ERR_OK)
		code = run_parser_settle(request->parser, err);
	if (code == ERR_OK)
		(void)run_parser_references(request->parser, &references);
	if (code == ERR_OK && references && !request->follow) {
		request->follow = true; /* first they are found */
		return ERR_OK;
	}
	if (code == ERR_OK)
		code = run_parser_finish(request->parser, &run->request, err);
	if (code != ERR_OK)
		return code;
	if (request->query_parameters.len)
		run->request.parameters = request->query_parameters;
	request->follow = false;
	run->method = run->request.method;
	return run_reply_choose(request, run->method, err);
}

static enum err_code submit(struct request *request, bool *ret_done, struct err *err)
{
	struct run *run = request->run;
	const struct http_parts *parts = &request->server->parts;
	int64_t limit_us = settings_int(parts->settings, SETTING_LIMITS_RUN_S) * 1000000;
	if (run->request.timeout_us > 0)
		limit_us = MIN(run->request.timeout_us, (int64_t)RUN_S_MAX * 1000000);
	run->servable = servable_ref(request->servable);
	run->principal = principal_ref(request->principal);
	run->deadline_ns = loop_now_ns(parts->loop) + limit_us * 1000;
	run->priority = (int)MIN(run->request.priority, (int64_t)PRIORITY_LEVELS);
	run->bypass_memo = request_says_no_cache(request);
	run->on_done = on_run_done;
	run->context = request;
	request->parsed_ns = clock_ns();
	return run_path_submit(parts->runs, run, ret_done, err);
}

/* false: the answer comes later, and the request waits for it. */
static bool go_on(struct request *request)
{
	struct err err = ERR_INIT;
	bool done = false, asynchronous;
	enum err_code code = task_submit_wanted(request, &asynchronous, &err);
	if (code == ERR_OK)
		code = find_outputs(request, asynchronous, &err);
	if (code == ERR_OK)
		code = asynchronous ? task_submit(request, &err) : submit(request, &done, &err);
	if (code != ERR_OK) {
		reply_error(request, &err);
		err_done(&err);
		return true;
	}
	if (asynchronous) {
		request_suspend(request);
		return false;
	}
	if (done && run_reply(request))
		return true;
	request_suspend(request);
	if (!done) {
		request->server->pending++;
		leavers_watch(request);
	}
	return false;
}

static void parse_end_work(void *context)
{
	struct request *request = context;
	struct err err = ERR_INIT;
	if (parse_end(request, &err) != ERR_OK)
		reply_error(request, &err);
	err_done(&err);
}

static void parse_end_done(void *context);

/* The body has been read. false: its answer comes later. */
static bool parsed(struct request *request)
{
	struct http_server *server = request->server;
	if (!request->reply.status && request->follow) {
		if (pool_submit(server->parts.loop, LANE_FETCH, parse_end_work, parse_end_done, request)) {
			server->pending++;
			request_suspend(request);
			return false;
		}
		struct err err = ERR_INIT;
		err_set(&err, ERR_UNAVAILABLE, "the hub is busy: too many runs name inputs that are to be found");
		reply_error(request, &err);
		err_done(&err);
	}
	return (request->reply.status || go_on(request)) && !refusal_hold(request);
}

static void parse_end_done(void *context)
{
	struct request *request = context;
	request->server->pending--;
	if (parsed(request))
		request_complete(request);
}

void run_finish(struct request *request)
{
	struct http_server *server = request->server;
	struct err err = ERR_INIT;
	if ((request->parts && run_parts_end(request, &err) != ERR_OK) || find_inputs(request, &err) != ERR_OK) {
		reply_error(request, &err);
		err_done(&err);
		request->phase = PHASE_REPLY;
		return;
	}
	if (run_parser_left(request->parser) > FINISH_HERE &&
	    pool_submit(server->parts.loop, LANE_DISK, parse_end_work, parse_end_done, request)) {
		server->pending++;
		request_suspend(request);
		return;
	}
	parse_end_work(request);
	if (parsed(request))
		request->phase = PHASE_REPLY;
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
