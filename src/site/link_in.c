/* What comes in: messages are taken apart into notes, parts are put together, credit is given for what was taken. */
#include "site/link_internal.h"

#include "base/alloc.h"

/* A long note on its way in. */
struct way_in {
	struct way_in *next;
	uint64_t id;
	uint8_t *data;
	size_t total, have;
};

static enum err_code broke(struct err *err, const char *how)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: %s", how);
}

static void way_in_free(struct way_in *way)
{
	free(way->data);
	free(way);
}

static struct way_in **find_way(struct link *link, uint64_t id)
{
	struct way_in **at = &link->incoming;
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static enum err_code new_way(struct link *link, uint64_t id, const struct site_part *part, struct err *err)
{
	size_t open = 0;
	for (struct way_in *way = link->incoming; way; way = way->next)
		open++;
	if (open >= LINK_WAYS_MAX || part->offset != 0)
		return broke(err, "a part of a note that has not begun");
	if (part->total < sizeof(struct site_header) || part->total > link->options.most_bytes)
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a note of %llu bytes, and it may have %zu",
			       (unsigned long long)part->total, link->options.most_bytes);
	uint8_t *data = malloc(part->total);
	if (!data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a note of %llu bytes", (unsigned long long)part->total);
	struct way_in *way = NEW(struct way_in);
	*way = (struct way_in){ .next = link->incoming, .id = id, .data = data, .total = part->total };
	link->incoming = way;
	return ERR_OK;
}

static enum err_code on_assembled(struct link *link, struct way_in *way, struct err *err)
{
	struct site_header header;
	const uint8_t *body;
	link->assembled = TAKE(way->data);
	enum err_code code = site_peek(link->assembled, way->total, &header, &body) == 1 &&
					     sizeof(header) + header.length == way->total && header.type != SITE_PART ?
				     link->options.on_note(link->options.context, &header, body, err) :
				     broke(err, "parts that make no note");
	free(TAKE(link->assembled));
	return code;
}

static enum err_code on_part(struct link *link, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct site_part part;
	memcpy(&part, body, sizeof(part));
	size_t len = header->length - sizeof(part);
	struct way_in **at = find_way(link, header->id);
	if (!*at) {
		enum err_code code = new_way(link, header->id, &part, err);
		if (code != ERR_OK)
			return code;
		at = &link->incoming;
	}
	struct way_in *way = *at;
	if (part.total != way->total || part.offset != way->have || len > way->total - way->have)
		return broke(err, "a part that does not follow the one before it");
	memcpy(way->data + way->have, body + sizeof(part), len);
	way->have += len;
	if (way->have < way->total)
		return ERR_OK;
	*at = way->next;
	enum err_code code = on_assembled(link, way, err);
	way_in_free(way);
	return code;
}

static enum err_code on_pong(struct link *link, uint64_t sent_ns, struct err *err)
{
	int64_t now = loop_now_ns(link->options.loop);
	if (sent_ns > (uint64_t)now)
		return broke(err, "the answer to a ping that was not sent");
	link->rtt_ns[link->rtt_count++ % LINK_RTT_SAMPLES] = MAX(now - (int64_t)sent_ns, 1);
	return ERR_OK;
}

static enum err_code on_one(struct link *link, const struct site_header *header, const uint8_t *body, struct err *err)
{
	switch (header->type) {
	case SITE_PING:
		link_send_control(link, SITE_PONG, header->id);
		return ERR_OK;
	case SITE_PONG:
		return on_pong(link, header->id, err);
	case SITE_CREDIT:
		if (header->id > link->under_way)
			return broke(err, "credit for what was not sent");
		link->under_way -= header->id;
		link_mark_dirty(link);
		return ERR_OK;
	case SITE_PART:
		return on_part(link, header, body, err);
	case SITE_DROP: {
		struct way_in **at = find_way(link, header->id), *way = *at;
		if (way) {
			*at = way->next;
			way_in_free(way);
		}
		return ERR_OK;
	}
	default:
		return link->options.on_note(link->options.context, header, body, err);
	}
}

enum err_code link_receive(struct link *link, const uint8_t *data, size_t len, struct err *err)
{
	struct site_header header;
	const uint8_t *body;
	int whole;
	link->heard_ns = loop_now_ns(link->options.loop);
	while ((whole = site_peek(data, len, &header, &body)) == 1) {
		size_t used = sizeof(header) + header.length;
		if (site_note_is_data(header.type))
			link->taken += used;
		enum err_code code = on_one(link, &header, body, err);
		if (code != ERR_OK)
			return code;
		data += used;
		len -= used;
	}
	if (link->taken >= LINK_CREDIT_BYTES)
		link_mark_dirty(link); /* gives credit */
	return whole < 0 ? broke(err, "a message that is no row of notes") : ERR_OK;
}

void *link_keep(struct link *link)
{
	return TAKE(link->assembled);
}

void link_in_done(struct link *link)
{
	for (struct way_in *way; (way = link->incoming);) {
		link->incoming = way->next;
		way_in_free(way);
	}
}
