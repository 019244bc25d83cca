#include "wire/run_fuzz.h"

#define NDARRAY(name, rest) "{\"name\":\"" name "\",\"type\":\"ndarray\"," rest "}"
#define OF(dtype) "\"shape\":[null],\"item_type\":{\"dtype\":\"" dtype "\"}"

static const char *const inputs[] = {
	NDARRAY("x", OF("FP32")),
	NDARRAY("x", "\"shape\":\"Any\""),
	"{\"type\":\"tuple\",\"element_types\":[" NDARRAY(
		"a",
		OF("INT64")) ",{\"name\":\"b\",\"type\":\"string\"}," NDARRAY("c",
									      OF("BYTES")) ",{\"name\":\"d\",\"type\":"
											   "\"dict\",\"properties\":{}}"
											   ",{\"name\":\"f\",\"type\":"
											   "\"file\"}]}",
	"{\"type\":\"number\"}",
	"{\"type\":\"file\"}",
	NDARRAY("x", "\"shape\":[null,2,null],\"item_type\":{\"dtype\":\"UINT8\"}"),
	"{\"type\":\"list\",\"item_type\":{\"type\":\"integer\"}}",
	"{\"type\":\"tuple\",\"element_types\":[" NDARRAY("a", OF("FP16")) "," NDARRAY("b", OF("BOOL")) "," NDARRAY(
		"c", OF("FP64")) ",{\"name\":\"d\",\"type\":\"boolean\"},{\"name\":\"i\",\"type\":\"integer\"}]}",
};

static const struct signature *signature_at(size_t i)
{
	static struct signature *signatures[ARRAY_SIZE(inputs)];
	if (signatures[i])
		return signatures[i];
	struct buf text;
	buf_init(&text, 1 << 16);
	buf_printf(&text,
		   "{\"methods\":{\"run\":{\"input\":%s,\"output\":" NDARRAY(
			   "y", OF("FP32")) "},\"other\":{\"input\":" NDARRAY("q", OF("INT8")) ",\"output\":{\"type\":"
											       "\"string\"}}}}",
		   inputs[i]);
	_cleanup_json_ json_t *json = NULL;
	if (json_read(text.data, text.len, 64, "fuzz", &json, NULL) != ERR_OK ||
	    signature_parse(json, &signatures[i], NULL) != ERR_OK)
		abort();
	buf_done(&text);
	return signatures[i];
}

void run_fuzz(bool dlhub, const uint8_t *data, size_t size)
{
	if (size < 3)
		return;
	struct body body = { .dlhub = dlhub,
			     .signature = signature_at(data[0] % ARRAY_SIZE(inputs)),
			     .json_bytes = -1,
			     .data = data + 3,
			     .len = size - 3 };
	const uint8_t *zero = memchr(body.data, 0, body.len);
	if (!dlhub && data[2] & 1) {
		/* The JSON part goes up to a zero byte, which is left out, as it is in JSON. */
		body.json_bytes = zero ? zero - body.data : (int64_t)body.len;
	}
	_cleanup_free_ char *whole = body_dump(&body, body.len, body.len, 0);
	_cleanup_free_ char *cut = body_dump(&body, 1 + data[1] % 31, 1 + data[1] / 16, data[2] & 2);
	if (strcmp(whole, cut) != 0 && !strstr(whole, "limits.body_bytes") && !strstr(cut, "limits.body_bytes")) {
		fprintf(stderr, "whole: %s\ncut:   %s\n", whole, cut);
		abort();
	}
}
