/* wire/run_rows_test.h - for the tests of the run parsers: a table of bodies with what must come of each, however
 * the body is cut into pieces. */
#pragma once

#include "base/test.h"
#include "wire/run_parser_dump.h"

#define TENSOR(name, dtype, shape) \
	"{\"name\":\"" name "\",\"type\":\"ndarray\",\"shape\":" shape ",\"item_type\":{\"dtype\":\"" dtype "\"}}"
#define TUPLE(...) "{\"type\":\"tuple\",\"element_types\":[" __VA_ARGS__ "]}"
#define OUTPUTS TUPLE(TENSOR("y", "FP32", "[null]") "," TENSOR("z", "INT64", "[2]"))

#ifndef OTHER_METHOD
#define OTHER_METHOD "\"other\":{\"input\":" TENSOR("q", "INT8", "[null]") ",\"output\":" OUTPUTS "}"
#endif

static inline struct signature *method_of(const char *input)
{
	_cleanup_free_ char *text = NULL;
	assert_true(asprintf(&text, "{\"methods\":{\"run\":{\"input\":%s,\"output\":" OUTPUTS "}," OTHER_METHOD "}}",
			     input) > 0);
	_cleanup_json_ json_t *json = NULL;
	struct err err = ERR_INIT;
	if (json_read(text, strlen(text), 64, "test", &json, &err) != ERR_OK)
		fail_msg("%s", err_text(&err));
	struct signature *signature = NULL;
	if (signature_parse(json, &signature, &err) != ERR_OK)
		fail_msg("%s: %s", input, err_text(&err));
	return signature;
}

struct row {
	const char *input;  /* argument type */
	const char *body;   /* in ' for ", which has no other use here */
	const char *result; /* dump of the request, or a part of the error (which begins with its code) */
};

static inline void check_same(const struct body *body, size_t first, size_t piece, int64_t budget_ns, const char *whole)
{
	_cleanup_free_ char *text = body_dump(body, first, piece, budget_ns);
	if (strcmp(text, whole) != 0)
		fail_msg("cut at %zu, pieces of %zu: \"%s\", but whole: \"%s\"", first, piece, text, whole);
}

static inline void check_cuts(const struct body *body, const char *whole)
{
	check_same(body, 1, 1, 0, whole);
	check_same(body, 3, 7, 1, whole);
	check_same(body, body->len, 1, 1, whole);
	for (size_t cut = 1; cut < body->len; cut += 1 + body->len / 2048)
		check_same(body, cut, body->len, 0, whole);
}

static inline bool check_row(bool dlhub, const struct row *row)
{
	_cleanup_(signature_destroyp) struct signature *signature = method_of(row->input);
	_cleanup_free_ char *text = strdup(row->body);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	struct body body = {
		.dlhub = dlhub, .signature = signature, .json_bytes = -1, .data = (uint8_t *)text, .len = strlen(text)
	};
	char *sep = strchr(text, '\x01'); /* the binary part follows */
	if (sep) {
		body.json_bytes = sep - text;
		memmove(sep, sep + 1, strlen(sep));
		body.len--;
	}
	_cleanup_free_ char *whole = body_dump(&body, body.len, body.len, 0);
	const char *why = row->result[0] >= 'A' && row->result[0] <= 'Z' ? strstr(row->result, ": ") : NULL;
	bool right =
		why ? strncmp(whole, row->result, (size_t)(why - row->result)) == 0 && strstr(whole, why + 2) != NULL
		    : strcmp(whole, row->result) == 0;
	if (!right)
		print_error("%s gives \"%s\", not \"%s\"\n", row->body, whole, row->result);
	check_cuts(&body, whole);
	return right;
}

static inline void check_rows(bool dlhub, const struct row *rows, size_t count)
{
	size_t wrong = 0;
	for (size_t i = 0; i < count; i++)
		wrong += !check_row(dlhub, &rows[i]);
	assert_int_equal(wrong, 0);
}
