/* Many inputs in one DLHub run: "each": [data, …]. */
#include "wire/dlhub_items.h"

static enum err_code on_item(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY_END) {
		parser->on = parser->item_on;
		return parser->on(parser, token, err);
	}
	if (parser->capturing)
		run_parser_capture_drop(parser);
	parser->filling = parser->takes_parts = false;
	parser->subject = (struct str){ 0 };
	if (!parser->request.item_count)
		return run_parser_refuse(parser, err, "a list of inputs is expected, but it is empty");
	parser->in_items = false;
	return dlhub_all_complete(parser);
}

/* An item comes next, or the end of the list. */
static enum err_code expect_item(struct run_parser *parser, struct err *err)
{
	parser->references_before = parser->reference_count;
	enum err_code code = dlhub_expect_data(parser, err);
	parser->item_on = parser->on;
	parser->on = on_item;
	parser->in_items = true;
	return code;
}

static enum err_code keep_item(struct run_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	if (request->item_count >= parser->most_items) {
		err_set(err, ERR_OUT_OF_RANGE, "more than %zu inputs came (limits.each)", parser->most_items);
		return err_advise(err, "send them in several tasks");
	}
	if (request->item_count == parser->item_room) {
		size_t room = parser->item_room ? 2 * parser->item_room : 16;
		struct run_item *items = arena_grow(parser->arena, request->items, parser->item_room * sizeof(*items),
						    room * sizeof(*items));
		if (!items)
			return run_parser_no_memory(err);
		request->items = items;
		parser->item_room = room;
	}
	request->items[request->item_count++] = (struct run_item){ request->inputs, request->input_count };
	return ERR_OK;
}

/* Checked here and not at the end, which would be one long turn of the loop. */
enum err_code dlhub_item_complete(struct run_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	enum err_code code = ERR_OK;
	if (parser->reference_count == parser->references_before) /* else when they have been followed */
		code = method_check_inputs(parser->method, request->inputs, request->input_count, err);
	if (code == ERR_OK)
		code = keep_item(parser, err);
	return code == ERR_OK ? expect_item(parser, err) : code;
}

static enum err_code on_each(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY)
		return run_parser_expected(parser, "each: a list of inputs", token, err);
	return expect_item(parser, err);
}

enum err_code dlhub_expect_items(struct run_parser *parser, struct err *err)
{
	parser->on = on_each;
	return ERR_OK;
}
