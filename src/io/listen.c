#include "io/listen.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static enum err_code parse_address(const char *setting, const char *text, union address *ret, socklen_t *ret_len, struct err *err)
{
	const char *colon = strrchr(text, ':');
	int64_t port;
	if (!colon || !str_parse_i64(colon + 1, 0, 65535, &port))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is '%s', but must be ADDR:PORT, as 127.0.0.1:8000", setting, text);
	char host[64];
	size_t len = (size_t)(colon - text);
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
	snprintf(host, sizeof(host), "%.*s", (int)(brackets ? len - 2 : len), brackets ? text + 1 : text);
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons((uint16_t)port);
		*ret_len = sizeof(ret->v4);
	} else if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(ret->v6);
	} else {
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: '%s' is no IP address (0.0.0.0 is all, 127.0.0.1 this machine)",
			       setting, host);
	}
	return ERR_OK;
}

static void format_address(int fd, char *text)
{
	union address address = { 0 };
	socklen_t len = sizeof(address);
	char host[INET6_ADDRSTRLEN];
	getsockname(fd, &address.any, &len);
	if (address.any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
		snprintf(text, LISTEN_ADDRESS_SIZE, "%s:%d", host, ntohs(address.v4.sin_port));
	} else {
		inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
		snprintf(text, LISTEN_ADDRESS_SIZE, "[%s]:%d", host, ntohs(address.v6.sin6_port));
	}
}

enum err_code listen_open(const char *setting, const char *text, int *ret_fd, char *ret_address, struct err *err)
{
	union address address;
	socklen_t len = 0;
	enum err_code code = parse_address(setting, text, &address, &len, err);
	if (code != ERR_OK)
		return code;
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	if (fd < 0)
		return err_errno(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &address.any, len) != 0 || listen(fd, BACKLOG) != 0) {
		int number = errno;
		close(fd);
		code = err_errno(err, number, "cannot listen on %s", text);
		if (number == EADDRINUSE)
			err_advise(err, "another program has that port: stop it, or choose another with --%s ADDR:PORT", setting);
		return code;
	}
	format_address(fd, ret_address);
	*ret_fd = fd;
	return ERR_OK;
}
