/* catalog/query.h - private to catalog/: the language of searches, from text to a tree to SQL. Pure: no database.
 *
 *     words "a phrase" begin* field:value field:"a b" field:(a OR b) field:[a TO b] field:>=a -not NOT AND OR ( )
 *
 * Side by side means AND; OR binds weaker. What people type is forgiven where it has one sensible meaning: "3d-unet"
 * and "C++" are words, a DOI may have parentheses inside, curly quotation marks are quotation marks, punctuation
 * alone and small words such as "of" are passed over. An unclosed quotation mark or parenthesis and an unknown field
 * are errors that give the place. No text of the query ever becomes part of the SQL: it is bound, and inside a full-
 * text expression it stands in quotation marks that we put there. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "catalog/store.h"

#define QUERY_BYTES_MAX 4096
#define QUERY_NODES_MAX 200 /* words, fields and connections */
#define QUERY_DEPTH_MAX 32  /* of parentheses */

enum query_field_kind {
	QUERY_COLUMN, /* words of one column of version_search */
	QUERY_EXACT,  /* the whole of an SQL column, whatever its case */
	QUERY_NAME,   /* a servable's name or owner/name */
	QUERY_NUMBER, /* version number */
	QUERY_TIME,   /* when it was published */
	QUERY_PATH,   /* words of one value in the describing blocks */
};

struct query_field {
	const char *name;
	enum query_field_kind kind;
	const char *target; /* column, SQL column, or paths separated by blanks */
};

enum query_node_kind { QUERY_AND, QUERY_OR, QUERY_NOT, QUERY_WORDS, QUERY_RANGE };

struct query_node {
	enum query_node_kind kind;
	struct query_node *left, *right; /* AND, OR; NOT has left */
	const struct query_field *field; /* WORDS: NULL is anywhere */
	const char *text;		 /* WORDS; RANGE: the lower end, NULL is open */
	const char *upper;		 /* RANGE: NULL is open */
	bool prefix;			 /* WORDS: the last one may go on; "" with it: any value */
	bool above, below;		 /* RANGE: the end itself is not in it */
	size_t place;			 /* byte in the query, for errors */
};

/* Everything is in the arena. *ret is NULL for a query that asks for nothing in particular. ERR_INVALID_ARGUMENT with
 * the place; ERR_OUT_OF_RANGE past the limits above. */
must_check enum err_code query_parse(struct arena *arena, const char *text, struct query_node **ret, struct err *err);
/* A node as field:"text" makes it; `field` is a known one. NULL or "": NULL. */
struct query_node *query_term(struct arena *arena, const char *field, const char *text);
/* Both, where both are there. */
struct query_node *query_both(struct arena *arena, struct query_node *left, struct query_node *right);
/* Has it a letter or digit, so that full-text search finds a word in it? */
bool query_has_word(const char *text);
/* NULL for a name that is none: neither in the table nor a path in the describing blocks. */
const struct query_field *query_field_find(struct arena *arena, const char *name, size_t len);
/* "name, owner, type, …" for people. */
const char *query_field_names(void);

/* The SQL for a tree: conditions over version v and servable s, numbered from ?1. */
struct query_sql {
	struct arena *arena;
	struct buf where;   /* "1" or more; conditions joined by AND */
	const char *match;  /* a full-text expression that all results match, or NULL: not in `where` */
	struct bind *binds; /* in the arena */
	size_t bind_count, bind_capacity;
	const char *query;
};
must_check enum err_code query_compile(struct arena *arena, const char *query, const struct query_node *node,
				       struct query_sql *ret, struct err *err);
void query_sql_done(struct query_sql *sql);
/* Adds a bound value; its number. */
size_t query_bind(struct query_sql *sql, struct bind bind);
/* A place in the query as people count: characters from 1. */
size_t query_place(const char *query, size_t byte);
