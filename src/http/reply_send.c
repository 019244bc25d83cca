#include "http/server_impl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define LARGE_BYTES (1u << 20)
#define NEAR_US 5000		/* round trip */
#define NEAR_BUFFER_BYTES 262144 /* the kernel takes twice that, for its own needs */

static void add_headers(struct request *request, struct MHD_Response *response)
{
	struct reply *reply = &request->reply;
	MHD_add_response_header(response, "Content-Type", reply->content_type ? reply->content_type : "application/json");
	if (reply->policy || reply->file_fd >= 0) /* what a browser may show: as what it is, never as a guess */
		MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (reply->policy)
		MHD_add_response_header(response, "Content-Security-Policy", reply->policy);
	if (request->id[0])
		MHD_add_response_header(response, "X-Request-Id", request->id);
	if (reply->json_bytes) {
		char text[24];
		snprintf(text, sizeof(text), "%zu", reply->json_bytes);
		MHD_add_response_header(response, "Inference-Header-Content-Length", text);
	}
	if (reply->coding) {
		MHD_add_response_header(response, "Content-Encoding", coding_name(reply->coding));
		MHD_add_response_header(response, "Vary", "Accept-Encoding");
	}
	if (reply->memo)
		MHD_add_response_header(response, "X-DLHub-Memo", reply->memo);
	if (reply->timing)
		MHD_add_response_header(response, "Server-Timing", reply->timing);
	if (reply->status == 429 || reply->status == 503) {
		char text[24];
		snprintf(text, sizeof(text), "%d", MAX(reply->retry_after_s, 1));
		MHD_add_response_header(response, "Retry-After", text);
	}
	if (reply->status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	if (reply->allowed) {
		char text[64];
		route_format_methods(reply->allowed, text, sizeof(text));
		MHD_add_response_header(response, "Allow", text);
	}
	if (reply->location)
		MHD_add_response_header(response, "Location", reply->location);
	if (reply->close)
		MHD_add_response_header(response, "Connection", "close");
}

static struct MHD_Response *make_response(struct request *request)
{
	struct reply *reply = &request->reply;
	if (reply->file_fd >= 0) {
		struct MHD_Response *response = MHD_create_response_from_fd64((uint64_t)reply->file_bytes, reply->file_fd);
		if (response)
			reply->file_fd = -1; /* libmicrohttpd closes it */
		return response;
	}
	if (request->stream)
		return task_stream_response(request);
	if (!reply->binary_count)
		return MHD_create_response_from_buffer(reply->body.len, reply->body.data ? reply->body.data : "",
						       MHD_RESPMEM_PERSISTENT);
	struct MHD_IoVec *pieces = arena_alloc(&request->arena, (reply->binary_count + 1) * sizeof(*pieces));
	unsigned int count = 0;
	pieces[count++] = (struct MHD_IoVec){ reply->body.data, reply->body.len };
	for (size_t i = 0; i < reply->binary_count; i++)
		if (reply->binary_flags[i] && reply->binary[i].len)
			pieces[count++] = (struct MHD_IoVec){ reply->binary[i].data, reply->binary[i].len };
	return MHD_create_response_from_iovec(pieces, count, NULL, NULL);
}

/* The kernel takes megabytes of a large reply in one call, which holds the loop and passes by the processor's cache: where the
 * caller is near, and needs no more on its way than this, it gets smaller pieces. */
static void send_in_pieces(const struct request *request)
{
	if (reply_bytes(&request->reply) < LARGE_BYTES)
		return;
	const union MHD_ConnectionInfo *connection = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct tcp_info info;
	socklen_t size = sizeof(info);
	if (getsockopt(connection->connect_fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_rtt > NEAR_US)
		return;
	setsockopt(connection->connect_fd, SOL_SOCKET, SO_SNDBUF, &(int){ NEAR_BUFFER_BYTES }, sizeof(int));
}

static void count_reply(struct http_server *server, int status)
{
	if (status >= 0 && status < (int)ARRAY_SIZE(server->replies))
		server->replies[status]++;
}

enum MHD_Result reply_send(struct request *request)
{
	struct MHD_Response *response = make_response(request);
	if (!response)
		return MHD_NO;
	send_in_pieces(request);
	add_headers(request, response);
	request->phase = PHASE_SENT;
	count_reply(request->server, request->reply.status);
	enum MHD_Result result = MHD_queue_response(request->connection, (unsigned int)request->reply.status, response);
	MHD_destroy_response(response);
	return result;
}
