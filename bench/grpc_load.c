/* grpc_load.c - one gRPC call again and again, so many at once, over HTTP/2 without TLS.
 *
 *	grpc_load PORT PATH MESSAGE-FILE CONNECTIONS CALLS SECONDS [TOKEN]
 *
 * MESSAGE-FILE holds one message without gRPC's prefix; CALLS are under way on each connection. Prints one line of JSON. A call
 * counts as answered where its grpc-status is 0 and a message came. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX (16u << 20)
#define LATENCIES_MAX (1u << 22)
#define CONNECTIONS_MAX 256
#define WINDOW (16 << 20)

struct call {
	uint64_t began_ns;
	size_t sent, came;
	bool good;
};

struct connection {
	int fd;
	nghttp2_session *session;
	char *unsent; /* of the last mem_send that the socket did not take whole */
	size_t unsent_len;
};

static const char *path, *token;
static char authority[32], bearer[256], *message; /* with its prefix */
static size_t message_len;
static uint64_t until_ns, answered, failed, *latencies;
static char why[256];

static void die(const char *what)
{
	fprintf(stderr, "grpc_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_message(const char *file_name)
{
	FILE *file = fopen(file_name, "rb");
	message = malloc(MESSAGE_MAX + 5);
	if (!file || !message)
		die(file_name);
	size_t len = fread(message + 5, 1, MESSAGE_MAX, file);
	fclose(file);
	message[0] = 0;
	for (int i = 0; i < 4; i++)
		message[1 + i] = (char)(len >> (24 - 8 * i));
	message_len = len + 5;
}

/* --- one call --- */

static ssize_t on_read(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
		       nghttp2_data_source *source, void *user_data)
{
	struct call *call = source->ptr;
	size_t len = message_len - call->sent < room ? message_len - call->sent : room;
	memcpy(to, message + call->sent, len);
	call->sent += len;
	if (call->sent == message_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static void begin(nghttp2_session *session)
{
	struct call *call = calloc(1, sizeof(*call));
	const nghttp2_nv headers[] = { header(":method", "POST"),	 header(":scheme", "http"),
				       header(":path", path),		 header(":authority", authority),
				       header("te", "trailers"),	 header("content-type", "application/grpc"),
				       header("authorization", bearer) };
	nghttp2_data_provider provider = { .source.ptr = call, .read_callback = on_read };
	if (!call)
		die("memory");
	call->began_ns = now_ns();
	if (nghttp2_submit_request(session, NULL, headers, token ? 7 : 6, &provider, call) < 0)
		die("no more calls on this connection");
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
		call->good = value_len == 1 && *value == '0';
	if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0)
		snprintf(why, sizeof(why), "%.*s", (int)value_len, value);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *user_data)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, stream);
	call->came += len;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user_data)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, stream);
	uint64_t now = now_ns();
	if (call->good && call->came > 5) {
		if (answered < LATENCIES_MAX)
			latencies[answered] = now - call->began_ns;
		answered++;
	} else {
		failed++;
	}
	free(call);
	if (now < until_ns)
		begin(session);
	return 0;
}

/* --- connections --- */

static void open_connection(struct connection *connection, int port, const nghttp2_session_callbacks *callbacks)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	nghttp2_settings_entry window = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW };
	int one = 1;
	connection->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		die("connect");
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(connection->fd, F_SETFL, O_NONBLOCK);
	nghttp2_session_client_new(&connection->session, callbacks, connection);
	nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &window, 1);
	nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
}

/* Everything that the session has to say, in one write where the socket takes it. */
static void send_all(struct connection *connection)
{
	static char out[4u << 20];
	size_t len = connection->unsent_len;
	memcpy(out, connection->unsent, len);
	while (len < sizeof(out) - (64u << 10)) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(connection->session, &data);
		if (n < 0)
			die("nghttp2");
		if (n == 0)
			break;
		memcpy(out + len, data, (size_t)n);
		len += (size_t)n;
	}
	ssize_t sent = len ? send(connection->fd, out, len, MSG_NOSIGNAL) : 0;
	if (sent < 0 && errno != EAGAIN)
		die("send");
	connection->unsent_len = len - (size_t)(sent > 0 ? sent : 0);
	connection->unsent = realloc(connection->unsent, connection->unsent_len + 1);
	memcpy(connection->unsent, out + len - connection->unsent_len, connection->unsent_len);
}

static void receive(struct connection *connection)
{
	static uint8_t in[256u << 10];
	ssize_t len = recv(connection->fd, in, sizeof(in), 0);
	if (len == 0 || (len < 0 && errno != EAGAIN))
		die("the server ended the connection");
	if (len > 0 && nghttp2_session_mem_recv(connection->session, in, (size_t)len) < 0)
		die("nghttp2");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static struct connection connections[CONNECTIONS_MAX];
	static struct pollfd fds[CONNECTIONS_MAX];
	nghttp2_session_callbacks *callbacks;
	if (argc < 7 || atoi(argv[4]) < 1 || atoi(argv[4]) > CONNECTIONS_MAX) {
		fprintf(stderr, "grpc_load PORT PATH MESSAGE-FILE CONNECTIONS CALLS SECONDS [TOKEN]\n");
		return 2;
	}
	int port = atoi(argv[1]), count = atoi(argv[4]), calls = atoi(argv[5]);
	path = argv[2];
	token = argc > 7 && *argv[7] ? argv[7] : NULL;
	snprintf(authority, sizeof(authority), "127.0.0.1:%d", port);
	snprintf(bearer, sizeof(bearer), "Bearer %s", token ? token : "");
	read_message(argv[3]);
	latencies = malloc(LATENCIES_MAX * sizeof(*latencies));
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	uint64_t began_ns = now_ns();
	until_ns = began_ns + (uint64_t)(atof(argv[6]) * 1e9);
	for (int i = 0; i < count; i++) {
		open_connection(&connections[i], port, callbacks);
		for (int k = 0; k < calls; k++)
			begin(connections[i].session);
		send_all(&connections[i]);
	}
	while (now_ns() < until_ns) {
		for (int i = 0; i < count; i++)
			fds[i] = (struct pollfd){ connections[i].fd, (short)(POLLIN | (connections[i].unsent_len ? POLLOUT : 0)), 0 };
		if (poll(fds, (nfds_t)count, 100) < 0)
			die("poll");
		for (int i = 0; i < count; i++) {
			if (!fds[i].revents)
				continue;
			if (fds[i].revents & POLLIN)
				receive(&connections[i]);
			send_all(&connections[i]);
		}
	}
	double seconds = (double)(now_ns() - began_ns) / 1e9;
	size_t kept = answered < LATENCIES_MAX ? answered : LATENCIES_MAX;
	qsort(latencies, kept, sizeof(*latencies), compare);
	printf("{\"requests\": %llu, \"failed\": %llu, \"why\": \"%s\", \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       (unsigned long long)(answered + failed), (unsigned long long)failed, why, seconds,
	       kept ? (double)latencies[kept / 2] / 1e3 : 0, kept ? (double)latencies[kept * 99 / 100] / 1e3 : 0);
	return 0;
}
