#include "catalog/query.h"

struct parser {
	struct arena *arena;
	const char *text;
	size_t at, len;
	char *scratch; /* room for the whole text */
	size_t nodes;
	int depth;
	bool keep_small;  /* small words count */
	bool passed_over; /* a small word did not count */
	struct err *err;
};

#define SMALL_WORD_MAX 4 /* bytes */
static const char *const small_words[] = { "a",	 "an", "and", "are", "as", "at",   "by",  "for", "from",
					   "in", "is", "of",  "on",  "or", "that", "the", "to",	 "with" };

size_t query_place(const char *query, size_t byte)
{
	size_t place = 1;
	for (size_t i = 0; i < byte && query[i]; i++)
		place += ((unsigned char)query[i] & 0xC0) != 0x80;
	return place;
}

static enum err_code refuse(struct parser *p, size_t place, const char *what)
{
	return err_set(p->err, ERR_INVALID_ARGUMENT, "search: at character %zu: %s", query_place(p->text, place), what);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static void skip_blanks(struct parser *p)
{
	while (is_blank(p->text[p->at]))
		p->at++;
}

/* Bytes of a quotation mark here: ", or one of the curly ones that word processors make. */
static size_t quote_len(const char *text)
{
	if (*text == '"')
		return 1;
	return strncmp(text, "\u201c", 3) == 0 || strncmp(text, "\u201d", 3) == 0 || strncmp(text, "\u201e", 3) == 0 ?
		       3 :
		       0;
}

/* Characters beyond ASCII that the tokenizer passes over: punctuation and spaces of the common blocks. */
static bool is_separator(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	if (s[0] == 0xC2)
		return s[1] < 0xAA || (s[1] > 0xAA && s[1] < 0xB2) || s[1] == 0xB4 || (s[1] > 0xB5 && s[1] < 0xB9) ||
		       s[1] == 0xBB || s[1] == 0xBF;
	if (s[0] == 0xC3)
		return s[1] == 0x97 || s[1] == 0xB7; /* times, divided by */
	if (s[0] == 0xE2) /* U+2000 to U+206F, and arrows, operators, shapes: U+2190 to U+23FF, U+2500 to U+2BFF */
		return s[1] == 0x80 || (s[1] == 0x81 && s[2] < 0xB0) ||
		       (s[1] >= 0x86 && s[1] <= 0x8F && (s[1] > 0x86 || s[2] >= 0x90)) || (s[1] >= 0x94 && s[1] < 0xB0);
	return s[0] == 0xE3 && s[1] == 0x80 && s[2] < 0x84; /* ideographic comma, full stop */
}

bool query_has_word(const char *text)
{
	for (const char *at = text; *at;) {
		unsigned char c = (unsigned char)*at;
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return true;
		if (c >= 0x80 && !is_separator(at))
			return true;
		size_t len = str_utf8_len(at, strlen(at));
		at += len ? len : 1;
	}
	return false;
}

/* Limits keep what we take from the arena far below its ceiling, so nothing here is NULL. */
static struct query_node *new_node(struct parser *p, enum query_node_kind kind, size_t place)
{
	struct query_node *node = arena_zalloc(p->arena, sizeof(*node));
	node->kind = kind;
	node->place = place;
	p->nodes++;
	return node;
}

static struct query_node *join(struct parser *p, enum query_node_kind kind, struct query_node *left,
			       struct query_node *right)
{
	if (!left || !right)
		return left ? left : right;
	struct query_node *node = new_node(p, kind, left->place);
	node->left = left;
	node->right = right;
	return node;
}

struct query_node *query_both(struct arena *arena, struct query_node *left, struct query_node *right)
{
	struct parser p = { .arena = arena };
	return join(&p, QUERY_AND, left, right);
}

/* The length of the keyword here, 0 if it is none: a whole word in capitals, or its sign. */
static size_t keyword(const struct parser *p, const char *word, const char *sign)
{
	const char *at = p->text + p->at;
	if (sign && str_starts(at, sign))
		return strlen(sign);
	if (!str_starts(at, word))
		return 0;
	char next = at[strlen(word)];
	return !next || is_blank(next) || next == '(' || next == ')' || next == '"' ? strlen(word) : 0;
}

/* Reads "…" from its first mark; backslashes take the next character as it is. */
static enum err_code read_quoted(struct parser *p, const char **ret)
{
	size_t start = p->at;
	p->at += quote_len(p->text + p->at);
	size_t len = 0;
	while (p->at < p->len) {
		size_t closing = quote_len(p->text + p->at);
		if (closing) {
			p->at += closing;
			*ret = arena_strndup(p->arena, p->scratch, len);
			return ERR_OK;
		}
		if (p->text[p->at] == '\\' && p->at + 1 < p->len)
			p->at++;
		p->scratch[len++] = p->text[p->at++];
	}
	refuse(p, start, "the quotation mark is not closed");
	err_advise(p->err, "put a second \" where the phrase ends, or leave the first one out");
	return ERR_INVALID_ARGUMENT;
}

/* Does the '(' here have its ')' before the next blank? Then both belong to the word: "f(x)", old DOIs. */
static bool closes_in_word(const char *text)
{
	int open = 0;
	for (; *text && !is_blank(*text) && !quote_len(text); text++) {
		if (*text == '(')
			open++;
		else if (*text == ')' && --open == 0)
			return true;
	}
	return false;
}

/* Reads up to a blank, quotation mark or parenthesis that is not the word's own, and to one of `stops`. */
static const char *read_word(struct parser *p, const char *stops)
{
	size_t start = p->at, len = 0;
	int open = 0;
	while (p->at < p->len) {
		char c = p->text[p->at];
		if (is_blank(c) || quote_len(p->text + p->at) || strchr(stops, c))
			break;
		if (c == '(') {
			if (p->at == start || (!open && !closes_in_word(p->text + p->at)))
				break;
			open++;
		} else if (c == ')' && --open < 0) {
			break;
		}
		if (c == '\\' && p->at + 1 < p->len && !is_blank(p->text[p->at + 1]))
			c = p->text[++p->at];
		p->scratch[len++] = c;
		p->at++;
	}
	return arena_strndup(p->arena, p->scratch, len);
}

static bool is_small(const char *word)
{
	for (size_t i = 0; strlen(word) <= SMALL_WORD_MAX && i < ARRAY_SIZE(small_words); i++)
		if (strcmp(small_words[i], word) == 0)
			return true;
	return false;
}

/* A node for words as typed; NULL where there is nothing to look for. */
static struct query_node *words_node(struct parser *p, const struct query_field *field, const char *text, bool prefix,
				     size_t place)
{
	if (!field && !query_has_word(text))
		return NULL;
	struct query_node *node = new_node(p, QUERY_WORDS, place);
	node->field = field;
	node->text = text;
	node->prefix = prefix;
	return node;
}

static struct query_node *bare_word(struct parser *p, const struct query_field *field, const char *word, size_t place)
{
	size_t len = strlen(word);
	bool prefix = len > 0 && word[len - 1] == '*';
	if (prefix)
		word = arena_strndup(p->arena, word, len - 1);
	if (!field && !prefix && is_small(word) && !p->keep_small) {
		p->passed_over = true;
		return NULL;
	}
	return words_node(p, field, word, prefix, place);
}

struct query_node *query_term(struct arena *arena, const char *field, const char *text)
{
	struct parser p = { .arena = arena };
	if (!text || !*text)
		return NULL;
	return words_node(&p, query_field_find(arena, field, strlen(field)), arena_strndup(arena, text, strlen(text)),
			  false, 0);
}

static enum err_code parse_or(struct parser *p, const struct query_field *field, struct query_node **ret);

static enum err_code parse_group(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at++;
	if (++p->depth > QUERY_DEPTH_MAX)
		return err_set(p->err, ERR_OUT_OF_RANGE, "search: parentheses are nested deeper than %d",
			       QUERY_DEPTH_MAX);
	enum err_code code = parse_or(p, field, ret);
	if (code != ERR_OK)
		return code;
	if (p->text[p->at] != ')')
		return refuse(p, start, "the '(' is not closed");
	p->at++;
	p->depth--;
	return ERR_OK;
}

static enum err_code bad_range(struct parser *p, size_t start)
{
	refuse(p, start, "the range is not complete");
	err_advise(p->err,
		   "write published:[2024-01-01 TO 2024-12-31]; '*' leaves an end open, { } leave the ends out");
	return ERR_INVALID_ARGUMENT;
}

static enum err_code read_bound(struct parser *p, const char **ret)
{
	skip_blanks(p);
	if (quote_len(p->text + p->at))
		return read_quoted(p, ret);
	const char *word = read_word(p, "]}");
	*ret = strcmp(word, "*") == 0 ? NULL : word;
	return ERR_OK;
}

static enum err_code parse_range(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at;
	struct query_node *node = new_node(p, QUERY_RANGE, start);
	node->field = field;
	node->above = p->text[p->at++] == '{';
	enum err_code code = read_bound(p, &node->text);
	if (code != ERR_OK)
		return code;
	skip_blanks(p);
	if (!keyword(p, "TO", NULL) && !keyword(p, "to", NULL))
		return bad_range(p, start);
	p->at += 2;
	code = read_bound(p, &node->upper);
	if (code != ERR_OK)
		return code;
	skip_blanks(p);
	char closing = p->text[p->at];
	if ((closing != ']' && closing != '}') || (node->text && !*node->text) || (node->upper && !*node->upper))
		return bad_range(p, start);
	node->below = closing == '}';
	p->at++;
	*ret = node;
	return ERR_OK;
}

/* field:>=value and its like */
static enum err_code parse_comparison(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at;
	struct query_node *node = new_node(p, QUERY_RANGE, start);
	bool greater = p->text[p->at++] == '>', with_end = p->text[p->at] == '=';
	p->at += with_end;
	const char *bound = NULL;
	enum err_code code = read_bound(p, &bound);
	if (code != ERR_OK)
		return code;
	if (!bound || !*bound)
		return bad_range(p, start);
	node->field = field;
	node->above = greater && !with_end;
	node->below = !greater && !with_end;
	*(greater ? &node->text : &node->upper) = bound;
	*ret = node;
	return ERR_OK;
}

static enum err_code parse_phrase(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at;
	const char *text = NULL;
	enum err_code code = read_quoted(p, &text);
	if (code != ERR_OK)
		return code;
	bool prefix = p->text[p->at] == '*';
	p->at += prefix;
	*ret = words_node(p, field, text, prefix, start);
	return ERR_OK;
}

/* What stands behind "field:". */
static enum err_code parse_value(struct parser *p, const struct query_field *field, size_t start,
				 struct query_node **ret)
{
	skip_blanks(p);
	char c = p->text[p->at];
	if (quote_len(p->text + p->at))
		return parse_phrase(p, field, ret);
	if (c == '(')
		return parse_group(p, field, ret);
	if (c == '[' || c == '{')
		return parse_range(p, field, ret);
	if (c == '>' || c == '<')
		return parse_comparison(p, field, ret);
	size_t place = p->at;
	const char *word = read_word(p, "");
	if (!*word)
		return refuse(p, start, "the field has no value");
	*ret = bare_word(p, field, word, place);
	return ERR_OK;
}

/* The length of a name that a ':' follows here, 0 if there is none. */
static size_t field_len(const char *text)
{
	size_t len = 0;
	if (!((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z'))
		return 0;
	while ((text[len] >= '0' && text[len] <= '9') || ((text[len] | 0x20) >= 'a' && (text[len] | 0x20) <= 'z') ||
	       text[len] == '_' || text[len] == '.' || text[len] == '-')
		len++;
	return text[len] == ':' ? len : 0;
}

static enum err_code unknown_field(struct parser *p, size_t len)
{
	err_set(p->err, ERR_INVALID_ARGUMENT, "search: at character %zu: there is no field '%.*s'",
		query_place(p->text, p->at), (int)MIN(len, (size_t)64), p->text + p->at);
	err_advise(p->err, "the fields are %s; put the text in quotation marks if the ':' belongs to it",
		   query_field_names());
	return ERR_INVALID_ARGUMENT;
}

static enum err_code parse_primary(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at;
	if (p->text[p->at] == '(')
		return parse_group(p, field, ret);
	if (quote_len(p->text + p->at))
		return parse_phrase(p, field, ret);
	size_t len = field ? 0 : field_len(p->text + p->at);
	const char *behind = p->text + p->at + len + 1;
	if (len && strncmp(behind, "//", 2) != 0) { /* a URL is a word */
		const struct query_field *found = query_field_find(p->arena, p->text + p->at, len);
		if (found) {
			p->at += len + 1;
			return parse_value(p, found, start, ret);
		}
		if (*behind && !is_blank(*behind) && *behind != ')')
			return unknown_field(p, len);
	}
	const char *word = read_word(p, "");
	if (p->at == start)
		p->at++; /* nothing that begins a word: never stay */
	*ret = bare_word(p, field, word, start);
	return ERR_OK;
}

static enum err_code parse_not(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	size_t start = p->at, skip = keyword(p, "NOT", NULL);
	const char *at = p->text + p->at;
	if (!skip && *at == '-') {
		size_t dashes = strspn(at, "-");
		if (dashes == 1 && at[1] && !is_blank(at[1]) && at[1] != ')')
			skip = 1;
		if (dashes > 1) { /* a dash in running text */
			p->at += dashes;
			return ERR_OK;
		}
	}
	p->at += skip;
	skip_blanks(p);
	char c = p->text[p->at];
	if (skip && (!c || c == ')'))
		return refuse(p, start, "NOT needs something behind it");
	if (!c || c == ')')
		return ERR_OK;
	struct query_node *node = NULL;
	enum err_code code =
		skip && keyword(p, "NOT", NULL) ? refuse(p, p->at, "NOT stands twice") : parse_primary(p, field, &node);
	if (code != ERR_OK)
		return code;
	if (node && skip) {
		struct query_node *inner = node;
		node = new_node(p, QUERY_NOT, start);
		node->left = inner;
	}
	*ret = node;
	return ERR_OK;
}

static bool at_operand(const struct parser *p)
{
	char c = p->text[p->at];
	return c && c != ')' && !keyword(p, "OR", "||") && !keyword(p, "AND", "&&");
}

static enum err_code parse_and(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	struct query_node *all = NULL;
	skip_blanks(p);
	while (at_operand(p)) {
		struct query_node *node = NULL;
		enum err_code code = parse_not(p, field, &node);
		if (code != ERR_OK)
			return code;
		all = join(p, QUERY_AND, all, node);
		if (p->nodes > QUERY_NODES_MAX)
			return err_set(p->err, ERR_OUT_OF_RANGE, "search: more than %d words and fields",
				       QUERY_NODES_MAX);
		skip_blanks(p);
		size_t place = p->at, skip = keyword(p, "AND", "&&");
		p->at += skip;
		skip_blanks(p);
		if (skip && !at_operand(p)) {
			refuse(p, place, "AND needs something behind it");
			err_advise(p->err, "put \"AND\" in quotation marks to search for the word");
			return ERR_INVALID_ARGUMENT;
		}
	}
	*ret = all;
	return ERR_OK;
}

static enum err_code parse_or(struct parser *p, const struct query_field *field, struct query_node **ret)
{
	struct query_node *any = NULL;
	for (;;) {
		struct query_node *node = NULL;
		enum err_code code = parse_and(p, field, &node);
		if (code != ERR_OK)
			return code;
		any = join(p, QUERY_OR, any, node);
		size_t place = p->at, skip = keyword(p, "OR", "||"), lone = keyword(p, "AND", "&&");
		if (!skip && !lone) {
			*ret = any;
			return ERR_OK;
		}
		p->at += skip;
		skip_blanks(p);
		if (!lone && at_operand(p))
			continue;
		refuse(p, place, lone ? "AND needs something before it" : "OR needs something behind it");
		err_advise(p->err, "put \"%s\" in quotation marks to search for the word", lone ? "AND" : "OR");
		return ERR_INVALID_ARGUMENT;
	}
}

static enum err_code parse(struct parser *p, struct query_node **ret)
{
	p->at = p->nodes = 0;
	p->depth = 0;
	enum err_code code = parse_or(p, NULL, ret);
	if (code == ERR_OK && p->at < p->len)
		code = refuse(p, p->at, "the ')' closes nothing");
	return code;
}

enum err_code query_parse(struct arena *arena, const char *text, struct query_node **ret, struct err *err)
{
	struct parser p = { .arena = arena, .text = text, .len = strlen(text), .err = err };
	if (p.len > QUERY_BYTES_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "search: the query has %zu bytes, at most %d are possible", p.len,
			       QUERY_BYTES_MAX);
	if (!str_is_utf8(text, p.len))
		return err_set(err, ERR_INVALID_ARGUMENT, "search: the query is not UTF-8");
	p.scratch = arena_alloc(arena, p.len + 1);
	struct query_node *node = NULL;
	enum err_code code = parse(&p, &node);
	if (code == ERR_OK && !node && p.passed_over) { /* small words alone are what is sought */
		p.keep_small = true;
		code = parse(&p, &node);
	}
	if (code == ERR_OK)
		*ret = node;
	return code;
}
