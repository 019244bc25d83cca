/* What goes out: short notes gather for one message a turn, long ones go in parts, and all wait for credit. */
#include "site/link_internal.h"

#include "base/alloc.h"

#define MESSAGE_BYTES (512u << 10) /* of one message, a part besides */
#define TURN_BYTES (1u << 20)	   /* sent in one turn of the loop */
#define PIECES_BYTES (LINK_WINDOW_BYTES / 4) /* under way, above which artifacts wait: what runs comes first */
#define SEGMENTS_MAX 32 /* pieces of memory that one part is put together of */

/* A long note on its way out. */
struct way_out {
	struct way_out *next;
	uint64_t id;
	struct site_header note;
	struct buf head; /* header and the begin of the body */
	struct segment {
		const uint8_t *data; /* borrowed, or `owned` */
		uint8_t *owned;
		size_t offset, len; /* in the note */
	} *segments;
	size_t count;
	size_t total, sent;
};

void link_mark_dirty(struct link *link)
{
	link->dirty = true;
	hook_no_wait(link->hook, true);
}

void link_send_control(struct link *link, enum site_note type, uint64_t id)
{
	if (site_encode(&link->control, &(struct site_header){ .type = (uint16_t)type, .id = id }, NULL))
		link_mark_dirty(link);
}

static void way_free(struct way_out *way)
{
	for (size_t i = 0; i < way->count; i++)
		free(way->segments[i].owned);
	free(way->segments);
	buf_done(&way->head);
	free(way);
}

/* Artifacts come last. */
static struct way_out *way_add(struct link *link, enum site_note type)
{
	struct way_out *way = NEW(struct way_out);
	way->id = ++link->last_way;
	buf_init(&way->head, (size_t)FRAME_LENGTH_MAX * 2);
	struct way_out **at = &link->ways;
	while (*at && ((*at)->sent || type == SITE_PIECE || (*at)->note.type != SITE_PIECE))
		at = &(*at)->next;
	way->next = *at;
	*at = way;
	link_mark_dirty(link);
	return way;
}

static void way_begin(struct way_out *way)
{
	memcpy(&way->note, way->head.data, sizeof(way->note));
	way->total = sizeof(way->note) + way->note.length;
}

enum err_code link_send(struct link *link, const struct site_header *header, const void *body, struct err *err)
{
	if (header->length > SITE_NOTE_BYTES) {
		struct way_out *way = way_add(link, header->type);
		if (!site_encode(&way->head, header, body))
			abort(); /* SITE_TEXT_BYTES is far below its ceiling */
		way_begin(way);
		return ERR_OK;
	}
	struct buf *out = site_note_is_data(header->type) ? &link->out : &link->control;
	if (!site_encode(out, header, body))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "too much waits to be sent there");
	link_mark_dirty(link);
	return ERR_OK;
}

enum err_code link_send_run(struct link *link, const struct site_header *header, const struct frame_header *frame,
			    const struct run_frame *run, bool borrows, struct err *err)
{
	static struct site_large large[FRAME_TENSORS_MAX]; /* of the loop's thread, for the time of this call */
	struct buf head;
	size_t count, start = link->out.len, inline_bytes = 0;
	for (size_t i = 0; i < run->count; i++)
		inline_bytes += run_frame_in_file(run, i) ? 0 : MIN(run->tensors[i].len, SITE_NOTE_BYTES + 1u);
	if (inline_bytes <= SITE_NOTE_BYTES) {
		enum err_code code = site_encode_run(&link->out, header, frame, run, large, &count, err);
		if (code != ERR_OK)
			return code;
		struct site_header full;
		memcpy(&full, link->out.data + start, sizeof(full));
		if (full.length <= SITE_PART_BYTES) {
			link_mark_dirty(link);
			return ERR_OK;
		}
		link->out.len = start; /* its parameters are what is long */
	}
	buf_init(&head, (size_t)FRAME_LENGTH_MAX * 2);
	enum err_code code = site_encode_run(&head, header, frame, run, large, &count, err);
	if (code != ERR_OK) {
		buf_done(&head);
		return code;
	}
	struct way_out *way = way_add(link, header->type);
	way->head = head;
	way->segments = xcalloc(count + 1, sizeof(*way->segments));
	way_begin(way);
	for (size_t i = 0; i < count; i++) {
		const struct tensor *tensor = &run->tensors[large[i].tensor];
		struct segment *segment = &way->segments[way->count++];
		*segment = (struct segment){ tensor->data, NULL, sizeof(way->note) + large[i].offset, tensor->len };
		if (tensor->data && borrows)
			continue;
		segment->data = segment->owned = malloc(tensor->len);
		if (!segment->owned) {
			(void)link_take_back(link, header->type, header->worker, header->id);
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a tensor of %zu bytes", tensor->len);
		}
		if (tensor->data)
			memcpy(segment->owned, tensor->data, tensor->len);
		else
			run->fill(run->context, large[i].tensor, segment->owned);
	}
	return ERR_OK;
}

bool link_take_back(struct link *link, enum site_note type, uint32_t worker, uint64_t id)
{
	for (struct way_out **at = &link->ways; *at; at = &(*at)->next) {
		struct way_out *way = *at;
		if (way->note.type != type || way->note.worker != worker || way->note.id != id)
			continue;
		if (way->sent)
			link_send_control(link, SITE_DROP, way->id);
		*at = way->next;
		way_free(way);
		return true;
	}
	return false;
}

/* The short notes that fit a message and the credit; *ret_iov is set where there are any. */
static size_t take_notes(struct link *link, struct iovec *ret_iov)
{
	size_t most = MIN(MESSAGE_BYTES, LINK_WINDOW_BYTES - MIN(link->under_way, LINK_WINDOW_BYTES));
	size_t left = link->out.len - link->out_at, len = left <= most ? left : 0;
	if (!left)
		return 0;
	uint8_t *start = (uint8_t *)link->out.data + link->out_at;
	struct site_header header;
	for (size_t next = 0; left > most && next <= most; next = len + sizeof(header) + header.length) {
		len = next;
		memcpy(&header, start + len, sizeof(header));
	}
	*ret_iov = (struct iovec){ start, len };
	return len;
}

static void add_segment(struct iovec *iov, size_t *count, const uint8_t *data, size_t len)
{
	iov[(*count)++] = (struct iovec){ (void *)data, len };
}

/* The next part of a long note, from `from` on: as much as there is room for in SEGMENTS_MAX entries. */
static size_t take_part(const struct way_out *way, struct iovec *iov, size_t *count)
{
	static const uint8_t zeros[FRAME_DATA_ALIGN];
	size_t at = way->sent, until = MIN(way->total, at + SITE_PART_BYTES), used = 0;
	if (at < way->head.len) {
		size_t len = MIN(until, way->head.len) - at;
		add_segment(iov, count, (uint8_t *)way->head.data + at, len);
		at += len;
		used++;
	}
	for (size_t i = 0; i < way->count && at < until && used + 2 <= SEGMENTS_MAX; i++) {
		const struct segment *segment = &way->segments[i];
		if (segment->offset + segment->len <= at)
			continue;
		if (segment->offset > at) {
			size_t gap = MIN(segment->offset, until) - at;
			add_segment(iov, count, zeros, gap);
			at += gap;
			used++;
		}
		size_t len = MIN(until, segment->offset + segment->len) - at;
		if (len)
			add_segment(iov, count, segment->data + (at - segment->offset), len);
		at += len;
		used++;
	}
	return at - way->sent;
}

/* Whose turn it is to send a part, with so many bytes under way besides; NULL: nobody's. */
static struct way_out *choose_way(const struct link *link, size_t besides)
{
	size_t used = link->under_way + besides + sizeof(struct site_header) + sizeof(struct site_part) + SITE_PART_BYTES, open = 0;
	for (struct way_out *way = link->ways; way && open < LINK_WAYS_MAX; way = way->next, open++)
		if (used <= (way->note.type == SITE_PIECE ? PIECES_BYTES : LINK_WINDOW_BYTES))
			return way;
	return NULL;
}

/* That way has sent a part: it ends, or others come first. */
static void turn_ways(struct link *link, struct way_out *way)
{
	struct way_out **before = &link->ways;
	while (*before != way)
		before = &(*before)->next;
	*before = way->next;
	if (way->sent == way->total) {
		way_free(way);
		return;
	}
	struct way_out **at = &link->ways;
	for (size_t i = 1; i < LINK_WAYS_MAX && *at; i++)
		at = &(*at)->next;
	way->next = *at;
	*at = way;
}

/* One message. Returns its bytes; 0: there is nothing to send, or no credit for it. */
static size_t send_message(struct link *link)
{
	struct iovec iov[SEGMENTS_MAX + 4];
	struct {
		struct site_header header;
		struct site_part part;
	} lead;
	size_t count = 0, part_len = 0;
	if (link->taken >= LINK_CREDIT_BYTES &&
	    site_encode(&link->control, &(struct site_header){ .type = SITE_CREDIT, .id = link->taken }, NULL))
		link->taken = 0;
	if (link->control.len)
		add_segment(iov, &count, (uint8_t *)link->control.data, link->control.len);
	size_t notes = take_notes(link, &iov[count]);
	count += notes > 0;
	bool any_left = notes < link->out.len - link->out_at;
	struct way_out *way = any_left ? NULL : choose_way(link, notes);
	if (way) {
		size_t lead_at = count++;
		part_len = take_part(way, iov, &count);
		iov[lead_at] = (struct iovec){ &lead, sizeof(lead) };
		lead.header = (struct site_header){ .length = sizeof(lead.part) + part_len, .id = way->id, .type = SITE_PART };
		lead.part = (struct site_part){ way->total, way->sent };
	}
	if (!count)
		return 0;
	size_t data = notes + (part_len ? sizeof(lead) + part_len : 0);
	size_t all = link->control.len + data;
	if (!link->options.send(link->options.context, iov, count)) {
		link->gone = true;
		return 0;
	}
	buf_clear(&link->control);
	link->out_at += notes;
	if (link->out_at == link->out.len) {
		buf_clear(&link->out);
		link->out_at = 0;
	}
	link->under_way += data;
	if (way) {
		way->sent += part_len;
		turn_ways(link, way);
	}
	return all;
}

void link_flush(struct link *link)
{
	if (!link->dirty)
		return;
	size_t sent = 0, len = 1;
	while (!link->gone && sent < TURN_BYTES && (len = send_message(link)) > 0)
		sent += len;
	link->dirty = !link->gone && len > 0; /* enough for this turn */
	hook_no_wait(link->hook, link->dirty);
	if (link->out_at > LINK_WINDOW_BYTES) {
		buf_consume(&link->out, link->out_at);
		link->out_at = 0;
	}
}

void link_out_done(struct link *link)
{
	for (struct way_out *way; (way = link->ways);) {
		link->ways = way->next;
		way_free(way);
	}
	buf_done(&link->control);
	buf_done(&link->out);
}
