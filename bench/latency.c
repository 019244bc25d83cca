/* latency.c - one keep-alive connection, one request at a time, each latency kept: what wrk's histogram is too coarse for.
 *
 *	latency ADDRESS PORT REQUEST-FILE COUNT WARM-UP [LATENCIES]
 *
 * REQUEST-FILE holds the bytes of one HTTP/1.1 request. Prints one line of JSON; LATENCIES gets each call's microseconds, a
 * line each, rising. Any answer but 200 ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX (64u << 20)
#define ANSWER_MAX (64u << 20)

static void die(const char *what)
{
	fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static char *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	char *bytes = malloc(REQUEST_MAX);
	if (!file || !bytes)
		die(path);
	*ret_len = fread(bytes, 1, REQUEST_MAX, file);
	fclose(file);
	return bytes;
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die(address);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0)
			die("send");
		bytes += n;
		len -= (size_t)n;
	}
}

/* The whole length of the answer whose head lies in `bytes`, or 0 while the head is not complete. */
static size_t answer_len(char *bytes, size_t len)
{
	char *end = memmem(bytes, len, "\r\n\r\n", 4);
	if (!end)
		return 0;
	if (len < 12 || memcmp(bytes + 9, "200", 3)) {
		fprintf(stderr, "latency: the answer was\n%.*s\n", (int)len, bytes);
		exit(1);
	}
	*end = '\0';
	char *field = strcasestr(bytes, "\r\ncontent-length:");
	size_t body = field ? strtoull(field + 17, NULL, 10) : 0;
	*end = '\r';
	return (size_t)(end + 4 - bytes) + body;
}

static void receive(int fd, char *bytes)
{
	size_t len = 0, whole = 0;
	while (!whole || len < whole) {
		ssize_t n = recv(fd, bytes + len, ANSWER_MAX - len, 0);
		if (n <= 0)
			die(n ? "recv" : "the server closed the connection");
		len += (size_t)n;
		if (!whole)
			whole = answer_len(bytes, len);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void write_all(const char *path, const uint64_t *took, size_t count)
{
	FILE *file = fopen(path, "w");
	if (!file)
		die(path);
	for (size_t i = 0; i < count; i++)
		fprintf(file, "%.2f\n", (double)took[i] / 1e3);
	if (fclose(file) != 0)
		die(path);
}

int main(int argc, char **argv)
{
	if (argc != 6 && argc != 7) {
		fprintf(stderr, "usage: latency ADDRESS PORT REQUEST-FILE COUNT WARM-UP [LATENCIES]\n");
		return 2;
	}
	size_t len, count = strtoull(argv[4], NULL, 10), warm_up = strtoull(argv[5], NULL, 10);
	char *request = read_file(argv[3], &len), *answer = malloc(ANSWER_MAX);
	uint64_t *took = calloc(count ? count : 1, sizeof(*took)), sum = 0;
	if (!answer || !took || !count)
		die("memory");
	int fd = connect_to(argv[1], argv[2]);
	for (size_t i = 0; i < warm_up + count; i++) {
		uint64_t start = now_ns();
		send_all(fd, request, len);
		receive(fd, answer);
		if (i >= warm_up)
			sum += took[i - warm_up] = now_ns() - start;
	}
	close(fd);
	qsort(took, count, sizeof(*took), compare);
	if (argc == 7)
		write_all(argv[6], took, count);
	printf("{\"requests\": %zu, \"p50_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, \"mean_us\": %.2f}\n", count,
	       (double)took[count / 2] / 1e3, (double)took[count * 9 / 10] / 1e3, (double)took[count * 99 / 100] / 1e3,
	       (double)sum / (double)count / 1e3);
	return 0;
}
