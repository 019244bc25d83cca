#include "wire/run_parser.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <stdarg.h>

#define SLICE_BYTES 8192u	    /* read between two looks at the clock: about 20 us */
#define PARAMETERS_MAX (256u << 10) /* bytes of "parameters": they are read as a document */
#define QUOTE_MAX 80		    /* characters of the caller's text in an error */

struct run_parser *run_parser_create(struct arena *arena, const struct method *method, int json_depth, token_fn on,
				     then_fn finish)
{
	struct run_parser *parser = arena_try(arena, sizeof(*parser));
	if (!parser)
		return NULL;
	memset(parser, 0, offsetof(struct run_parser, fill));
	parser->arena = arena;
	parser->method = method;
	parser->json_depth = json_depth > 0 ? (uint32_t)json_depth : 1;
	parser->on = on;
	parser->finish = finish;
	parser->json_bytes = -1;
	parser->request.method = method;
	sink_init(&parser->collected, arena);
	sink_init(&parser->parameters, arena);
	sink_init(&parser->raw, arena);
	json_scan_init(&parser->body, parser->json_depth, 0);
	parser->scan = &parser->body;
	return parser;
}

/* ---- errors ---- */

enum err_code run_parser_no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

/* "input 'x', " or nothing. */
static void subject_format(const struct run_parser *parser, char *text, size_t size)
{
	text[0] = '\0';
	if (parser->subject.len)
		snprintf(text, size, "input '%.*s', ", (int)MIN(parser->subject.len, (size_t)QUOTE_MAX),
			 parser->subject.data);
	else if (parser->unnamed)
		snprintf(text, size, "input %u, ", parser->unnamed);
}

static enum err_code refuse_at(struct run_parser *parser, struct err *err, uint64_t offset, const char *why)
{
	char subject[QUOTE_MAX + 16], place[96] = "";
	subject_format(parser, subject, sizeof(subject));
	if (parser->filling) {
		tensor_fill_place(&parser->fill, place, sizeof(place) - 2);
		memcpy(place + strlen(place), ", ", 3);
	}
	return err_set(err, ERR_INVALID_ARGUMENT, "%s%sbyte %llu: %s", subject, place, (unsigned long long)offset, why);
}

enum err_code run_parser_refuse(struct run_parser *parser, struct err *err, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *why;
	if (vasprintf(&why, fmt, args) < 0)
		abort();
	va_end(args);
	enum err_code code = refuse_at(parser, err, parser->scan->token_offset, why);
	free(why);
	return code;
}

enum err_code run_parser_expected(struct run_parser *parser, const char *what, enum scan_token token, struct err *err)
{
	static const char *const came[] = {
		[SCAN_OBJECT] = "an object",
		[SCAN_ARRAY] = "a list",
		[SCAN_STRING_PART] = "a string",
		[SCAN_STRING] = "a string",
		[SCAN_NUMBER] = "a number",
		[SCAN_TRUE] = "true",
		[SCAN_FALSE] = "false",
		[SCAN_NULL] = "null",
		[SCAN_OBJECT_END] = "the end of the object",
		[SCAN_ARRAY_END] = "the end of the list",
		[SCAN_KEY] = "a key",
		[SCAN_KEY_PART] = "a key",
	};
	return run_parser_refuse(parser, err, "%s is expected, but %s came", what, came[token]);
}

/* "element 17: why" becomes "input 'x', element 17: why". */
enum err_code run_parser_name(struct run_parser *parser, struct err *err)
{
	char subject[QUOTE_MAX + 16];
	subject_format(parser, subject, sizeof(subject));
	_cleanup_free_ char *text = xstrdup(err_text(err));
	enum err_code code = err->code;
	return err_set(err, code, "%s%s", subject, text);
}

/* ---- small helpers of the handlers ---- */

static int find(const char *const *names, size_t count, struct str key)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == key.len && memcmp(names[i], key.data, key.len) == 0)
			return (int)i;
	return -1;
}

enum err_code run_parser_once(struct run_parser *parser, uint32_t *seen, const char *const *names, size_t count,
			      const char *where, int *ret, struct err *err)
{
	int member = find(names, count, parser->text);
	if (member < 0) {
		char known[160] = "";
		for (size_t i = 0, len = 0; i < count && len < sizeof(known) - 1; i++)
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "", names[i]);
		return run_parser_refuse(parser, err, "unknown member '%.*s'; %s has: %s",
					 (int)MIN(parser->text.len, (size_t)QUOTE_MAX), parser->text.data, where,
					 known);
	}
	if (*seen >> member & 1)
		return run_parser_refuse(parser, err, "'%s' comes twice", names[member]);
	*seen |= 1u << member;
	*ret = member;
	return ERR_OK;
}

enum err_code run_parser_keep(struct run_parser *parser, struct str text, struct str *ret, struct err *err)
{
	char *copy = arena_strndup(parser->arena, text.data, text.len);
	if (!copy)
		return run_parser_no_memory(err);
	*ret = (struct str){ copy, text.len };
	return ERR_OK;
}

size_t run_parser_argument(const struct argument *arguments, size_t count, struct str name)
{
	size_t i = 0;
	while (i < count && !str_eq(arguments[i].name, name))
		i++;
	return i;
}

enum err_code run_parser_unknown(struct run_parser *parser, const char *what, struct str name,
				 const struct argument *arguments, size_t count, struct err *err)
{
	char known[200] = "none";
	size_t len = 0;
	for (size_t i = 0; i < count && len < sizeof(known) - 1; i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s'" STR_FMT "'", i ? ", " : "",
					STR_ARG(arguments[i].name));
	return run_parser_refuse(parser, err, "method '" STR_FMT "' has no %s '%.*s'; it has: %s%s",
				 STR_ARG(parser->method->name), what, (int)MIN(name.len, (size_t)QUOTE_MAX), name.data,
				 known, len >= sizeof(known) ? "..." : "");
}

/* ---- capture ---- */

void run_parser_capture(struct run_parser *parser, struct sink *to, then_fn then)
{
	parser->capturing = true;
	parser->takes_parts = true;
	parser->capture = to;
	parser->capture_start = to ? to->len : 0;
	parser->capture_from = parser->scan->at;
	parser->capture_depth = parser->scan->depth;
	parser->capture_offset = json_scan_offset(parser->scan);
	parser->then = then;
	parser->on = run_parser_captured;
}

void run_parser_capture_drop(struct run_parser *parser)
{
	parser->capturing = false;
	parser->takes_parts = false;
	if (parser->capture)
		parser->capture->len = parser->capture_start;
}

/* Takes what stands in the piece up to the tokenizer's place. */
static enum err_code capture_more(struct run_parser *parser, struct err *err)
{
	struct sink *to = parser->capture;
	const uint8_t *from = parser->capture_from, *end = parser->scan->at;
	if (!to)
		return ERR_OK;
	if (to->len == parser->capture_start)
		for (; from < end && (json_scan_is_space(*from) || *from == ':' || *from == ','); from++)
			parser->capture_offset++;
	parser->capture_from = end;
	return sink_put(to, from, (size_t)(end - from)) ? ERR_OK : run_parser_no_memory(err);
}

enum err_code run_parser_captured(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (parser->scan->depth != parser->capture_depth || token == SCAN_STRING_PART || token == SCAN_KEY_PART)
		return ERR_OK;
	enum err_code code = capture_more(parser, err);
	if (code != ERR_OK)
		return code;
	parser->capturing = false;
	parser->takes_parts = false;
	return parser->then(parser, err);
}

enum err_code run_parser_parameter(struct run_parser *parser, struct str key, then_fn then, struct err *err)
{
	struct sink *to = &parser->parameters;
	if (!sink_put(to, to->len ? "," : "{", 1) || !sink_put_json_string(to, key) || !sink_put(to, ":", 1))
		return run_parser_no_memory(err);
	run_parser_capture(parser, to, then);
	return ERR_OK;
}

enum err_code run_parser_end_parameters(struct run_parser *parser, struct err *err)
{
	struct sink *text = &parser->parameters;
	if (text->len == 0)
		return ERR_OK;
	if (text->len > PARAMETERS_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "parameters: %zu bytes, but at most %u are taken", text->len,
			       PARAMETERS_MAX);
	_cleanup_json_ json_t *json = NULL;
	enum err_code code =
		json_read((const char *)text->data, text->len, (int)parser->json_depth, "parameters", &json, err);
	if (code == ERR_OK)
		parser->request.parameters = (struct str){ (const char *)text->data, text->len };
	return code;
}

/* ---- the loop ---- */

static enum err_code syntax_error(struct run_parser *parser, struct err *err)
{
	return refuse_at(parser, err, parser->scan->error_offset, parser->scan->why);
}

/* Gives the tokens of the present piece to their handlers, until it is used up or a replay begins or ends. */
static enum err_code drain(struct run_parser *parser, struct json_scan *scan, struct err *err)
{
	parser->scan = scan;
	bool replaying = parser->replaying;
	enum scan_token token;
	while ((token = json_scan_next(scan)) > SCAN_MORE) {
		struct sink *collected = &parser->collected;
		bool gathered = false;
		if (!parser->takes_parts && token >= SCAN_KEY_PART && token <= SCAN_STRING) {
			bool part = token == SCAN_KEY_PART || token == SCAN_STRING_PART;
			parser->text = scan->text;
			if (part || collected->len) {
				if (!sink_put(collected, scan->text.data, scan->text.len))
					return run_parser_no_memory(err);
				if (part)
					continue;
				parser->text = (struct str){ (const char *)collected->data, collected->len };
				gathered = true;
			}
		}
		enum err_code code = parser->on(parser, token, err);
		if (gathered)
			collected->len = 0;
		if (code != ERR_OK)
			return code;
		if (parser->replaying != replaying)
			return ERR_OK;
	}
	if (token == SCAN_ERROR)
		return syntax_error(parser, err);
	if (parser->capturing) {
		enum err_code code = capture_more(parser, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static void feed_piece(struct run_parser *parser, struct json_scan *scan, const void *data, size_t len)
{
	json_scan_feed(scan, data, len);
	if (parser->capturing)
		parser->capture_from = scan->at;
}

/* How long this call may go on. */
struct turn {
	int64_t budget_ns, deadline_ns;
};

static bool turn_over(struct turn *turn)
{
	if (turn->budget_ns <= 0)
		return false;
	int64_t now = clock_ns();
	if (turn->deadline_ns == 0)
		turn->deadline_ns = now + turn->budget_ns;
	return now >= turn->deadline_ns;
}

enum err_code run_parser_replay(struct run_parser *parser, token_fn on, struct err *err)
{
	if (!parser->replay)
		parser->replay = arena_try(parser->arena, sizeof(*parser->replay));
	if (!parser->replay)
		return run_parser_no_memory(err);
	json_scan_init(parser->replay, parser->json_depth, parser->raw_offset);
	parser->replay_text = (struct str){ (const char *)parser->raw.data, parser->raw.len };
	parser->replaying = true;
	parser->on = on;
	return ERR_OK;
}

void run_parser_replay_end(struct run_parser *parser)
{
	parser->replaying = false;
}

static enum err_code run_replay(struct run_parser *parser, struct turn *turn, struct err *err)
{
	bool closed = false;
	while (parser->replaying && !closed) {
		struct str piece = parser->replay_text;
		/* A number at the end needs something behind it. */
		closed = piece.len == 0;
		if (closed)
			piece = STR(" ");
		else
			piece.len = MIN(piece.len, turn->budget_ns > 0 ? SLICE_BYTES : piece.len);
		feed_piece(parser, parser->replay, piece.data, piece.len);
		enum err_code code = drain(parser, parser->replay, err);
		if (code != ERR_OK)
			return code;
		if (!closed) {
			parser->replay_text.data += piece.len;
			parser->replay_text.len -= piece.len;
		}
		if (parser->replaying && !closed && turn_over(turn))
			return ERR_OK;
	}
	if (parser->replaying)
		return err_set(err, ERR_INTERNAL, "a value of the request could not be read again");
	parser->scan = &parser->body;
	return ERR_OK;
}

/* The JSON part of the piece. */
static enum err_code feed_json(struct run_parser *parser, const uint8_t *data, size_t len, struct turn *turn,
			       size_t *ret_used, struct err *err)
{
	const uint8_t *at = data, *end = data + len;
	if (parser->held && len) {
		enum err_code code = run_replay(parser, turn, err);
		if (code != ERR_OK || parser->replaying) {
			*ret_used = 0;
			return code;
		}
		parser->held = false;
		at++;
	}
	while (at < end) {
		size_t n = (size_t)(end - at);
		if (turn->budget_ns > 0)
			n = MIN(n, (size_t)SLICE_BYTES);
		feed_piece(parser, &parser->body, at, n);
		at += n;
		do {
			enum err_code code = drain(parser, &parser->body, err);
			if (code == ERR_OK && parser->replaying)
				code = run_replay(parser, turn, err);
			if (code != ERR_OK)
				return code;
			if (parser->replaying) {
				parser->held = true;
				parser->body.end = parser->body.at;
				*ret_used = (size_t)(parser->body.at - data) - 1;
				return ERR_OK;
			}
		} while (parser->body.at < parser->body.end);
		if (at < end && turn_over(turn))
			break;
	}
	*ret_used = (size_t)(at - data);
	return ERR_OK;
}

static enum err_code feed(struct run_parser *parser, const uint8_t *data, size_t len, struct turn *turn,
			  size_t *ret_used, struct err *err)
{
	size_t json = len, used = 0;
	if (parser->json_bytes >= 0) {
		uint64_t had = parser->body.offset + (uint64_t)(parser->body.end - parser->body.piece) - parser->held;
		json = (size_t)MIN((uint64_t)len, (uint64_t)parser->json_bytes - had);
	}
	if (json) {
		enum err_code code = feed_json(parser, data, json, turn, &used, err);
		if (code != ERR_OK || used < json) {
			*ret_used = used;
			return code;
		}
	}
	if (used < len) {
		enum err_code code = parser->on_binary(parser, data + used, len - used, err);
		*ret_used = len;
		return code;
	}
	*ret_used = used;
	return ERR_OK;
}

/* Keeps the error, so that every later call says the same. */
static enum err_code fail(struct run_parser *parser, struct err *local, struct err *err)
{
	if (parser->in_items)
		err_wrap(local, "each, item %zu", parser->request.item_count);
	parser->failed = local->code;
	const char *text = err_text(local), *hint = err_hint(local);
	parser->failed_text = arena_strndup(parser->arena, text, strlen(text)) ?: "the request is not valid";
	parser->failed_hint = hint ? arena_strndup(parser->arena, hint, strlen(hint)) : NULL;
	return err_move(err, local);
}

static enum err_code failed_before(const struct run_parser *parser, struct err *err)
{
	err_set(err, parser->failed, "%s", parser->failed_text);
	if (parser->failed_hint)
		err_advise(err, "%s", parser->failed_hint);
	return parser->failed;
}

enum err_code run_parser_feed(struct run_parser *parser, const void *data, size_t len, int64_t budget_ns,
			      size_t *ret_used, struct err *err)
{
	*ret_used = 0;
	if (parser->failed)
		return failed_before(parser, err);
	struct err local = ERR_INIT;
	struct turn turn = { .budget_ns = budget_ns };
	if (feed(parser, data, len, &turn, ret_used, &local) != ERR_OK)
		return fail(parser, &local, err);
	return ERR_OK;
}

size_t run_parser_left(const struct run_parser *parser)
{
	size_t left = parser->replaying ? parser->replay_text.len : 0;
	if (parser->json_bytes == 0)
		left += parser->raw.len;
	for (size_t i = 0; i < parser->request.input_count; i++) {
		const struct tensor *tensor = &parser->request.inputs[i];
		if (dtype_size(tensor->dtype) == 0)
			left += tensor->len;
	}
	for (size_t i = 0; i < parser->part_count; i++)
		left += parser->parts[i].bytes;
	for (size_t i = 0; i < parser->binary_count; i++)
		if (parser->request.inputs[parser->binary[i].input].dtype == DTYPE_BYTES)
			left += parser->binary[i].bytes.len;
	return left;
}

static enum err_code settle(struct run_parser *parser, struct err *err)
{
	if (!parser->held)
		return ERR_OK;
	struct turn turn = { 0 };
	parser->held = false;
	return run_replay(parser, &turn, err);
}

enum err_code run_parser_settle(struct run_parser *parser, struct err *err)
{
	if (parser->failed)
		return failed_before(parser, err);
	struct err local = ERR_INIT;
	return settle(parser, &local) == ERR_OK ? ERR_OK : fail(parser, &local, err);
}

static enum err_code finish(struct run_parser *parser, struct run_request *ret, struct err *err)
{
	enum err_code settled = settle(parser, err);
	if (settled != ERR_OK)
		return settled;
	if (parser->json_bytes != 0 && !json_scan_finish(&parser->body))
		return syntax_error(parser, err);
	enum err_code code = parser->finish(parser, err);
	if (code == ERR_OK)
		*ret = parser->request;
	return code;
}

enum err_code run_parser_finish(struct run_parser *parser, struct run_request *ret, struct err *err)
{
	if (parser->failed)
		return failed_before(parser, err);
	struct err local = ERR_INIT;
	if (finish(parser, ret, &local) != ERR_OK)
		return fail(parser, &local, err);
	return ERR_OK;
}
