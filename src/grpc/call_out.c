/* What a call sends: its answers and its status. */
#include "grpc/rpc.h"

#include "grpc/pack.h"
#include "grpc/status.h"

#define COPIED_BYTES 512u /* pieces below are copied into the write rather than pointed at */

#define HEAD_HEADERS	3
#define STATUS_HEADERS	5

#define HEADER(header_name, header_value)                                                                     \
	(nghttp2_nv)                                                                                          \
	{                                                                                                     \
		(uint8_t *)(header_name), (uint8_t *)(header_value), sizeof(header_name) - 1, strlen(header_value), \
			NGHTTP2_NV_FLAG_NONE                                                                  \
	}

/* --- the headers and the status --- */

static size_t put_head(const struct call *call, nghttp2_nv *headers)
{
	size_t count = 0;
	headers[count++] = HEADER(":status", "200");
	headers[count++] = HEADER("content-type", "application/grpc");
	if (call->reply_coding != CODING_IDENTITY)
		headers[count++] = HEADER("grpc-encoding", coding_name(call->reply_coding));
	return count;
}

struct status_text {
	char message[STATUS_MESSAGE_MAX + 1];
	char retry_ms[24];
};

/* At most STATUS_HEADERS; they point into `text`. */
static size_t put_status(const struct call *call, nghttp2_nv *headers, struct status_text *text)
{
	size_t count = 0;
	headers[count++] = HEADER("grpc-status", status_number(call->status.code));
	if (call->status.code == ERR_OK)
		return count;
	status_format_message(&call->status, text->message);
	headers[count] = HEADER("grpc-message", text->message);
	headers[count++].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	if (call->status.code == ERR_UNIMPLEMENTED)
		headers[count++] = HEADER("grpc-accept-encoding", "identity,deflate,gzip");
	if (call->request_id[0])
		headers[count++] = HEADER("x-request-id", call->request_id);
	if (call->status.retry_ms) {
		snprintf(text->retry_ms, sizeof(text->retry_ms), "%lld", (long long)call->status.retry_ms);
		headers[count++] = HEADER("grpc-retry-pushback-ms", text->retry_ms);
	}
	return count;
}

void call_refuse_http(struct call *call)
{
	const nghttp2_nv headers[] = { HEADER(":status", call->is_post ? "415" : "405"), HEADER("allow", "POST") };
	call->ended = call->responded = call->trailed = true;
	call->counter[ERR_INVALID_ARGUMENT]++;
	nghttp2_submit_response(call->connection->session, call->stream, headers, call->is_post ? 1 : 2, NULL);
	connection_touch(call->connection);
}

static ssize_t on_read(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *user_data)
{
	struct call *call = source->ptr;
	size_t now = MIN(len, call->answer_bytes);
	if (now)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (now < call->answer_bytes || !call->ended || call->packing)
		return now ? (ssize_t)now : NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	if (!call->trailed) {
		nghttp2_nv headers[STATUS_HEADERS];
		struct status_text text;
		call->trailed = true;
		nghttp2_submit_trailer(session, stream, headers, put_status(call, headers, &text));
	}
	return (ssize_t)now;
}

/* There is an answer, or an end, to be sent. */
static void respond(struct call *call)
{
	nghttp2_session *session = call->connection->session;
	connection_touch(call->connection);
	if (call->responded) {
		nghttp2_session_resume_data(session, call->stream);
		return;
	}
	nghttp2_nv headers[HEAD_HEADERS + STATUS_HEADERS];
	size_t count = put_head(call, headers);
	if (call->answer_bytes) {
		const nghttp2_data_provider provider = { .source.ptr = call, .read_callback = on_read };
		call->responded = true;
		nghttp2_submit_response(session, call->stream, headers, count, &provider);
	} else if (call->ended && !call->packing) {
		struct status_text text;
		call->responded = call->trailed = true;
		count = put_head(call, headers);
		count += put_status(call, headers + count, &text);
		nghttp2_submit_response(session, call->stream, headers, count, NULL);
	}
}

void call_end(struct call *call, struct err *err)
{
	if (call->ended)
		return;
	call->ended = true;
	if (err)
		err_move(&call->status, err);
	call->counter[call->status.code]++;
	if (call->connection)
		respond(call);
}

/* --- answers --- */

static void queue(struct call *call, struct answer *answer)
{
	answer->next = NULL;
	answer->at = answer->offset = 0;
	answer->left_bytes = FRAMING_PREFIX;
	for (size_t i = 0; i < answer->count; i++)
		answer->left_bytes += answer->pieces[i].len;
	framing_prefix(answer->prefix, answer->left_bytes - FRAMING_PREFIX, answer->packed);
	*call->answers_tail = answer;
	call->answers_tail = &answer->next;
	if (!call->answer_bytes)
		call->taken_ns = loop_now_ns(call->connection->server->parts.loop);
	call->answer_bytes += answer->left_bytes;
	respond(call);
}

static void packed(struct call *call, struct answer *answer)
{
	call->packing--;
	if (!call->connection) {
		answer->release(answer);
		return;
	}
	queue(call, answer);
}

void call_send(struct call *call, struct answer *answer)
{
	if (!call->connection || call->ended) {
		answer->release(answer);
		return;
	}
	if (!call->responded && call->coding != CODING_IDENTITY)
		call->reply_coding = call->accepts;
	if (call->reply_coding == CODING_IDENTITY) {
		queue(call, answer);
		return;
	}
	call->packing++;
	pack_start(call, answer, packed);
}

static struct str piece_of(const struct answer *answer)
{
	struct str whole = answer->at ? answer->pieces[answer->at - 1] : (struct str){ (const char *)answer->prefix, FRAMING_PREFIX };
	return (struct str){ whole.data + answer->offset, whole.len - answer->offset };
}

static bool has_room(const struct call *call, const struct gather *gather, size_t len)
{
	size_t copied = 9; /* the head of the frame */
	int pieces = 2;
	for (const struct answer *answer = call->answers; answer && len; answer = answer->next) {
		struct answer at = *answer;
		for (; len && at.at <= at.count; at.at++, at.offset = 0) {
			size_t part = MIN(piece_of(&at).len, len);
			len -= part;
			pieces += part < COPIED_BYTES ? 1 : 2;
			copied += part < COPIED_BYTES ? part : 0;
		}
	}
	return gather_has_room(gather, pieces, copied);
}

static void settle(struct call *call, struct answer *answer)
{
	call->answers = answer->next;
	if (!call->answers)
		call->answers_tail = &call->answers;
	answer->next = call->connection->sent;
	call->connection->sent = answer;
}

bool call_gather(struct call *call, struct gather *gather, const uint8_t *frame_head, size_t len)
{
	if (!has_room(call, gather, len))
		return false;
	call->taken_ns = loop_now_ns(call->connection->server->parts.loop);
	call->answer_bytes -= len;
	gather_copy(gather, frame_head, 9);
	while (len) {
		struct answer *answer = call->answers;
		struct str piece = piece_of(answer);
		size_t part = MIN(piece.len, len);
		if (part && part < COPIED_BYTES)
			gather_copy(gather, piece.data, part);
		else if (part)
			gather_point(gather, piece.data, part);
		len -= part;
		answer->left_bytes -= part;
		answer->offset += part;
		if (part == piece.len) {
			answer->at++;
			answer->offset = 0;
		}
		if (!answer->left_bytes)
			settle(call, answer);
	}
	return true;
}

void calls_let_go(struct connection *connection)
{
	for (struct answer *answer; (answer = connection->sent);) {
		connection->sent = answer->next;
		answer->release(answer);
	}
	for (struct call *call; (call = connection->closed);) {
		connection->closed = call->next;
		for (struct answer *answer; (answer = call->answers);) {
			call->answers = answer->next;
			answer->release(answer);
		}
		call_unref(call);
	}
}
