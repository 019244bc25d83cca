/* Inputs that lie elsewhere: {"ref": "…"} in place of an array or of a file's content. The parser keeps the text; whoever
 * feeds it finds the bytes, which become tensors when the body has ended. */
#include "wire/npy.h"
#include "wire/run_parser.h"

static const char *const members[] = { "ref" };

static enum err_code on_member(struct run_parser *parser, enum scan_token token, struct err *err);

static enum err_code on_value(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING || !parser->text.len)
		return run_parser_expected(parser, "ref, a name such as blob:sha256:... or an address,", token, err);
	parser->on = on_member;
	return run_parser_keep(parser, parser->text, &parser->reference, err);
}

static enum err_code on_member(struct run_parser *parser, enum scan_token token, struct err *err)
{
	int member;
	if (token == SCAN_OBJECT_END) {
		if (!parser->reference.len)
			return run_parser_refuse(parser, err, "an object in place of an array must be {\"ref\": ...}");
		return parser->then(parser, err);
	}
	enum err_code code = run_parser_once(parser, &parser->seen_here, members, ARRAY_SIZE(members), "a reference", &member, err);
	if (code == ERR_OK)
		parser->on = on_value;
	return code;
}

void run_parser_reference(struct run_parser *parser, then_fn then)
{
	parser->seen_here = 0;
	parser->reference = (struct str){ 0 };
	parser->then = then;
	parser->on = on_member;
}

enum err_code run_parser_keep_reference(struct run_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	if (parser->reference_count == RUN_REFERENCES_MAX) {
		err_set(err, ERR_OUT_OF_RANGE, "more than %u references came in one request", RUN_REFERENCES_MAX);
		return err_advise(err, "send them in several");
	}
	if (parser->reference_count == parser->reference_room) {
		size_t room = parser->reference_room ? 2 * parser->reference_room : 4;
		struct run_reference *more = arena_grow(parser->arena, parser->references,
							parser->reference_room * sizeof(*more), room * sizeof(*more));
		if (!more)
			return run_parser_no_memory(err);
		parser->references = more;
		parser->reference_room = room;
	}
	parser->references[parser->reference_count++] = (struct run_reference){
		.ref = parser->reference,
		.input = parser->method->inputs[parser->argument].name,
		.tensor = &request->inputs[request->input_count],
		.item = request->item_count,
	};
	parser->reference = (struct str){ 0 };
	return ERR_OK;
}

struct run_reference *run_parser_references(struct run_parser *parser, size_t *ret_count)
{
	*ret_count = parser->reference_count;
	return parser->references;
}

static enum err_code fill(struct run_parser *parser, const struct run_reference *reference, struct err *err)
{
	struct tensor *tensor = reference->tensor;
	struct str name = tensor->name;
	char what[ARGUMENT_NAME_MAX + 16];
	if (!reference->data)
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': references are not followed here", STR_ARG(name));
	if (tensor->dtype == DTYPE_FILE) {
		tensor->data = reference->data;
		tensor->len = reference->len;
		return ERR_OK;
	}
	snprintf(what, sizeof(what), "input '" STR_FMT "'", STR_ARG(name));
	if (!npy_is(reference->data, reference->len)) {
		err_set(err, ERR_INVALID_ARGUMENT, "%s: what '%.*s' gives is no .npy file", what,
			(int)MIN(reference->ref.len, (size_t)120), reference->ref.data);
		return err_advise(err, "an array that lies elsewhere is a .npy file: numpy.save() writes one");
	}
	enum err_code code = npy_parse(reference->data, reference->len, what, parser->arena, tensor, err);
	tensor->name = name;
	return code;
}

enum err_code run_parser_end_references(struct run_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	for (size_t i = 0; i < parser->reference_count; i++) {
		enum err_code code = fill(parser, &parser->references[i], err);
		if (code != ERR_OK)
			return request->each ? err_wrap(err, "each, item %zu", parser->references[i].item) : code;
	}
	for (size_t i = 0; request->each && i < parser->reference_count; i++) {
		size_t at = parser->references[i].item;
		if (i && parser->references[i - 1].item == at)
			continue;
		struct run_item *item = &request->items[at];
		if (method_check_inputs(parser->method, item->inputs, item->count, err) != ERR_OK)
			return err_wrap(err, "each, item %zu", at);
	}
	return ERR_OK;
}
