#include "base/metric.h"

#include "base/alloc.h"

#include <math.h>

void metric_family(struct buf *out, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

void metric_sample(struct buf *out, const char *name, const char *suffix, const char *labels, double value)
{
	buf_puts(out, name);
	if (suffix)
		buf_puts(out, suffix);
	if (labels && *labels)
		buf_printf(out, "{%s}", labels);
	if (value == floor(value) && fabs(value) < 1e15)
		buf_printf(out, " %.0f\n", value);
	else
		buf_printf(out, " %.9g\n", value);
}

void metric_label(char *text, size_t size, const char *key, const char *value)
{
	size_t len = strlen(text), begin = len;
	int n = snprintf(text + len, size - len, "%s%s=\"", len ? "," : "", key);
	bool fits = n > 0 && len + (size_t)n < size;
	len += fits ? (size_t)n : 0;
	for (; fits && *value; value++) {
		char escaped[2] = { *value == '\n' ? 'n' : *value, '\0' };
		bool escape = *value == '\n' || *value == '"' || *value == '\\';
		fits = len + 4 < size;
		if (!fits)
			break;
		if (escape)
			text[len++] = '\\';
		text[len++] = escaped[0];
	}
	if (fits && len + 2 <= size)
		text[len++] = '"';
	else
		len = begin;
	text[len] = '\0';
}

struct collector {
	struct collector *next;
	metric_collect_fn collect;
	void *context;
};

struct metrics {
	struct collector *first;
};

struct metrics *metrics_create(void)
{
	return NEW(struct metrics);
}

void metrics_destroy(struct metrics *metrics)
{
	for (struct collector *c; metrics && (c = metrics->first);) {
		metrics->first = c->next;
		free(c);
	}
	free(metrics);
}

void metrics_add(struct metrics *metrics, metric_collect_fn collect, void *context)
{
	struct collector **at = &metrics->first;
	while (*at)
		at = &(*at)->next;
	*at = NEW(struct collector);
	**at = (struct collector){ .collect = collect, .context = context };
}

void metrics_remove(struct metrics *metrics, void *context)
{
	for (struct collector **at = &metrics->first; *at;) {
		struct collector *c = *at;
		if (c->context != context) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

void metrics_collect(const struct metrics *metrics, struct buf *out)
{
	for (const struct collector *c = metrics->first; c; c = c->next)
		c->collect(c->context, out);
}
