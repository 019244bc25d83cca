#include "wire/json_scan_build.h"

#include "base/alloc.h"
#include "base/buf.h"

struct builder {
	json_t *stack[SCAN_DEPTH_MAX + 1];
	json_t *root;
	uint32_t depth;
	char *key;
	size_t key_len;
	struct buf text;
	bool unlike; /* has what jansson refuses by policy: large numbers */
};

static void put_value(struct builder *b, json_t *value)
{
	if (!b->depth) {
		b->root = value;
		return;
	}
	json_t *in = b->stack[b->depth - 1];
	if (json_is_array(in)) {
		json_array_append_new(in, value);
		return;
	}
	json_object_setn_new_nocheck(in, b->key, b->key_len, value);
	free(b->key);
	b->key = NULL;
}

static json_t *number_of(struct builder *b, const struct json_scan *scan)
{
	const char *text = scan->text.data, *end = text + scan->text.len;
	if (scan->number.real) {
		double real;
		if (!number_text_f64(&scan->number, (const uint8_t *)text, (const uint8_t *)end, &real)) {
			b->unlike = true;
			real = 0;
		}
		return json_real(real);
	}
	int64_t whole = 0;
	if (number_read_i64(text, end, &whole) != end)
		b->unlike = true;
	return json_integer(whole);
}

static void take(struct builder *b, const struct json_scan *scan, enum scan_token token)
{
	switch (token) {
	case SCAN_OBJECT:
	case SCAN_ARRAY: {
		json_t *value = token == SCAN_OBJECT ? json_object() : json_array();
		put_value(b, value);
		b->stack[b->depth++] = value;
		break;
	}
	case SCAN_OBJECT_END:
	case SCAN_ARRAY_END:
		b->depth--;
		break;
	case SCAN_KEY_PART:
	case SCAN_STRING_PART:
		buf_append(&b->text, scan->text.data, scan->text.len);
		break;
	case SCAN_KEY:
		buf_append(&b->text, scan->text.data, scan->text.len);
		b->key = buf_take(&b->text, &b->key_len);
		buf_init(&b->text, SIZE_MAX / 4);
		break;
	case SCAN_STRING:
		buf_append(&b->text, scan->text.data, scan->text.len);
		put_value(b, json_stringn_nocheck(b->text.data ?: "", b->text.len));
		buf_clear(&b->text);
		break;
	case SCAN_NUMBER:
		put_value(b, number_of(b, scan));
		break;
	default:
		put_value(b, token == SCAN_TRUE ? json_true() : token == SCAN_FALSE ? json_false() : json_null());
	}
}

json_t *json_scan_build(const void *text, size_t size, size_t piece, char why[JSON_SCAN_WHY_MAX], bool *ret_unlike)
{
	const uint8_t *data = text;
	struct builder b = { .unlike = false };
	buf_init(&b.text, SIZE_MAX / 4);
	struct json_scan scan;
	json_scan_init(&scan, SCAN_DEPTH_MAX, 0);
	enum scan_token token = SCAN_MORE;
	for (size_t at = 0; at <= size && token != SCAN_ERROR; at += piece) {
		bool last = at >= size;
		size_t n = last ? 1 : MIN(piece, size - at);
		uint8_t *copy = xmalloc(n);
		memcpy(copy, last ? (const uint8_t *)" " : data + at, n);
		json_scan_feed(&scan, copy, n);
		while ((token = json_scan_next(&scan)) > SCAN_MORE)
			take(&b, &scan, token);
		free(copy);
		if (!last && at + piece > size)
			at = size - piece;
	}
	bool ok = token != SCAN_ERROR && json_scan_finish(&scan);
	snprintf(why, JSON_SCAN_WHY_MAX, "%llu %s", (unsigned long long)(ok ? 0 : scan.error_offset),
		 ok ? "" : scan.why);
	*ret_unlike = b.unlike;
	buf_done(&b.text);
	free(b.key);
	if (!ok) {
		json_decref(b.root);
		return NULL;
	}
	return b.root;
}
