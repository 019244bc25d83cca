/* echo.c - a bare socket echo: reads one HTTP/1.1 request after another and sends its body back. The limit of what moving the
 * bytes costs; it parses nothing but Content-Length and keeps one buffer.
 *
 *	echo PORT
 *
 * One connection at a time. Prints "ready" when it listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define REQUEST_MAX (64u << 20)

static void die(const char *what)
{
	fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int listen_on(const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 8) != 0)
		die("listen");
	return fd;
}

/* false: the client has left. */
static int receive(int fd, char *bytes, size_t *ret_head, size_t *ret_len)
{
	size_t len = 0, whole = 0;
	while (!whole || len < whole) {
		ssize_t n = recv(fd, bytes + len, REQUEST_MAX - len, 0);
		if (n <= 0)
			return 0;
		len += (size_t)n;
		char *end = whole ? NULL : memmem(bytes, len, "\r\n\r\n", 4);
		if (!end)
			continue;
		*end = '\0';
		char *field = strcasestr(bytes, "\r\ncontent-length:");
		*ret_head = (size_t)(end + 4 - bytes);
		whole = *ret_head + (field ? strtoull(field + 17, NULL, 10) : 0);
	}
	*ret_len = whole;
	return 1;
}

static int answer(int fd, const char *body, size_t len)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	struct iovec pieces[2] = { { head, (size_t)n }, { (void *)body, len } };
	struct iovec *at = pieces;
	int left = 2;
	while (left) {
		ssize_t sent = writev(fd, at, left);
		if (sent < 0)
			return 0;
		while (left && (size_t)sent >= at->iov_len) {
			sent -= (ssize_t)at->iov_len;
			at++;
			left--;
		}
		if (left) {
			at->iov_base = (char *)at->iov_base + sent;
			at->iov_len -= (size_t)sent;
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: echo PORT\n");
		return 2;
	}
	char *bytes = malloc(REQUEST_MAX);
	int listening = listen_on(argv[1]), one = 1;
	if (!bytes)
		die("memory");
	puts("ready");
	fflush(stdout);
	for (;;) {
		size_t head = 0, len = 0;
		int fd = accept(listening, NULL, NULL);
		if (fd < 0)
			die("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (receive(fd, bytes, &head, &len) && answer(fd, bytes + head, len - head))
			;
		close(fd);
	}
}
