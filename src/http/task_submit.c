/* Asynchronous runs: what a run says of its task, and the 202 once it is kept. */
#include "http/server_impl.h"

#include "base/alloc.h"

#define START_WITHIN_MAX_S 31536000

/* A time of the body (microseconds; 0: not said) or of the query, in milliseconds. */
static enum err_code take_seconds(struct request *request, const char *name, int64_t body_us, int64_t most_s, int64_t *ret_ms,
				  struct err *err)
{
	int64_t seconds;
	enum err_code code = request_argument_int(request, name, 1, most_s, 0, &seconds, err);
	if (code != ERR_OK)
		return code;
	if (body_us > most_s * 1000000)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is more than %lld seconds", name, (long long)most_s);
	*ret_ms = seconds ? seconds * 1000 : (body_us + 999) / 1000;
	return ERR_OK;
}

static enum err_code read_options(struct request *request, struct task_options *ret, struct err *err)
{
	const struct run_request *asked = &request->run->request;
	const struct settings *settings = request->server->parts.settings;
	int64_t longest_s = MAX(settings_int(settings, SETTING_LIMITS_RESULT_S), settings_int(settings, SETTING_LIMITS_RESULT_MOST_S));
	*ret = (struct task_options){ .form = request->infer ? TASK_OIP : TASK_DLHUB,
				      .bypass_memo = request_says_no_cache(request),
				      .priority = (int)MIN(asked->priority, (int64_t)PRIORITY_LEVELS) };
	enum err_code code = take_seconds(request, "expires_s", asked->expires_us, longest_s, &ret->lifetime_ms, err);
	if (code == ERR_OK)
		code = take_seconds(request, "start_within_s", asked->start_within_us, START_WITHIN_MAX_S, &ret->start_within_ms,
				    err);
	return code;
}

enum err_code task_submit_wanted(struct request *request, bool *ret, struct err *err)
{
	const struct run_request *asked = &request->run->request;
	enum err_code code = request_argument_bool(request, "asynchronous", ret, err);
	if (code != ERR_OK)
		return code;
	*ret |= asked->asynchronous;
	if (asked->each && !*ret) {
		err_set(err, ERR_INVALID_ARGUMENT, "\"each\", many inputs, makes a task");
		return err_advise(err, "send \"asynchronous\": true with it");
	}
	if (*ret && !request->principal->user) {
		err_set(err, ERR_UNAUTHENTICATED, "an asynchronous run needs a token: its result is kept for its user");
		return err_advise(err, "send 'Authorization: Bearer TOKEN', or run it synchronously");
	}
	return ERR_OK;
}

static void on_accepted(void *context, const char *id, const struct err *err)
{
	struct request *request = context;
	request->server->pending--;
	request->submission = NULL;
	if (id) {
		buf_printf(&request->reply.body, "{\"task_id\":\"%s\",\"status\":\"queued\",\"servable\":\"%s\"}\n", id,
			   request->servable->full_name);
		request->reply.location = xasprintf("/api/v1/tasks/%s", id);
		request->reply.status = 202;
	} else {
		reply_error(request, err);
	}
	request_complete(request);
}

enum err_code task_submit(struct request *request, struct err *err)
{
	struct run *run = request->run;
	struct task_options options;
	enum err_code code = read_options(request, &options, err);
	if (code != ERR_OK)
		return code;
	run->servable = servable_ref(request->servable);
	run->principal = principal_ref(request->principal);
	code = tasks_submit(request->server->parts.tasks, run, &options, on_accepted, request, &request->submission, err);
	if (code != ERR_OK)
		return code;
	request->run = NULL; /* it is the task's, and with it what lies in its arena */
	request->parser = NULL;
	request->server->pending++;
	leavers_watch(request);
	return ERR_OK;
}

void task_submit_forget(struct request *request)
{
	if (!request->submission)
		return;
	tasks_forget(request->submission);
	request->submission = NULL;
	request->server->pending--;
}
