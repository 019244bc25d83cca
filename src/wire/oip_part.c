/* Parameters of a tensor that say where in shared memory it is: shared_memory_region, _offset and _byte_size. */
#include "wire/run_parser.h"

static enum err_code on_region(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "shared_memory_region, a string,", token, err);
	parser->on = parser->after_part;
	return run_parser_keep(parser, parser->text, &parser->part.region, err);
}

static enum err_code take_bytes(struct run_parser *parser, enum scan_token token, const char *name, uint64_t *to, struct err *err)
{
	const uint8_t *text = (const uint8_t *)parser->scan->text.data;
	if (token != SCAN_NUMBER || parser->scan->number.negative || parser->scan->number.real ||
	    !number_text_whole(&parser->scan->number, text, text + parser->scan->text.len, to))
		return run_parser_refuse(parser, err, "%s must be a number of bytes", name);
	parser->on = parser->after_part;
	return ERR_OK;
}

static enum err_code on_offset(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return take_bytes(parser, token, "shared_memory_offset", &parser->part.offset, err);
}

static enum err_code on_bytes(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return take_bytes(parser, token, "shared_memory_byte_size", &parser->part.bytes, err);
}

static enum err_code on_twice(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return run_parser_refuse(parser, err, "a parameter about shared memory comes twice");
}

bool run_parser_part(struct run_parser *parser, token_fn then)
{
	static const struct {
		const char *name;
		uint32_t flag;
		token_fn on;
	} members[] = { { "shared_memory_region", PART_REGION, on_region },
			{ "shared_memory_offset", PART_OFFSET, on_offset },
			{ "shared_memory_byte_size", PART_BYTES, on_bytes } };
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		if (!str_eq(parser->text, str_of(members[i].name)))
			continue;
		parser->on = parser->part_seen & members[i].flag ? on_twice : members[i].on;
		parser->part_seen |= members[i].flag;
		parser->after_part = then;
		return true;
	}
	return false;
}

enum err_code run_parser_end_part(struct run_parser *parser, struct err *err)
{
	uint32_t seen = parser->part_seen;
	if (!seen || (seen & PART_REGION && seen & PART_BYTES && parser->part.region.len))
		return ERR_OK;
	return run_parser_refuse(parser, err, "shared memory needs both shared_memory_region and shared_memory_byte_size");
}

struct region_part *run_parser_parts(struct run_parser *parser, size_t *ret_count)
{
	*ret_count = parser->part_count;
	return parser->parts;
}
