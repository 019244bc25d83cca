#include "catalog/query.h"

#include "base/test.h"

/* The tree as text: AND &, OR |, NOT !, words in <>, field=, prefix *. */
static void draw(const struct query_node *node, struct buf *out)
{
	if (!node) {
		buf_puts(out, "nothing");
		return;
	}
	switch (node->kind) {
	case QUERY_AND:
	case QUERY_OR:
		buf_putc(out, '(');
		draw(node->left, out);
		buf_puts(out, node->kind == QUERY_AND ? "&" : "|");
		draw(node->right, out);
		buf_putc(out, ')');
		break;
	case QUERY_NOT:
		buf_putc(out, '!');
		draw(node->left, out);
		break;
	case QUERY_WORDS:
		buf_printf(out, "%s%s<%s>%s", node->field ? node->field->name : "", node->field ? "=" : "", node->text,
			   node->prefix ? "*" : "");
		break;
	case QUERY_RANGE:
		buf_printf(out, "%s%c%s,%s%c", node->field->name, node->above ? '{' : '[',
			   node->text ? node->text : "-", node->upper ? node->upper : "-", node->below ? '}' : ']');
		break;
	}
}

static const struct {
	const char *query, *tree;
} trees[] = {
	{ "", "nothing" },
	{ "  \t ", "nothing" },
	{ "iris", "<iris>" },
	{ "iris forest", "(<iris>&<forest>)" },
	{ "x OR y z", "(<x>|(<y>&<z>))" },
	{ "x AND y OR z", "((<x>&<y>)|<z>)" },
	{ "x AND NOT y", "(<x>&!<y>)" },
	{ "(dlhub.owner:ann AND dlhub.name:\"iris\")", "(dlhub.owner=<ann>&dlhub.name=<iris>)" },
	{ "x && y || z", "((<x>&<y>)|<z>)" },
	{ "(x OR y) z", "((<x>|<y>)&<z>)" },
	{ "x NOT y", "(<x>&!<y>)" },
	{ "-x y", "(!<x>&<y>)" },
	{ "-(x y)", "!(<x>&<y>)" },
	{ "-\"x y\"", "!<x y>" },
	{ "-type:onnx", "!type=<onnx>" },
	{ "\"iris forest\"", "<iris forest>" },
	{ "\"iris \\\"f\\\"\"", "<iris \"f\">" },
	{ "\u201ciris forest\u201d", "<iris forest>" },
	{ "iri*", "<iri>*" },
	{ "\"random for\"*", "<random for>*" },
	/* what people type */
	{ "3d-unet", "<3d-unet>" },
	{ "C++", "<C++>" },
	{ "C*-algebra", "<C*-algebra>" },
	{ "f(x)", "<f(x)>" },
	{ "f(x", "?character 2: the '(' is not closed" },
	{ "iris - forest", "(<iris>&<forest>)" },
	{ "iris -- forest", "(<iris>&<forest>)" },
	{ "iris \u2014 forest", "(<iris>&<forest>)" },
	{ "--model", "<model>" },
	{ "iris & forest", "(<iris>&<forest>)" },
	{ "??? !", "nothing" },
	{ "*", "nothing" },
	{ "segmentation of cells", "(<segmentation>&<cells>)" },
	{ "the of", "(<the>&<of>)" },
	{ "\"of\"", "<of>" },
	{ "na\u00efve \u03b1-helix \u7ec6\u80de", "((<na\u00efve>&<\u03b1-helix>)&<\u7ec6\u80de>)" },
	{ "https://doi.org/10.1/x", "<https://doi.org/10.1/x>" },
	{ "at 12:30", "<12:30>" },
	{ "note: iris", "(<note:>&<iris>)" },
	{ "O'Brien", "<O'Brien>" },
	{ "()", "nothing" },
	{ "x ()", "<x>" },
	/* fields */
	{ "name:iris", "name=<iris>" },
	{ "name: iris", "name=<iris>" },
	{ "NAME:iris", "name=<iris>" },
	{ "dlhub.name:iris", "dlhub.name=<iris>" },
	{ "name:ann/iris*", "name=<ann/iris>*" },
	{ "owner:ann type:\"ONNX Model\"", "(owner=<ann>&type=<ONNX Model>)" },
	{ "domain:(physics OR biology)", "(domain=<physics>|domain=<biology>)" },
	{ "domain:physics biology", "(domain=<physics>&<biology>)" },
	{ "datacite.creators.familyName:Curie", "datacite.creators.familyName=<Curie>" },
	{ "servable.methods.run.input.type:ndarray", "servable.methods.run.input.type=<ndarray>" },
	{ "doi:10.1016/S0092-8674(00)81683-9", "doi=<10.1016/S0092-8674(00)81683-9>" },
	{ "(doi:10.1/a(b)c)", "doi=<10.1/a(b)c>" },
	{ "doi:10.1/a:b", "doi=<10.1/a:b>" },
	{ "title:the", "title=<the>" },
	{ "domain:*", "domain=<>*" },
	{ "name:1d\\_norm", "name=<1d_norm>" },
	/* ranges */
	{ "published:[2024 TO 2025]", "published[2024,2025]" },
	{ "dlhub.publication_date:{2024-01-01 TO *]", "dlhub.publication_date{2024-01-01,-]" },
	{ "published:[* to \"2025-01-01\"}", "published[-,2025-01-01}" },
	{ "version:>=2", "version[2,-]" },
	{ "version:>2", "version{2,-]" },
	{ "version:<2", "version[-,2}" },
	{ "year:[2018 TO 2020] x", "(year[2018,2020]&<x>)" },
	/* errors begin with '?' and what their text holds */
	{ "\"iris", "?character 1: the quotation mark is not closed" },
	{ "\u00e9\u00e9 iris\"", "?character 8: the quotation mark is not closed" },
	{ "name:\"iris", "?character 6: the quotation mark is not closed" },
	{ "(iris", "?character 1: the '(' is not closed" },
	{ "iris)", "?character 5: the ')' closes nothing" },
	{ "nam:iris", "?character 1: there is no field 'nam'" },
	{ "iris color:red", "?character 6: there is no field 'color'" },
	{ "dlhub.:x", "?there is no field 'dlhub.'" },
	{ "name:", "?character 1: the field has no value" },
	{ "name:)", "?the field has no value" },
	{ "iris OR", "?character 6: OR needs something behind it" },
	{ "iris AND", "?character 6: AND needs something behind it" },
	{ "iris NOT", "?character 6: NOT needs something behind it" },
	{ "AND iris", "?character 1: AND needs something before it" },
	{ "NOT NOT iris", "?NOT stands twice" },
	{ "published:[2024", "?character 11: the range is not complete" },
	{ "published:[2024 2025]", "?the range is not complete" },
	{ "published:[ TO ]", "?the range is not complete" },
	{ "published:[2024 TO 2025", "?the range is not complete" },
	{ "published:>", "?the range is not complete" },
	{ "iris \xff", "?not UTF-8" },
};

static void check_tree(const char *query, const char *expect)
{
	struct arena arena;
	struct query_node *node = NULL;
	struct err err = ERR_INIT;
	arena_init(&arena, 4 << 20);
	enum err_code code = query_parse(&arena, query, &node, &err);
	if (*expect == '?') {
		if (code != ERR_INVALID_ARGUMENT || !strstr(err_text(&err), expect + 1))
			fail_msg("%s: expected an error with \"%s\", got: %s", query, expect + 1, err_text(&err));
	} else {
		struct buf out;
		buf_init(&out, 1 << 16);
		if (code != ERR_OK)
			fail_msg("%s: %s", query, err_text(&err));
		draw(node, &out);
		if (strcmp(out.data, expect) != 0)
			fail_msg("%s: expected %s, got %s", query, expect, out.data);
		buf_done(&out);
	}
	err_done(&err);
	arena_done(&arena);
}

static void test_trees(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
		check_tree(trees[i].query, trees[i].tree);
}

static enum err_code parse_repeated(const char *piece, size_t count)
{
	struct buf text;
	struct arena arena;
	struct query_node *node;
	buf_init(&text, 1 << 20);
	arena_init(&arena, 4 << 20);
	for (size_t i = 0; i < count; i++)
		buf_puts(&text, piece);
	enum err_code code = query_parse(&arena, text.data, &node, NULL);
	arena_done(&arena);
	buf_done(&text);
	return code;
}

static void test_limits(void **state)
{
	assert_int_equal(parse_repeated("a ", QUERY_BYTES_MAX), ERR_OUT_OF_RANGE);
	assert_int_equal(parse_repeated("xy ", 90), ERR_OK);
	assert_int_equal(parse_repeated("xy ", 300), ERR_OUT_OF_RANGE);
	assert_int_equal(parse_repeated("xy OR ", 300), ERR_OUT_OF_RANGE);
	assert_int_equal(parse_repeated("(", 1000), ERR_OUT_OF_RANGE);
	assert_int_equal(parse_repeated("- ", 2000), ERR_OK);
	assert_int_equal(parse_repeated("-", 4000), ERR_OK);
}

TEST_MAIN(cmocka_unit_test(test_trees), cmocka_unit_test(test_limits))
