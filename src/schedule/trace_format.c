#include "schedule/trace.h"

#include "base/alloc.h"

#define ATTRIBUTES_BYTES 8192

struct kept_span *span_keep(const struct span *span, int64_t wall_offset_ns)
{
	struct kept_span *kept = NEW(struct kept_span);
	struct buf attributes;
	buf_init(&attributes, ATTRIBUTES_BYTES);
	buf_putc(&attributes, '[');
	for (size_t i = 0; i < span->attribute_count; i++) {
		const struct span_attribute *attribute = &span->attributes[i];
		buf_printf(&attributes, "%s{\"key\":\"%s\",\"value\":", i ? "," : "", attribute->key);
		if (attribute->value) {
			buf_puts(&attributes, "{\"stringValue\":");
			buf_put_json_string(&attributes, attribute->value, strlen(attribute->value));
			buf_puts(&attributes, "}}");
		} else { /* 64-bit integers are strings in protobuf's JSON */
			buf_printf(&attributes, "{\"intValue\":\"%lld\"}}", (long long)attribute->number);
		}
	}
	buf_putc(&attributes, ']');
	kept->name = xstrdup(span->name);
	kept->attributes = attributes.overflowed ? xstrdup("[]") : buf_take(&attributes, NULL);
	kept->error = span->error ? xstrdup(span->error) : NULL;
	kept->start_wall_ns = span->start_ns + wall_offset_ns;
	kept->end_wall_ns = MAX(span->end_ns, span->start_ns) + wall_offset_ns;
	buf_done(&attributes);
	return kept;
}

void span_drop(struct kept_span *kept)
{
	free(kept->name);
	free(kept->attributes);
	free(kept->error);
	free(kept);
}

static void format_one(const struct kept_span *kept, struct buf *out)
{
	buf_printf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\",", kept->trace_id, kept->span_id);
	if (kept->parent_id[0])
		buf_printf(out, "\"parentSpanId\":\"%s\",", kept->parent_id);
	buf_puts(out, "\"name\":");
	buf_put_json_string(out, kept->name, strlen(kept->name));
	/* kind: 1 INTERNAL, 2 SERVER; status: 2 ERROR */
	buf_printf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",\"attributes\":%s",
		   kept->server ? 2 : 1, (long long)kept->start_wall_ns, (long long)kept->end_wall_ns, kept->attributes);
	if (kept->error) {
		buf_puts(out, ",\"status\":{\"code\":2,\"message\":");
		buf_put_json_string(out, kept->error, strlen(kept->error));
		buf_putc(out, '}');
	}
	buf_putc(out, '}');
}

void spans_format(const struct kept_span *first, struct buf *out)
{
	buf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
		      "\"dlhub\"}},{\"key\":\"service.version\",\"value\":{\"stringValue\":\"" DLHUB_VERSION "\"}}]},"
		      "\"scopeSpans\":[{\"scope\":{\"name\":\"dlhub\"},\"spans\":[");
	for (const struct kept_span *kept = first; kept; kept = kept->next) {
		if (kept != first)
			buf_putc(out, ',');
		format_one(kept, out);
	}
	buf_puts(out, "]}]}]}");
}
