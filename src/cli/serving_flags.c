#include "cli/serving_flags.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/buf.h"

#define DOCUMENT_MAX 65536
#define REPLICAS_MAX 4096
#define ROWS_MAX 65536

/* --serving: JSON as it stands, or the file that holds it. */
static enum err_code put_document(const struct args *args, json_t *dlhub, struct err *err)
{
	const char *given = args_value(args, "serving");
	struct buf text;
	json_t *json;
	if (!given)
		return ERR_OK;
	buf_init(&text, DOCUMENT_MAX);
	bool inline_json = given[strspn(given, " \t\r\n")] == '{';
	enum err_code code = ERR_OK;
	if (inline_json)
		buf_puts(&text, given);
	else
		code = cli_read(given, DOCUMENT_MAX, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ?: "", text.len, 16, inline_json ? "--serving" : given, &json, err);
	buf_done(&text);
	if (code != ERR_OK)
		return code;
	if (!json_is_object(json)) {
		json_decref(json);
		return err_set(err, ERR_INVALID_ARGUMENT, "--serving: an object {\"replicas\": …, \"batch\": …} is expected");
	}
	json_object_set_new(dlhub, "serving", json);
	return ERR_OK;
}

static enum err_code put_replicas(const struct args *args, json_t *serving, struct err *err)
{
	const char *text = args_value(args, "replicas");
	int64_t min = 0, max = 0;
	if (!text)
		return ERR_OK;
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *least = xstrndup(text, colon ? (size_t)(colon - text) : 0);
	if ((colon && !str_parse_i64(least, 0, REPLICAS_MAX, &min)) ||
	    !str_parse_i64(colon ? colon + 1 : text, MAX(min, 1), REPLICAS_MAX, &max)) {
		err_set(err, ERR_INVALID_ARGUMENT, "--replicas '%s' is no number of workers", text);
		return err_advise(err, "write --replicas 4 for at most four, or --replicas 1:4 to keep one always; up to %d",
				  REPLICAS_MAX);
	}
	json_t *replicas = json_pack("{s:I}", "max", (json_int_t)max);
	if (colon)
		json_object_set_new(replicas, "min", json_integer(min));
	json_object_set_new(serving, "replicas", replicas);
	return ERR_OK;
}

static enum err_code put_batch(const struct args *args, json_t *serving, struct err *err)
{
	const char *text = args_value(args, "batch");
	int64_t max;
	if (!text)
		return ERR_OK;
	if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0) {
		json_object_set_new(serving, "batch", json_boolean(text[1] == 'n'));
		return ERR_OK;
	}
	if (!str_parse_i64(text, 1, ROWS_MAX, &max)) {
		err_set(err, ERR_INVALID_ARGUMENT, "--batch '%s' is no number of rows", text);
		return err_advise(err, "write on, off, or the most rows of a batch (up to %d)", ROWS_MAX);
	}
	json_t *batch = json_object_get(serving, "batch");
	if (json_is_object(batch))
		json_object_set_new(batch, "max", json_integer(max));
	else
		json_object_set_new(serving, "batch", json_pack("{s:I}", "max", (json_int_t)max));
	return ERR_OK;
}

static enum err_code put_number(const struct args *args, const char *option, int64_t most, json_t *serving, struct err *err)
{
	int64_t number = 0;
	enum err_code code = args_number(args, option, 1, most, &number, err);
	if (code == ERR_OK && args_has(args, option))
		json_object_set_new(serving, option, json_integer(number));
	return code;
}

static enum err_code put_words(const struct args *args, json_t *serving, struct err *err)
{
	const char *engine = args_value(args, "engine"), *engines = args_value(args, "engines");
	if (args_has(args, "memo") && args_has(args, "no-memo"))
		return err_set(err, ERR_INVALID_ARGUMENT, "--memo and --no-memo do not go together");
	/* What a file says of the memo (its lifetime) stands where it is switched on only. */
	if (args_has(args, "memo") && !json_is_object(json_object_get(serving, "memo")))
		json_object_set_new(serving, "memo", json_true());
	if (args_has(args, "no-memo"))
		json_object_set_new(serving, "memo", json_false());
	if (engine && strcmp(engine, "fastest") == 0)
		json_object_del(serving, "engine");
	else if (engine)
		json_object_set_new(serving, "engine", json_string(engine));
	if (!engines)
		return ERR_OK;
	if (strcmp(engines, "quick") != 0 && strcmp(engines, "all") != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "--engines is quick or all, not '%s'", engines);
	json_object_set_new(serving, "engines", json_string(engines));
	return ERR_OK;
}

enum err_code serving_flags_put(const struct args *args, json_t *dlhub, struct err *err)
{
	static const char *const flags[] = { "replicas", "batch",   "memo",   "no-memo",
					     "priority", "threads", "engine", "engines" };
	bool any = false;
	enum err_code code = put_document(args, dlhub, err);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		any |= args_has(args, flags[i]);
	if (code != ERR_OK || !any)
		return code;
	json_t *serving = json_object_get(dlhub, "serving");
	if (!json_is_object(serving)) {
		serving = json_object();
		json_object_set_new(dlhub, "serving", serving);
	}
	code = put_replicas(args, serving, err);
	if (code == ERR_OK)
		code = put_batch(args, serving, err);
	if (code == ERR_OK)
		code = put_number(args, "priority", 4, serving, err);
	if (code == ERR_OK)
		code = put_number(args, "threads", 1024, serving, err);
	return code == ERR_OK ? put_words(args, serving, err) : code;
}
