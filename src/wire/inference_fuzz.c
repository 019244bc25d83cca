/* Any bytes as a ModelInferRequest: no crash, the same whether read at once or in steps; what was read is written as an answer,
 * which must be well-formed. The first byte chooses the method. */
#include "wire/inference.h"

#include "base/buf.h"
#include "wire/protobuf.h"

#define CEILING ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NDARRAY(name, rest) "{\"name\":\"" name "\",\"type\":\"ndarray\"," rest "}"

static const char *const inputs[] = {
	NDARRAY("x", "\"shape\":\"Any\""),
	NDARRAY("x", "\"shape\":[null],\"item_type\":{\"dtype\":\"BYTES\"}"),
	"{\"name\":\"x\",\"type\":\"string\"}",
	"{\"name\":\"x\",\"type\":\"list\",\"item_type\":{\"type\":\"integer\"}}",
	"{\"type\":\"tuple\",\"element_types\":[" NDARRAY("x", "\"shape\":\"Any\"") ",{\"name\":\"b\",\"type\":\"number\"},{\"name\":"
										      "\"f\",\"type\":\"file\"}]}",
};

static const struct method *method_at(size_t i)
{
	static struct signature *signatures[ARRAY_SIZE(inputs)];
	if (!signatures[i]) {
		struct buf text;
		buf_init(&text, 1 << 16);
		buf_printf(&text, "{\"methods\":{\"run\":{\"input\":%s,\"output\":" NDARRAY("y", "\"shape\":\"Any\"") "}}}", inputs[i]);
		_cleanup_json_ json_t *json = NULL;
		if (json_read(text.data, text.len, 64, "fuzz", &json, NULL) != ERR_OK ||
		    signature_parse(json, &signatures[i], NULL) != ERR_OK)
			abort();
		buf_done(&text);
	}
	return signature_method(signatures[i], STR("run"));
}

struct outcome {
	struct arena arena;
	struct inference_message message;
	struct run_request request;
	struct err err;
};

/* Short parts of any region lie in this memory. */
static void lend(struct inference_parser *parser)
{
	static uint8_t memory[4096];
	size_t count;
	struct region_part *parts = inference_parser_input_parts(parser, &count);
	for (size_t i = 0; i < count; i++)
		if (parts[i].region.len && parts[i].bytes <= sizeof(memory))
			parts[i].data = memory;
}

static void read_message(struct outcome *outcome, const struct method *method, struct str bytes, int64_t budget_ns)
{
	*outcome = (struct outcome){ .err = ERR_INIT };
	arena_init(&outcome->arena, CEILING);
	if (inference_scan(&outcome->arena, bytes, &outcome->message, &outcome->err) != ERR_OK)
		return;
	struct inference_parser *parser = inference_parser_create(&outcome->arena, method, &outcome->message, 16);
	bool done = !parser || inference_parser_begin(parser, &outcome->err) != ERR_OK;
	if (!done)
		lend(parser);
	while (!done && outcome->err.code == ERR_OK)
		(void)!inference_parser_step(parser, budget_ns, &done, &outcome->err);
	if (parser && outcome->err.code == ERR_OK)
		(void)!inference_parser_finish(parser, &outcome->request, &outcome->err);
}

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void compare(const struct outcome *a, const struct outcome *b)
{
	require(a->err.code == b->err.code);
	if (a->err.code != ERR_OK) {
		require(strcmp(err_text(&a->err), err_text(&b->err)) == 0);
		return;
	}
	require(a->request.input_count == b->request.input_count && str_eq(a->request.parameters, b->request.parameters));
	for (size_t i = 0; i < a->request.input_count; i++) {
		const struct tensor *x = &a->request.inputs[i], *y = &b->request.inputs[i];
		require(x->dtype == y->dtype && x->len == y->len && (!x->len || memcmp(x->data, y->data, x->len) == 0));
	}
}

static void write_answer(struct outcome *outcome, bool stream)
{
	struct inference_pieces pieces;
	struct buf all;
	const struct run_request *request = &outcome->request;
	const struct inference_answer answer = { .model_name = STR("o/n"), .version = STR("1"), .id = request->id,
						 .memo = STR("hit"), .outputs = request->inputs, .count = request->input_count };
	if (inference_write(&outcome->arena, &answer, stream, &pieces, NULL) != ERR_OK)
		return; /* no memory */
	buf_init(&all, 2 * CEILING);
	for (size_t i = 0; i < pieces.count; i++)
		require(buf_append(&all, pieces.items[i].data, pieces.items[i].len));
	require(protobuf_is_valid((struct str){ all.data, all.len }));
	buf_done(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, steps;
	if (size == 0)
		return 0;
	const struct method *method = method_at(data[0] % ARRAY_SIZE(inputs));
	struct str bytes = { (const char *)data + 1, size - 1 };
	read_message(&whole, method, bytes, 0);
	read_message(&steps, method, bytes, 1);
	compare(&whole, &steps);
	if (whole.err.code == ERR_OK)
		write_answer(&whole, data[0] & 0x80);
	err_done(&whole.err);
	err_done(&steps.err);
	arena_done(&whole.arena);
	arena_done(&steps.arena);
	return 0;
}
