/* cli/samples.h - a hub's metrics as it prints them (Prometheus' text format), read back: what `dlhub top` shows. */
#pragma once

#include "base/err.h"

#define SAMPLE_LABELS 4

struct sample {
	char *name; /* owned */
	struct {
		char *key, *value; /* owned */
	} labels[SAMPLE_LABELS];
	size_t label_count;
	double value;
};

struct samples {
	struct sample *list; /* owned */
	size_t count;
};

/* Comments are left out. ERR_INVALID_ARGUMENT names the line. Fill is to be given to samples_done() in any case. */
must_check enum err_code samples_parse(const char *text, struct samples *ret, struct err *err);
void samples_done(struct samples *samples);
/* NULL: it has none. */
const char *sample_label(const struct sample *sample, const char *key);
/* The sum of those of that name whose labels `model` and `version` are these (NULL: any) and `key` is `value` (NULL: any). */
double samples_sum(const struct samples *samples, const char *name, const char *model, const char *version, const char *key,
		   const char *value);
/* The `share` (0.5: the median) of a histogram's growth from `before` (may be NULL) to `after`, between two of its bounds
 * linearly; NAN where it did not grow. */
double samples_quantile(const struct samples *before, const struct samples *after, const char *name, const char *model,
			const char *version, double share);
