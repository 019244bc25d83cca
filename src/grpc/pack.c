#include "grpc/pack.h"

#include "base/alloc.h"
#include "base/clock.h"

#define STEP_BYTES (16u << 10)

/* --- expanding --- */

struct unpacking {
	struct work work;
	struct call *call;
	struct message *from, *to;
	struct inflater *inflater;
	size_t used;
	void (*done)(struct call *call, struct message *message, struct err *err);
};

static bool grow(struct message *message, size_t limit_bytes)
{
	size_t wanted = MIN(limit_bytes, MAX(2 * message->capacity, (size_t)STEP_BYTES));
	uint8_t *data = wanted > message->capacity ? arena_grow(&message->arena, message->data, message->capacity, wanted) : NULL;
	if (!data)
		return false;
	message->data = data;
	message->capacity = wanted;
	return true;
}

/* One piece; *ret_ended where that was the last. */
static enum err_code expand(struct unpacking *unpacking, bool *ret_ended, struct err *err)
{
	struct message *from = unpacking->from, *to = unpacking->to;
	size_t limit = unpacking->call->framing.limit_bytes, used, made;
	uint8_t behind; /* where the limit is reached: is there more? */
	bool full = to->len == to->capacity && !grow(to, limit);
	enum err_code code = inflater_feed(unpacking->inflater, from->data + unpacking->used, from->len - unpacking->used, &used,
					   full ? &behind : to->data + to->len,
					   full ? 1 : MIN(to->capacity - to->len, (size_t)STEP_BYTES), &made, err);
	if (code != ERR_OK)
		return code;
	if (full && made)
		return err_set(err, ERR_OUT_OF_RANGE, "the message expands to more than %zu bytes (%s)", limit,
			       unpacking->call->framing.limit_name);
	unpacking->used += used;
	to->len += made;
	*ret_ended = !used && !made;
	return *ret_ended ? inflater_finish(unpacking->inflater, err) : ERR_OK;
}

static void unpacking_end(struct unpacking *unpacking, struct message *message, struct err *err)
{
	struct call *call = unpacking->call;
	unpacking->done(call, message, err);
	inflater_destroy(unpacking->inflater);
	message_destroy(unpacking->from);
	message_destroy(unpacking->to);
	err_done(err);
	free(unpacking);
	call_unref(call);
}

static bool unpack_step(struct work *work, int64_t until_ns)
{
	struct unpacking *unpacking = CONTAINER_OF(work, struct unpacking, work);
	struct err err = ERR_INIT;
	bool ended = false;
	if (!unpacking->call->connection)
		err_set(&err, ERR_CANCELLED, "the caller left");
	else if (!unpacking->inflater || !unpacking->to)
		err_set(&err, ERR_RESOURCE_EXHAUSTED, "no memory to expand a message");
	while (err.code == ERR_OK && !ended) {
		(void)!expand(unpacking, &ended, &err);
		if (!ended && err.code == ERR_OK && clock_ns() > until_ns)
			return false;
	}
	unpacking_end(unpacking, err.code == ERR_OK ? TAKE(unpacking->to) : NULL, &err);
	return true;
}

void unpack_start(struct call *call, struct message *message,
		  void (*done)(struct call *call, struct message *message, struct err *err))
{
	struct unpacking *unpacking = NEW(struct unpacking);
	*unpacking = (struct unpacking){ .work.step = unpack_step, .call = call_ref(call), .from = message, .done = done };
	unpacking->to = message_create(call->framing.ceiling_bytes);
	unpacking->inflater = inflater_create(call->coding);
	server_add_work(call->connection->server, &unpacking->work);
}

/* --- compressing --- */

struct packing {
	struct work work;
	struct call *call;
	struct answer *from;
	size_t at, offset;
	struct deflater *deflater;
	void (*done)(struct call *call, struct answer *answer);
	/* what comes out; lives on as the new answer */
	struct answer answer;
	struct str piece;
	struct buf out;
};

static void release_packed(struct answer *answer)
{
	struct packing *packing = CONTAINER_OF(answer, struct packing, answer);
	struct answer *from = packing->from;
	struct call *call = packing->call;
	buf_done(&packing->out);
	free(packing);
	from->release(from);
	call_unref(call);
}

/* false: there is no memory. */
static bool compress_some(struct packing *packing, bool *ret_ended)
{
	const struct answer *from = packing->from;
	bool last = packing->at >= from->count;
	if (last) {
		*ret_ended = true;
		return deflater_add(packing->deflater, "", 0, true);
	}
	const struct str *piece = &from->pieces[packing->at];
	size_t part = MIN(piece->len - packing->offset, (size_t)STEP_BYTES);
	if (!deflater_add(packing->deflater, piece->data + packing->offset, part, false))
		return false;
	packing->offset += part;
	if (packing->offset == piece->len) {
		packing->at++;
		packing->offset = 0;
	}
	return true;
}

static bool pack_step(struct work *work, int64_t until_ns)
{
	struct packing *packing = CONTAINER_OF(work, struct packing, work);
	bool ended = false, good = packing->deflater && packing->call->connection;
	while (good && !ended) {
		good = compress_some(packing, &ended);
		if (good && !ended && clock_ns() > until_ns)
			return false;
	}
	deflater_destroy(packing->deflater);
	packing->deflater = NULL;
	packing->answer.packed = good;
	packing->piece = (struct str){ packing->out.data, packing->out.len };
	packing->answer.pieces = good ? &packing->piece : packing->from->pieces;
	packing->answer.count = good ? 1 : packing->from->count;
	packing->done(packing->call, &packing->answer);
	return true;
}

void pack_start(struct call *call, struct answer *answer, void (*done)(struct call *call, struct answer *answer))
{
	struct packing *packing = NEW(struct packing);
	*packing = (struct packing){ .work.step = pack_step, .call = call_ref(call), .from = answer, .done = done };
	packing->answer.release = release_packed;
	buf_init(&packing->out, (size_t)settings_int(call->connection->server->parts.settings, SETTING_LIMITS_OUTPUT_BYTES));
	packing->deflater = deflater_create(call->reply_coding, &packing->out);
	server_add_work(call->connection->server, &packing->work);
}
