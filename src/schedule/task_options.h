/* schedule/task_options.h - how the answer of an asynchronous run is to be made, kept with the task as JSON.
 *
 * What a request says besides its inputs: the form of its body, the outputs that it asked for, its time. */
#pragma once

#include "base/arena.h"
#include "wire/oip.h"

enum task_form { TASK_DLHUB, TASK_OIP }; /* of POST …/run, of POST …/infer */

struct task_options {
	enum task_form form;
	bool each;		 /* many inputs: the answer is a list */
	struct str method;	 /* as read; to be written it is the request's */
	int priority;		 /* 0: the lowest */
	bool bypass_memo;	 /* its caller wants it run */
	int64_t start_within_ms; /* not to be started later than so long after its submission; 0: whenever */
	int64_t lifetime_ms;	 /* of the result; 0: the default */
};

/* JSON text; returned owned. NULL: it would be longer than a megabyte. */
char *task_options_format(const struct task_options *options, const struct run_request *request);
/* Fills what of a request the answer needs (id, outputs, flags, timeout) and the options but for start_within_ms and
 * lifetime_ms, which the row has. Memory of `arena`. ERR_DATA_LOSS. */
must_check enum err_code task_options_parse(const char *text, struct arena *arena, struct task_options *ret_options,
					    struct run_request *ret_request, struct err *err);
