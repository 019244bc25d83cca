/* wire/run_parser.h - what the parsers of run requests share (wire/oip.h): tokens to handlers, text collected or
 * captured, arrays filled. Private to run_parser.c, oip_*.c and dlhub_parse.c.
 *
 * A parser is a tokenizer and the function that takes the next token, which sets the function for the one after.
 * Where a value must be known before another member says how to read it ("data" before "datatype"), its text is
 * captured and read again from there; that replay is cut into turns as the body is. */
#pragma once

#include "wire/base64.h"
#include "wire/oip.h"
#include "wire/tensor_fill.h"

typedef enum err_code (*token_fn)(struct run_parser *parser, enum scan_token token, struct err *err);
/* What follows when a captured or skipped value is complete, and what ends a request. */
typedef enum err_code (*then_fn)(struct run_parser *parser, struct err *err);
/* Bytes behind the JSON part; all of them are taken. */
typedef enum err_code (*binary_fn)(struct run_parser *parser, const uint8_t *data, size_t len, struct err *err);

/* A tensor behind the JSON part. */
struct binary_input {
	size_t input;  /* index into request.inputs */
	uint64_t size; /* bytes that were announced */
	struct sink bytes;
};

/* The members of a tensor's parameters that say where in shared memory it is. */
enum { PART_REGION = 1u << 0, PART_OFFSET = 1u << 1, PART_BYTES = 1u << 2 };

struct run_parser {
	struct arena *arena;
	const struct method *method;
	const struct signature *signature; /* DLHub: the body may name another method of it; NULL: it may not */
	uint32_t json_depth;

	/* tokens */
	token_fn on;
	bool takes_parts;	/* `on` wants strings as they come; otherwise it gets them whole in `text` */
	struct str text;	/* of KEY and STRING: borrowed until the next token */
	struct sink collected;	/* a string that came in parts */
	struct json_scan *scan; /* the one whose token is being handled: body or replay */

	/* replay */
	struct json_scan *replay; /* of the arena; NULL until it is needed */
	struct str replay_text;	  /* what it has not been fed yet */
	bool replaying;
	bool held; /* the last byte of the piece was used but not reported so, because a replay goes on */

	/* capture of a value's text, or a skip over it */
	bool capturing;
	uint32_t capture_depth;
	struct sink *capture;	     /* NULL: skipped */
	size_t capture_start;	     /* length of the sink before it */
	const uint8_t *capture_from; /* in the present piece */
	uint64_t capture_offset;     /* of the value's begin in the body */
	then_fn then;

	/* the first error, which every later call returns */
	enum err_code failed;
	const char *failed_text, *failed_hint;

	/* what is being made */
	struct run_request request;
	struct sink parameters; /* text of an object */
	uint32_t seen;		/* members of the body, a bit each */
	uint32_t seen_here;	/* members of the object inside it that is under way */
	struct str subject;	/* name of the input under way, for errors; empty outside */
	uint32_t unnamed;	/* its number while the name is not known; 0 outside */
	bool filling;		/* `fill` is at work */
	struct sink raw;	/* data that came before what says how to read it */
	uint64_t raw_offset;
	bool has_raw;
	then_fn finish;

	/* Open Inference Protocol */
	binary_fn on_binary;
	int64_t json_bytes;  /* -1: all of the body */
	token_fn after_list; /* what follows the inputs */
	int64_t elements;    /* of the shape of the input under way; -1: not known yet */
	enum dtype inferred; /* that data which came before their datatype were read as; else INVALID */
	bool has_binary_size;
	uint64_t binary_size;
	struct binary_input *binary;
	size_t binary_count, binary_at;
	struct region_part part;  /* of the tensor under way */
	uint32_t part_seen;	  /* PART_… */
	token_fn after_part;	  /* takes the next parameter */
	struct region_part *parts; /* of inputs, with the index of each */
	size_t *part_inputs;
	size_t part_count;

	/* DLHub */
	size_t argument;	      /* under way */
	struct base64_decoder base64; /* of a file under way */
	struct sink bytes;	      /* a file's, or a document's text */
	token_fn item_on;	      /* takes an element of a tuple, or one of many inputs, if one comes */
	size_t most_items, item_room; /* of many inputs */
	struct str reference;	      /* of the argument under way; empty: none */
	struct run_reference *references;
	size_t reference_count, reference_room;
	size_t references_before; /* the present item */
	bool in_items;		      /* they are under way */
	bool by_name;		      /* a tuple as an object */
	uint8_t *given;		      /* a flag an argument, where by name */

	/* These begin themselves. */
	struct tensor_fill fill;
	struct json_scan body;
};
_Static_assert(sizeof(struct run_parser) <= ARENA_LARGE, "one small piece of the arena");

/* In the arena; the caller sets what is its own. NULL past the arena's ceiling. */
struct run_parser *run_parser_create(struct arena *arena, const struct method *method, int json_depth, token_fn on,
				     then_fn finish);

/* Takes the text of the value that comes next into `to` (NULL: skips it), then calls `then`. */
void run_parser_capture(struct run_parser *parser, struct sink *to, then_fn then);
/* The handler while it goes on. */
enum err_code run_parser_captured(struct run_parser *parser, enum scan_token token, struct err *err);
/* No value came after all. */
void run_parser_capture_drop(struct run_parser *parser);
/* As run_parser_capture(), under that key into the object `parameters`. */
enum err_code run_parser_parameter(struct run_parser *parser, struct str key, then_fn then, struct err *err);
/* Checks the object in `parameters` (may be none) and puts it into the request. */
enum err_code run_parser_end_parameters(struct run_parser *parser, struct err *err);
/* Reads `raw` (which stood at `raw_offset` of the body) once more: its tokens go to `on`, until ..._replay_end(). */
enum err_code run_parser_replay(struct run_parser *parser, token_fn on, struct err *err);
void run_parser_replay_end(struct run_parser *parser);

/* Whether the key in `text` is a parameter about shared memory: then its value goes into `part`, and `then` is next. */
bool run_parser_part(struct run_parser *parser, token_fn then);
/* The parameters have ended: a region must have come with its size. */
enum err_code run_parser_end_part(struct run_parser *parser, struct err *err);

/* Which of `names` the key in `text` is; an error where it is none, or was `seen`. `where` has those members. */
enum err_code run_parser_once(struct run_parser *parser, uint32_t *seen, const char *const *names, size_t count,
			      const char *where, int *ret, struct err *err);
/* A copy in the arena. */
enum err_code run_parser_keep(struct run_parser *parser, struct str text, struct str *ret, struct err *err);
/* Index of the argument, or `count`. */
size_t run_parser_argument(const struct argument *arguments, size_t count, struct str name);

/* An object {"ref": "…"} has begun in place of the value of argument `argument`; `then` follows it, with the reference kept. */
void run_parser_reference(struct run_parser *parser, then_fn then);
/* `reference` stands for the next input. */
enum err_code run_parser_keep_reference(struct run_parser *parser, struct err *err);
/* What was found for the references becomes tensors; items that have some are checked. */
enum err_code run_parser_end_references(struct run_parser *parser, struct err *err);

/* Errors. ERR_INVALID_ARGUMENT "input 'x', byte 203: ...", the byte where the token begins. */
enum err_code run_parser_refuse(struct run_parser *parser, struct err *err, const char *fmt, ...) _printf_(3, 4);
/* "a string is expected, but null came". */
enum err_code run_parser_expected(struct run_parser *parser, const char *what, enum scan_token token, struct err *err);
/* "method 'run' has no input 'y'; it has: 'x'". */
enum err_code run_parser_unknown(struct run_parser *parser, const char *what, struct str name,
				 const struct argument *arguments, size_t count, struct err *err);
/* Puts "input 'x', " before the error that is there. */
enum err_code run_parser_name(struct run_parser *parser, struct err *err);
enum err_code run_parser_no_memory(struct err *err);
