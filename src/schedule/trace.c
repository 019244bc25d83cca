#include "schedule/trace.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "io/outgoing.h"

#define KEPT_MOST 8192
#define SEND_EACH_MS 2000
#define SEND_AT 1024 /* spans: no need to wait longer */
#define POST_MS 5000
#define POST_BYTES (64u << 20)
#define COMPLAIN_EACH_MS 60000

struct tracer {
	struct loop *loop;
	char *url; /* owned; NULL: nothing is traced */
	int64_t sample;
	struct metrics *metrics;
	struct timer *timer;
	struct kept_span *kept, **tail;
	size_t count;
	bool sending;
	uint64_t sent, dropped;
	uint64_t random; /* of which the sample is drawn: splitmix64 */
	int64_t complained_ms;
};

/* One list on its way. */
struct parcel {
	struct tracer *tracer;
	struct kept_span *spans;
	size_t count;
	struct err err;
};

static void drop_list(struct kept_span *kept)
{
	while (kept) {
		struct kept_span *next = kept->next;
		span_drop(kept);
		kept = next;
	}
}

static void send_parcel(void *context)
{
	struct parcel *parcel = context;
	struct buf body;
	buf_init(&body, POST_BYTES);
	spans_format(parcel->spans, &body);
	if (body.overflowed)
		err_set(&parcel->err, ERR_OUT_OF_RANGE, "the traces are too large to be sent");
	else
		(void)!outgoing_post(parcel->tracer->url, "application/json", (struct str){ body.data, body.len }, POST_MS,
				     &parcel->err);
	buf_done(&body);
}

static void parcel_sent(void *context)
{
	struct parcel *parcel = context;
	struct tracer *tracer = parcel->tracer;
	int64_t now_ms = clock_ms();
	tracer->sending = false;
	if (parcel->err.code == ERR_OK) {
		tracer->sent += parcel->count;
	} else {
		tracer->dropped += parcel->count;
		if (!tracer->complained_ms || now_ms - tracer->complained_ms > COMPLAIN_EACH_MS)
			log_warning("traces are lost: %s (trace.otlp)", err_text(&parcel->err));
		tracer->complained_ms = now_ms;
	}
	drop_list(parcel->spans);
	err_done(&parcel->err);
	free(parcel);
}

static void send_kept(void *context)
{
	struct tracer *tracer = context;
	if (tracer->sending || !tracer->kept)
		return;
	struct parcel *parcel = NEW(struct parcel);
	*parcel = (struct parcel){ .tracer = tracer, .spans = tracer->kept, .count = tracer->count, .err = ERR_INIT };
	tracer->kept = NULL;
	tracer->tail = &tracer->kept;
	tracer->count = 0;
	tracer->sending = true;
	if (pool_submit(tracer->loop, LANE_DISK, send_parcel, parcel_sent, parcel))
		return;
	tracer->sending = false;
	tracer->dropped += parcel->count;
	drop_list(parcel->spans);
	free(parcel);
}

static void collect(void *context, struct buf *out)
{
	struct tracer *tracer = context;
	metric_family(out, "dlhub_trace_spans_total", METRIC_COUNTER, "Spans of traces, sent and dropped");
	metric_sample(out, "dlhub_trace_spans_total", NULL, "state=\"sent\"", (double)tracer->sent);
	metric_sample(out, "dlhub_trace_spans_total", NULL, "state=\"dropped\"", (double)tracer->dropped);
}

struct tracer *tracer_create(struct loop *loop, const struct settings *settings, struct metrics *metrics)
{
	struct tracer *tracer = NEW(struct tracer);
	const char *url = settings_string(settings, SETTING_TRACE_OTLP);
	tracer->loop = loop;
	tracer->tail = &tracer->kept;
	if (!*url)
		return tracer;
	tracer->url = xstrdup(url);
	tracer->sample = settings_int(settings, SETTING_TRACE_SAMPLE);
	tracer->random = (uint64_t)clock_ns();
	tracer->metrics = metrics;
	metrics_add(metrics, collect, tracer);
	tracer->timer = timer_create_on(loop, send_kept, tracer);
	timer_start(tracer->timer, SEND_EACH_MS, SEND_EACH_MS);
	return tracer;
}

void tracer_destroy(struct tracer *tracer)
{
	if (!tracer)
		return;
	if (tracer->metrics)
		metrics_remove(tracer->metrics, tracer);
	timer_close(tracer->timer);
	drop_list(tracer->kept);
	free(tracer->url);
	free(tracer);
}

/* Lower-case hexadecimal, not all zero. */
static bool is_id(const char *text, size_t len)
{
	bool any = false;
	for (size_t i = 0; i < len; i++) {
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
		any |= text[i] != '0';
	}
	return any;
}

/* VERSION-TRACE-PARENT-FLAGS; later versions may go on behind a dash. */
static bool read_traceparent(const char *text, struct trace_context *ret, bool *ret_sampled)
{
	size_t len = strlen(text);
	if (len < TRACEPARENT_SIZE - 1 || text[2] != '-' || text[35] != '-' || text[52] != '-')
		return false;
	bool version_zero = text[0] == '0' && text[1] == '0';
	if ((!version_zero && !is_id(text, 2)) || strncmp(text, "ff", 2) == 0 || (version_zero && len != TRACEPARENT_SIZE - 1) ||
	    (len >= TRACEPARENT_SIZE && text[TRACEPARENT_SIZE - 1] != '-'))
		return false;
	bool flags_zero = text[53] == '0' && text[54] == '0';
	if (!is_id(text + 3, 32) || !is_id(text + 36, 16) || (!flags_zero && !is_id(text + 53, 2)))
		return false;
	memcpy(ret->trace_id, text + 3, 32);
	memcpy(ret->parent_id, text + 36, 16);
	int low = text[54] >= 'a' ? text[54] - 'a' + 10 : text[54] - '0';
	*ret_sampled = low & 1;
	return true;
}

static uint64_t draw(struct tracer *tracer)
{
	uint64_t z = tracer->random += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void make_id(char *text, size_t bytes)
{
	_cleanup_free_ char *hex = random_hex(bytes);
	memcpy(text, hex, 2 * bytes + 1);
}

bool tracer_begin(struct tracer *tracer, const char *traceparent, struct trace_context *ret)
{
	bool sampled = false;
	*ret = (struct trace_context){ 0 };
	if (!tracer->url)
		return false;
	bool given = traceparent && read_traceparent(traceparent, ret, &sampled);
	if (given ? !sampled : draw(tracer) % 1000 >= (uint64_t)tracer->sample) {
		*ret = (struct trace_context){ 0 };
		return false;
	}
	if (!given)
		make_id(ret->trace_id, 16);
	make_id(ret->span_id, 8);
	return true;
}

void trace_format(const struct trace_context *context, char text[static TRACEPARENT_SIZE])
{
	snprintf(text, TRACEPARENT_SIZE, "00-%s-%s-01", context->trace_id, context->span_id);
}

static struct kept_span *keep(struct tracer *tracer, const struct trace_context *context, const struct span *span)
{
	if (tracer->count >= KEPT_MOST) {
		tracer->dropped++;
		return NULL;
	}
	struct kept_span *kept = span_keep(span, clock_wall_ms() * 1000000 - clock_ns());
	memcpy(kept->trace_id, context->trace_id, sizeof(kept->trace_id));
	*tracer->tail = kept;
	tracer->tail = &kept->next;
	if (++tracer->count == SEND_AT)
		timer_start(tracer->timer, 0, SEND_EACH_MS);
	return kept;
}

void tracer_span(struct tracer *tracer, const struct trace_context *context, const struct span *span)
{
	struct kept_span *kept = keep(tracer, context, span);
	if (!kept)
		return;
	kept->server = true;
	memcpy(kept->span_id, context->span_id, sizeof(kept->span_id));
	memcpy(kept->parent_id, context->parent_id, sizeof(kept->parent_id));
}

void tracer_child(struct tracer *tracer, const struct trace_context *context, const struct span *span)
{
	struct kept_span *kept = keep(tracer, context, span);
	if (!kept)
		return;
	make_id(kept->span_id, 8);
	memcpy(kept->parent_id, context->span_id, sizeof(kept->parent_id));
}
