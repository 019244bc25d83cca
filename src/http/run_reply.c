/* The answer of a run in the form that its caller takes. What would hold up the loop is made on the pool. */
#include "http/accept.h"
#include "http/server_impl.h"

#include "base/clock.h"
#include "schedule/run_timing.h"
#include "wire/npy.h"

#define SMALL_BINARY (32u << 10)
#define ENCODE_HERE (16u << 10) /* bytes of outputs that become JSON on the loop */

/* --- which form --- */

static enum err_code unknown_output(const struct method *method, struct str name, struct err *err)
{
	char known[240] = "";
	for (size_t i = 0, len = 0; i < method->output_count && len < sizeof(known) - 1; i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s'" STR_FMT "'", i ? ", " : "",
					STR_ARG(method->outputs[i].name));
	if (name.data)
		return err_set(err, ERR_INVALID_ARGUMENT, "there is no output '" STR_FMT "'; there are: %s", STR_ARG(name), known);
	err_set(err, ERR_INVALID_ARGUMENT, "'" STR_FMT "' has %zu outputs (%s), but a reply of this type holds one",
		STR_ARG(method->name), method->output_count, known);
	return err_advise(err, "say which with ?output=NAME, or take JSON");
}

enum err_code run_reply_choose(struct request *request, const struct method *method, struct err *err)
{
	static const char *const infer[] = { "application/json", TYPE_BYTES, TYPE_NPY };
	static const char *const run[] = { "application/json", TYPE_NPY, TYPE_BYTES };
	static const enum run_form infer_forms[] = { FORM_OWN, FORM_OWN, FORM_NPY };
	static const enum run_form run_forms[] = { FORM_OWN, FORM_NPY, FORM_RAW };
	bool is_infer = request->infer;
	size_t choice = accept_choose(request->accept, is_infer ? infer : run, ARRAY_SIZE(run));
	request->form = is_infer ? infer_forms[choice] : run_forms[choice];
	if (request->form == FORM_OWN)
		return ERR_OK;
	const struct run_request *asked = &request->run->request;
	const char *argument = request_argument(request, "output");
	struct str name = { 0 };
	if (argument)
		name = str_of(argument);
	else if (asked->output_count == 1)
		name = asked->outputs[0].name;
	if (!name.data && method->output_count == 1)
		return ERR_OK;
	for (size_t i = 0; i < method->output_count; i++)
		if (name.data && str_eq(method->outputs[i].name, name)) {
			request->output = i;
			return ERR_OK;
		}
	return unknown_output(method, name, err);
}

/* --- Open Inference Protocol --- */

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
		binary[i] = binary[i] && !wanted->part.data;
	}
	*ret = tensors;
	*ret_binary = binary;
	*ret_count = count;
	return ERR_OK;
}

/* Puts few bytes of binary tensors behind the body: libmicrohttpd sends a reply in pieces only after its head, and a
 * client that waits would wake twice. */
static void send_behind(struct reply *reply, size_t count)
{
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += reply->binary_flags[i] ? reply->binary[i].len : 0;
	if (bytes > SMALL_BINARY || !buf_reserve(&reply->body, bytes)) {
		reply->binary_count = count;
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (reply->binary_flags[i])
			buf_append(&reply->body, reply->binary[i].data, reply->binary[i].len);
}

static enum err_code write_infer(struct request *request, struct run *run, struct err *err)
{
	struct reply *reply = &request->reply;
	size_t count = 0;
	bool any_binary;
	enum err_code code = oip_outputs_convert(&run->arena, run->method, run->outputs, run->output_count, err);
	if (code == ERR_OK)
		code = pick_outputs(run, &reply->binary, &reply->binary_flags, &count, err);
	if (code == ERR_OK)
		code = region_write_outputs(run, reply->binary, err);
	if (code != ERR_OK)
		return code;
	code = oip_response_write(&reply->body, str_of(run->servable->full_name), str_of(run->servable->number_text),
				  run->request.id, run->method, reply->binary, count, reply->binary_flags,
				  run->request.output_count ? run->request.outputs : NULL, (struct str){ 0 }, &any_binary, err);
	if (code != ERR_OK)
		return code;
	if (any_binary) {
		reply->json_bytes = reply->body.len;
		reply->content_type = TYPE_BYTES;
		send_behind(reply, count);
	}
	return ERR_OK;
}

/* --- DLHub --- */

enum err_code run_reply_write_dlhub(struct buf *body, struct run *run, struct err *err)
{
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

/* --- one output, as it is --- */

static void send_bytes(struct reply *reply, const struct tensor *tensor, const char *type)
{
	static const bool yes[] = { true };
	reply->binary = tensor;
	reply->binary_flags = yes;
	reply->content_type = type;
	send_behind(reply, 1);
}

static enum err_code write_npy(struct request *request, struct run *run, struct err *err)
{
	struct reply *reply = &request->reply;
	enum err_code code = oip_outputs_convert(&run->arena, run->method, run->outputs, run->output_count, err);
	if (code != ERR_OK)
		return code;
	const struct tensor *tensor = &run->outputs[request->output];
	if (npy_write_head(&reply->body, tensor)) {
		send_bytes(reply, tensor, TYPE_NPY);
		return ERR_OK;
	}
	reply->content_type = TYPE_NPY;
	return npy_write(&reply->body, tensor, err);
}

static enum err_code write_raw(struct request *request, struct run *run, struct err *err)
{
	int64_t count;
	enum err_code code = oip_outputs_convert(&run->arena, run->method, run->outputs, run->output_count, err);
	if (code != ERR_OK)
		return code;
	struct tensor *tensor = &run->outputs[request->output];
	if (tensor->dtype == DTYPE_BYTES) {
		code = tensor_element_count(tensor, &count, err);
		if (code != ERR_OK)
			return code;
		if (count != 1 || tensor->len < 4) {
			err_set(err, ERR_FAILED_PRECONDITION, "output '" STR_FMT "' has %lld strings, and bytes alone tell no ends",
				STR_ARG(run->method->outputs[request->output].name), (long long)count);
			return err_advise(err, "take it as JSON or .npy");
		}
		tensor->data += 4; /* its length */
		tensor->len -= 4;
	}
	send_bytes(&request->reply, tensor, TYPE_BYTES);
	return ERR_OK;
}

/* --- making it --- */

static enum err_code write_outputs(struct request *request, struct run *run, struct err *err)
{
	switch (request->form) {
	case FORM_NPY:
		return write_npy(request, run, err);
	case FORM_RAW:
		return write_raw(request, run, err);
	default:
		return request->infer ? write_infer(request, run, err) : run_reply_write_dlhub(&request->reply.body, run, err);
	}
}

void run_reply_encode(struct request *request)
{
	struct run *run = request->run;
	struct err *err = &run->err;
	if (err->code == ERR_OK)
		(void)!write_outputs(request, run, err);
	if (err->code == ERR_OK && request->reply.body.overflowed)
		err_set(err, ERR_OUT_OF_RANGE, "the answer as JSON is larger than limits.output_bytes: ask for binary output");
	if (err->code == ERR_OK) {
		request->reply.status = 200;
	} else {
		reply_error(request, err);
		reply_add_metadata(request, run->metadata);
	}
}

static void write_timing(struct request *request)
{
	char *text = arena_try(&request->arena, RUN_TIMING_SIZE);
	if (!text)
		return;
	run_timing_format(&(struct run_timing){ .run = request->run,
						.received_ns = request->received_ns,
						.decoded_ns = request->parsed_ns,
						.ended_ns = request->ended_ns,
						.answered_ns = request->answered_ns },
			  text);
	request->reply.timing = text;
}

static void report(struct request *request)
{
	const struct run *run = request->run;
	run_report(request->server->parts.reporter, &(struct run_report){ .run = run,
									  .front_door = "http",
									  .request_id = request->id,
									  .trace = *request->trace.trace_id ? &request->trace : NULL,
									  .code = run->err.code,
									  .error = run->err.code ? err_text(&run->err) : NULL,
									  .received_ns = request->received_ns,
									  .ended_ns = request->ended_ns,
									  .answered_ns = request->answered_ns });
}

/* The reply is made: what else it says, and that it is counted. On the loop. */
static void finish(struct request *request)
{
	enum memo_state memo = request->run->memo;
	request->answered_ns = clock_ns();
	if (memo == MEMO_HIT || memo == MEMO_JOINED)
		request->reply.memo = memo_state_name(memo);
	if (request->timing)
		write_timing(request);
	report(request);
}

/* --- where it is made --- */

/* Bytes that have to be gone through, as what printing a number costs. */
static size_t weigh(const struct request *request)
{
	const struct run *run = request->run;
	size_t weight = 0;
	bool printed = request->form == FORM_OWN && !(run->request.binary_default && !run->request.output_count);
	for (size_t i = 0; i < run->output_count; i++) {
		const struct tensor *tensor = &run->outputs[i];
		bool copied = dtype_size(tensor->dtype) == 0 || tensor->dtype == DTYPE_BF16;
		weight += tensor->dtype == DTYPE_JSON ? tensor->len / 2 : /* it is checked, then copied */
			  tensor->dtype == DTYPE_FILE ? tensor->len / 8 :
			  printed || copied	      ? tensor->len :
							0;
	}
	return weight;
}

static void work(void *context)
{
	struct request *request = context;
	if (!request->reply.status)
		run_reply_encode(request);
	reply_compress(request);
}

static void worked(void *context)
{
	struct request *request = context;
	request->server->pending--;
	finish(request);
	request_complete(request);
}

bool run_reply(struct request *request)
{
	struct http_server *server = request->server;
	bool light = request->run->err.code != ERR_OK || weigh(request) <= ENCODE_HERE;
	request->ended_ns = clock_ns();
	if (light)
		run_reply_encode(request);
	if ((!light || reply_wants_coding(request)) &&
	    pool_submit(server->parts.loop, LANE_DISK, work, worked, request)) {
		server->pending++;
		return false;
	}
	if (!light) /* the pool is full */
		run_reply_encode(request);
	finish(request);
	return true;
}
