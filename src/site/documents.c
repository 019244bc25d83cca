#include "site/documents.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "wire/site_message.h"

#define DEPTH 16
#define CORES_MAX 65536
#define MEMORY_MAX (1ll << 50)
#define LOAD_DEPTH 512
#define MESSAGE_BYTES (128 << 10) /* of an error's text: a traceback is in it */

static int64_t number_of(const json_t *json, const char *path)
{
	return json_integer_value(json_path(json, path));
}

static enum err_code read_object(struct str text, int depth, const char *what, json_t **ret, struct err *err)
{
	enum err_code code = json_read(text.data, text.len, depth, what, ret, err);
	if (code == ERR_OK && !json_is_object(*ret)) {
		json_decref(*ret);
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s is no object", what);
	}
	return code;
}

static char *take_text(json_t *json)
{
	if (!json)
		abort(); /* texts of ours that are not UTF-8 */
	char *text = json_canonical(json);
	json_decref(json);
	return text;
}

/* --- HELLO --- */

char *hello_format(const struct site_hello *hello)
{
	const struct site_hardware *h = &hello->hardware;
	return take_text(json_pack("{s:{s:I, s:I}, s:s, s:s, s:{s:I, s:I, s:I}, s:I, s:s, s:b, s:O?}", "versions", "least",
				   (json_int_t)hello->version_least, "newest", (json_int_t)hello->version_newest, "instance",
				   hello->instance, "program", h->program, "hardware", "cores", (json_int_t)h->cores,
				   "memory_bytes", (json_int_t)h->memory_bytes, "gpus", (json_int_t)h->gpus, "capacity",
				   (json_int_t)h->capacity, "python", h->python, "native", (int)h->native, "workers",
				   hello->workers));
}

static bool workers_are_right(const json_t *workers)
{
	size_t i, k;
	json_t *worker, *run;
	json_array_foreach(workers, i, worker) {
		json_int_t id = number_of(worker, "id");
		if (id < 1 || id > UINT32_MAX || !json_is_array(json_object_get(worker, "runs")))
			return false;
		json_array_foreach(json_object_get(worker, "runs"), k, run)
			if (json_integer_value(run) < 1)
				return false;
	}
	return true;
}

enum err_code hello_parse(struct str text, struct site_hello *ret, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = read_object(text, DEPTH, "HELLO", &json, err);
	if (code != ERR_OK)
		return code;
	json_t *workers = json_object_get(json, "workers");
	struct site_hello hello = {
		.version_least = number_of(json, "versions.least"),
		.version_newest = number_of(json, "versions.newest"),
		.hardware = { .cores = number_of(json, "hardware.cores"),
			      .memory_bytes = number_of(json, "hardware.memory_bytes"),
			      .gpus = number_of(json, "hardware.gpus"),
			      .capacity = number_of(json, "capacity"),
			      .native = json_is_true(json_object_get(json, "native")) },
	};
	bool fits = str_copy(hello.instance, sizeof(hello.instance), json_path_string(json, "instance") ?: "") &&
		    str_copy(hello.hardware.program, sizeof(hello.hardware.program), json_path_string(json, "program") ?: "") &&
		    str_copy(hello.hardware.python, sizeof(hello.hardware.python), json_path_string(json, "python") ?: "");
	if (!fits || !*hello.instance || hello.version_least < 1 || hello.version_newest < hello.version_least ||
	    hello.hardware.cores < 1 || hello.hardware.cores > CORES_MAX || hello.hardware.capacity < 0 ||
	    hello.hardware.capacity > SITE_WORKERS_MAX || hello.hardware.memory_bytes < 0 ||
	    hello.hardware.memory_bytes > MEMORY_MAX || hello.hardware.gpus < 0 || (workers && !workers_are_right(workers)))
		return err_set(err, ERR_INVALID_ARGUMENT, "a HELLO that lacks something, or says what cannot be");
	hello.workers = workers ? json_incref(workers) : json_array();
	*ret = hello;
	return ERR_OK;
}

void hello_done(struct site_hello *hello)
{
	json_decref(hello->workers);
	hello->workers = NULL;
}

/* --- WELCOME --- */

char *welcome_format(const struct site_welcome *welcome)
{
	return take_text(json_pack("{s:I, s:I, s:I, s:{s:I, s:I}}", "version", (json_int_t)welcome->version, "silence_ms",
				   (json_int_t)welcome->silence_ms, "grace_ms", (json_int_t)welcome->grace_ms, "limits",
				   "body_bytes", (json_int_t)welcome->body_bytes, "output_bytes",
				   (json_int_t)welcome->output_bytes));
}

enum err_code welcome_parse(struct str text, struct site_welcome *ret, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = read_object(text, DEPTH, "WELCOME", &json, err);
	if (code != ERR_OK)
		return code;
	struct site_welcome welcome = { .version = number_of(json, "version"),
					.silence_ms = number_of(json, "silence_ms"),
					.grace_ms = number_of(json, "grace_ms"),
					.body_bytes = number_of(json, "limits.body_bytes"),
					.output_bytes = number_of(json, "limits.output_bytes") };
	if (welcome.version < 1 || welcome.silence_ms < 1 || welcome.grace_ms < 0 || welcome.body_bytes < 1 ||
	    welcome.output_bytes < 1)
		return err_set(err, ERR_INVALID_ARGUMENT, "a WELCOME that lacks something, or says what cannot be");
	*ret = welcome;
	return ERR_OK;
}

/* --- START --- */

char *start_format(const struct worker_spec *spec)
{
	const char *environment = spec->environment ? strrchr(spec->environment, '/') : NULL;
	json_t *load = json_loads(spec->load, 0, NULL);
	json_object_del(load, "directory");
	return take_text(json_pack("{s:s, s:s, s:s, s:s*, s:o, s:I, s:I, s:b}", "digest", spec->digest, "name", spec->name,
				   "program", spec->program, "environment", environment ? environment + 1 : NULL, "load", load,
				   "memory_bytes", (json_int_t)spec->memory_bytes, "start_deadline_ms",
				   (json_int_t)spec->start_deadline_ms, "network", (int)spec->network));
}

static bool is_digest(const char *text)
{
	struct digest digest;
	return text && digest_parse(text, strlen(text), &digest);
}

enum err_code start_parse(struct str text, struct site_start *ret, struct err *err)
{
	json_t *json;
	enum err_code code = read_object(text, LOAD_DEPTH, "START", &json, err);
	if (code != ERR_OK)
		return code;
	struct site_start start = { .json = json,
				    .digest = json_path_string(json, "digest"),
				    .program = json_path_string(json, "program"),
				    .environment = json_path_string(json, "environment"),
				    .name = json_path_string(json, "name"),
				    .load = json_object_get(json, "load"),
				    .memory_bytes = number_of(json, "memory_bytes"),
				    .start_deadline_ms = number_of(json, "start_deadline_ms"),
				    .network = json_is_true(json_object_get(json, "network")) };
	bool known = start.program && (strcmp(start.program, "native") == 0 || strcmp(start.program, "python") == 0);
	/* Digest and key become names of folders. */
	if (!known || !is_digest(start.digest) || (start.environment && !is_digest(start.environment)) || !start.name ||
	    !json_is_object(start.load) || start.memory_bytes < 1 || start.start_deadline_ms < 1) {
		json_decref(json);
		return err_set(err, ERR_INVALID_ARGUMENT, "a START that lacks something, or says what cannot be");
	}
	*ret = start;
	return ERR_OK;
}

void start_done(struct site_start *start)
{
	json_decref(start->json);
	start->json = NULL;
}

/* --- errors --- */

static json_t *pack_error(const struct err *error)
{
	json_t *json = json_pack("{s:s, s:s, s:s*}", "code", err_code_name(error->code), "message", err_text(error), "hint",
				 err_hint(error));
	if (!json) /* its words are not UTF-8 */
		json = json_pack("{s:s, s:s}", "code", err_code_name(error->code), "message", "(its text cannot be read)");
	return json;
}

char *error_format(const struct err *error, struct str metadata, int64_t run_ns)
{
	json_t *json = pack_error(error);
	if (metadata.len)
		json_object_set_new(json, "metadata", json_loadb(metadata.data, metadata.len, 0, NULL));
	if (run_ns)
		json_object_set_new(json, "run_ns", json_integer(run_ns));
	return take_text(json);
}

char *gone_format(const struct err *error, bool struck, const uint64_t *runs, size_t count)
{
	json_t *json = pack_error(error), *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer((json_int_t)runs[i]));
	json_object_set_new(json, "runs", list);
	json_object_set_new(json, "struck", json_boolean(struck));
	return take_text(json);
}

enum err_code error_parse(struct str text, json_t **ret, struct err *error, struct err *err)
{
	json_t *json;
	enum err_code code = read_object(text, DEPTH, "an error", &json, err);
	if (code != ERR_OK)
		return code;
	const char *name = json_path_string(json, "code"), *message = json_path_string(json, "message");
	enum err_code said = err_code_of_name(name ?: "UNKNOWN");
	err_set(error, said == ERR_OK ? ERR_UNKNOWN : said, "%.*s", MESSAGE_BYTES, message ?: "no message");
	if (json_path_string(json, "hint"))
		err_advise(error, "%.*s", MESSAGE_BYTES, json_path_string(json, "hint"));
	*ret = json;
	return ERR_OK;
}
