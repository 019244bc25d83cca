/* publish/engines.h - which engines could serve a servable, what came of trying each, and which of them does.
 *
 * A servable names its framework, not its engine. The table says for each type which engines there are; a publish tries
 * them (publish/trial.h): the fastest whose answers are those of the framework serves. What came of each is kept in the
 * version's serving record:
 *   "engines": [{"engine", "state", "reason"?, "framework"?, "max_error"?, "ms_1"?, "ms_32"?, "batch"?, "run"?}]
 *   state  serves | equal (could serve) | different | cannot load | fails | too slow | skipped (why: reason)
 *   run    how it is run, of those that could: {"program", "environment"?, "files"?, "manifest"?,
 *          "derived"?, "content"?}. manifest: the digest of the blob that names what it needs besides or instead of the
 *          version's own; derived: it runs what the framework exported, which is `content` in DIR/derived/VERSION/MANIFEST */
#pragma once

#include "base/json.h"
#include "base/err.h"

struct engine {
	const char *type; /* of servable */
	const char *name; /* "openvino" */
	const char *program; /* "native" or "python" */
	bool framework;	  /* the servable's own: referee of the others, and what serves where none of them can */
	bool exported;	  /* takes what the framework exports, not the files as they are */
	const char *absent; /* why this hub never tries it; NULL: it does */
};

enum candidate_state {
	CANDIDATE_UNTRIED,
	CANDIDATE_SERVES,
	CANDIDATE_EQUAL,
	CANDIDATE_DIFFERENT,
	CANDIDATE_CANNOT_LOAD,
	CANDIDATE_FAILS,
	CANDIDATE_TOO_SLOW,
	CANDIDATE_SKIPPED,
};

struct candidate {
	const struct engine *engine;
	enum candidate_state state;
	struct err err;	   /* why it is not equal; the framework's is what a failed publish tells */
	json_t *run;	   /* owned; NULL: not known yet */
	json_t *record;	   /* owned; what is kept of its golden test */
	json_t *batch;	   /* owned; {"axis", "proved", "reason"?}; NULL: not asked */
	char *framework;   /* owned; as its worker names it: "OpenVINO 2026.4.1" */
	double max_error;
	double ms_1, ms_32; /* of a usual run of one row, and of 32; 0: not measured */
};

struct candidates {
	struct candidate *items; /* in the order of the table: of two alike the first serves */
	size_t count;
};

/* All engines of the type; a type that the table lacks has one, `other` in a Python worker. */
void candidates_init(struct candidates *candidates, const char *type);
void candidates_done(struct candidates *candidates);
/* NULL: none of that name. */
struct candidate *candidates_find(const struct candidates *candidates, const char *name);
struct candidate *candidates_framework(const struct candidates *candidates);
/* Sets the state and why; the text is the reason on record. */
void candidate_rule_out(struct candidate *candidate, enum candidate_state state, const char *reason);
/* Forgets what came of it. */
void candidate_reset(struct candidate *candidate);

/* `pinned` (NULL: none) is an engine of the type. ERR_INVALID_ARGUMENT names those that are. */
must_check enum err_code candidates_check_pin(const struct candidates *candidates, const char *pinned, struct err *err);
/* The pinned one, or the fastest of those that are equal; its state becomes CANDIDATE_SERVES. ERR_FAILED_PRECONDITION:
 * the pinned one is not equal. The framework's own error: none is. */
must_check enum err_code candidates_choose(struct candidates *candidates, const char *pinned, struct candidate **ret,
					   struct err *err);
/* "engines" of the serving record, returned owned. */
json_t *candidates_json(const struct candidates *candidates);

/* Whether an owner may pin `pinned` of a version whose serving record is this. ERR_FAILED_PRECONDITION says what the
 * publish found. */
must_check enum err_code engines_check_change(const json_t *serving, const char *pinned, struct err *err);
