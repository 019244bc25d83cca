#include "cli/samples.h"

#include "base/alloc.h"
#include "base/str.h"

#include <math.h>
#include <stdlib.h>

/* key="value" from `*at`; moves it behind. */
static bool parse_label(const char **at, struct sample *sample)
{
	size_t key = strcspn(*at, "=\"},");
	const char *text = *at + key;
	if (!key || text[0] != '=' || text[1] != '"' || sample->label_count == SAMPLE_LABELS)
		return false;
	text += 2;
	char *value = xcalloc(strlen(text) + 1, 1);
	size_t len = 0;
	for (; *text && *text != '"' && *text != '\n'; text++) {
		if (*text == '\\' && text[1]) {
			text++;
			value[len++] = *text == 'n' ? '\n' : *text;
		} else {
			value[len++] = *text;
		}
	}
	sample->labels[sample->label_count].key = xstrndup(*at, key);
	sample->labels[sample->label_count++].value = value;
	*at = text + 1;
	return *text == '"';
}

static bool parse_line(const char *line, struct sample *ret)
{
	size_t len = strcspn(line, "{ \n");
	if (!len)
		return false;
	ret->name = xstrndup(line, len);
	line += len;
	if (*line == '{') {
		line++;
		while (*line != '}') {
			if (!parse_label(&line, ret))
				return false;
			line += *line == ',';
		}
		line++;
	}
	if (*line != ' ')
		return false;
	char *end;
	ret->value = strtod(line + 1, &end);
	return end != line + 1 && (*end == '\n' || *end == '\0' || *end == ' ');
}

enum err_code samples_parse(const char *text, struct samples *ret, struct err *err)
{
	size_t number = 0, room = 0;
	*ret = (struct samples){ 0 };
	for (const char *line = text; *line; line += *line == '\n') {
		size_t len = strcspn(line, "\n");
		number++;
		if (len && *line != '#') {
			if (ret->count == room) {
				room = room ? room * 2 : 64;
				ret->list = xrealloc(ret->list, room * sizeof(*ret->list));
			}
			struct sample *sample = &ret->list[ret->count++];
			*sample = (struct sample){ 0 };
			if (!parse_line(line, sample))
				return err_set(err, ERR_INVALID_ARGUMENT, "line %zu of the metrics cannot be read: %.*s", number,
					       (int)MIN(len, (size_t)80), line);
		}
		line += len;
	}
	return ERR_OK;
}

void samples_done(struct samples *samples)
{
	for (size_t i = 0; i < samples->count; i++) {
		free(samples->list[i].name);
		for (size_t k = 0; k < samples->list[i].label_count; k++) {
			free(samples->list[i].labels[k].key);
			free(samples->list[i].labels[k].value);
		}
	}
	free(samples->list);
	*samples = (struct samples){ 0 };
}

const char *sample_label(const struct sample *sample, const char *key)
{
	for (size_t i = 0; i < sample->label_count; i++)
		if (strcmp(sample->labels[i].key, key) == 0)
			return sample->labels[i].value;
	return NULL;
}

static bool has_label(const struct sample *sample, const char *key, const char *value)
{
	const char *label = key && value ? sample_label(sample, key) : NULL;
	return !key || !value || (label && strcmp(label, value) == 0);
}

static bool is_of(const struct sample *sample, const char *name, const char *model, const char *version)
{
	return strcmp(sample->name, name) == 0 && has_label(sample, "model", model) && has_label(sample, "version", version);
}

double samples_sum(const struct samples *samples, const char *name, const char *model, const char *version, const char *key,
		   const char *value)
{
	double sum = 0;
	for (size_t i = 0; i < samples->count; i++)
		if (is_of(&samples->list[i], name, model, version) && has_label(&samples->list[i], key, value))
			sum += samples->list[i].value;
	return sum;
}

/* How many were at most `bound`: buckets that nobody fell into are left out, so it is the last one up to there. */
static double count_until(const struct samples *samples, const char *bucket, const char *model, const char *version, double bound)
{
	double count = 0;
	for (size_t i = 0; samples && i < samples->count; i++) {
		const struct sample *sample = &samples->list[i];
		if (is_of(sample, bucket, model, version) && strtod(sample_label(sample, "le") ?: "inf", NULL) <= bound)
			count = MAX(count, sample->value);
	}
	return count;
}

double samples_quantile(const struct samples *before, const struct samples *after, const char *name, const char *model,
			const char *version, double share)
{
	_cleanup_free_ char *bucket = xasprintf("%s_bucket", name);
	double all = count_until(after, bucket, model, version, INFINITY) - count_until(before, bucket, model, version, INFINITY);
	double below = 0, lower = 0;
	if (!(all > 0))
		return NAN;
	for (size_t i = 0; i < after->count; i++) { /* its bounds rise */
		const struct sample *sample = &after->list[i];
		if (!is_of(sample, bucket, model, version))
			continue;
		double bound = strtod(sample_label(sample, "le") ?: "inf", NULL);
		double until = sample->value - count_until(before, bucket, model, version, bound);
		if (until >= share * all) {
			if (isinf(bound) || until <= below)
				return lower;
			return lower + (bound - lower) * (share * all - below) / (until - below);
		}
		below = until;
		lower = bound;
	}
	return lower;
}
