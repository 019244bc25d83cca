#include "wire/run_parser_dump.h"

#include "base/alloc.h"
#include "wire/tensor_print.h"

static void put_tensor(struct buf *out, const struct tensor *tensor)
{
	char shape[256];
	shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
	buf_printf(out, STR_FMT " %s %s ", STR_ARG(tensor->name), dtype_name(tensor->dtype), shape);
	size_t before = out->len;
	if (tensor->dtype == DTYPE_JSON || tensor->dtype == DTYPE_FILE) {
		buf_append(out, tensor->data, tensor->len);
	} else if (tensor_print(out, tensor, TENSOR_PRINT_HALF, NULL) != ERR_OK) {
		out->len = before;
		for (size_t i = 0; i < tensor->len; i++)
			buf_printf(out, "%02x", tensor->data[i]);
	}
}

static void put_inputs(struct buf *out, const struct tensor *inputs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_puts(out, i ? "; " : "");
		put_tensor(out, &inputs[i]);
	}
}

static void put_request(struct buf *out, const struct run_request *request)
{
	for (size_t k = 0; k < request->item_count; k++) {
		buf_puts(out, k ? " | " : "each: ");
		put_inputs(out, request->items[k].inputs, request->items[k].count);
	}
	if (!request->each)
		put_inputs(out, request->inputs, request->input_count);
	if (!str_eq(request->method->name, STR("run")))
		buf_printf(out, "; method=" STR_FMT, STR_ARG(request->method->name));
	if (request->id.len)
		buf_printf(out, "; id=" STR_FMT, STR_ARG(request->id));
	if (request->parameters.len)
		buf_printf(out, "; parameters=" STR_FMT, STR_ARG(request->parameters));
	for (size_t i = 0; i < request->output_count; i++) {
		const struct requested_output *output = &request->outputs[i];
		buf_printf(out, "; output=" STR_FMT ":%d", STR_ARG(output->name), output->binary);
		if (output->part.region.len)
			buf_printf(out, " in " STR_FMT "+%llu,%llu", STR_ARG(output->part.region),
				   (unsigned long long)output->part.offset, (unsigned long long)output->part.bytes);
	}
	if (request->timeout_us)
		buf_printf(out, "; timeout=%lld", (long long)request->timeout_us);
	if (request->priority)
		buf_printf(out, "; priority=%lld", (long long)request->priority);
	if (request->expires_us || request->start_within_us)
		buf_printf(out, "; expires=%lld; start within=%lld", (long long)request->expires_us,
			   (long long)request->start_within_us);
	buf_puts(out, request->binary_default ? "; binary" : "");
	buf_puts(out, request->debug ? "; debug" : "");
	buf_puts(out, request->envelope ? "; envelope" : "");
	buf_puts(out, request->asynchronous ? "; asynchronous" : "");
}

/* The region "r" has 64 bytes: 0, 1, 2 … */
static void find_parts(struct run_parser *parser)
{
	static uint8_t region[64];
	for (size_t i = 0; i < sizeof(region); i++)
		region[i] = (uint8_t)i;
	size_t count;
	struct region_part *parts = run_parser_parts(parser, &count);
	for (size_t i = 0; i < count; i++)
		if (str_eq(parts[i].region, STR("r")) && parts[i].offset <= sizeof(region) &&
		    parts[i].bytes <= sizeof(region) - parts[i].offset)
			parts[i].data = region + parts[i].offset;
}

/* The piece until all of it is taken. */
static enum err_code feed_piece(struct run_parser *parser, const uint8_t *data, size_t len, int64_t budget_ns,
				struct err *err)
{
	size_t at = 0;
	int idle = 0;
	while (at < len) {
		uint8_t *piece = xmalloc(len - at);
		memcpy(piece, data + at, len - at);
		size_t used = 0;
		enum err_code code = run_parser_feed(parser, piece, len - at, budget_ns, &used, err);
		free(piece);
		if (code != ERR_OK)
			return code;
		idle = used ? 0 : idle + 1;
		if (used > len - at || idle > 10000)
			abort();
		at += used;
	}
	return ERR_OK;
}

/* "bytes:TEXT" gives the text, "npy" an array of two integers; others are not found. */
static enum err_code follow(struct run_parser *parser, struct arena *arena, struct err *err)
{
	static const char npy[] = "\x93NUMPY\x01\x00\x48\x00{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }"
				  "              \n\x05\x06";
	size_t count;
	enum err_code code = run_parser_settle(parser, err);
	struct run_reference *references = run_parser_references(parser, &count);
	for (size_t i = 0; i < count && code == ERR_OK; i++) {
		struct str ref = references[i].ref;
		bool bytes = ref.len > 6 && memcmp(ref.data, "bytes:", 6) == 0;
		struct str found = bytes ? (struct str){ ref.data + 6, ref.len - 6 } : (struct str){ npy, sizeof(npy) - 1 };
		if (!bytes && !str_eq(ref, STR("npy")))
			continue;
		references[i].data = arena_try(arena, found.len);
		if (!references[i].data)
			return err_set(err, ERR_OUT_OF_RANGE, "limits.body_bytes");
		memcpy(references[i].data, found.data, found.len);
		references[i].len = found.len;
	}
	return code;
}

char *body_dump(const struct body *body, size_t first, size_t piece, int64_t budget_ns)
{
	struct arena arena;
	arena_init(&arena, DUMP_CEILING);
	const struct method *method = signature_method(body->signature, STR("run"));
	struct run_parser *parser;
	if (body->dlhub) {
		parser = dlhub_parser_create(&arena, method, DUMP_DEPTH);
		dlhub_parser_allow_methods(parser, body->signature);
		dlhub_parser_allow_items(parser, DUMP_ITEMS);
	} else {
		parser = body->npy ? npy_parser_create(&arena, method, DUMP_DEPTH) :
				     oip_parser_create(&arena, method, body->json_bytes, DUMP_DEPTH);
	}
	struct err err = ERR_INIT;
	enum err_code code = ERR_OK;
	for (size_t at = 0; at < body->len && code == ERR_OK;) {
		size_t n = MIN(at ? piece : first, body->len - at);
		code = feed_piece(parser, body->data + at, n, budget_ns, &err);
		at += n;
	}
	struct run_request request = { 0 };
	find_parts(parser);
	if (code == ERR_OK)
		code = follow(parser, &arena, &err);
	if (code == ERR_OK)
		code = run_parser_finish(parser, &request, &err);
	struct buf out;
	buf_init(&out, SIZE_MAX / 4);
	if (code == ERR_OK) {
		put_request(&out, &request);
	} else {
		buf_printf(&out, "%s: %s%s%s", err_code_name(code), err_text(&err), err_hint(&err) ? "; " : "",
			   err_hint(&err) ?: "");
		/* And the same once more. */
		struct err again = ERR_INIT;
		if (run_parser_finish(parser, &request, &again) != code ||
		    strcmp(err_text(&again), err_text(&err)) != 0)
			abort();
		err_done(&again);
	}
	err_done(&err);
	arena_done(&arena);
	return buf_take(&out, NULL);
}
