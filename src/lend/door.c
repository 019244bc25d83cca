#include "lend/door.h"

#include "base/alloc.h"
#include "base/log.h"
#include "lend/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

static void on_connection(void *context, unsigned int events)
{
	struct lend_door *door = context;
	for (;;) {
		int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return; /* none is left, or it has gone already */
		lend_client_begin(door, fd);
	}
}

static enum err_code read_mode(const struct settings *settings, mode_t *ret, struct err *err)
{
	const char *text = settings_string(settings, SETTING_LOCAL_MODE);
	char *end;
	unsigned long mode = strtoul(text, &end, 8);
	if (!*text || *end || mode > 0777)
		return err_set(err, ERR_INVALID_ARGUMENT, "local.mode is '%s', but must be permission bits in octal, as 600 or 660",
			       text);
	*ret = (mode_t)mode;
	return ERR_OK;
}

static enum err_code listen_at(struct lend_door *door, mode_t mode, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat there;
	if (!str_copy(address.sun_path, sizeof(address.sun_path), door->path)) {
		err_set(err, ERR_INVALID_ARGUMENT, "local: '%s' is longer than the %zu bytes that a socket's path may have", door->path,
			sizeof(address.sun_path) - 1);
		return err_advise(err, "name a shorter one with --local PATH, or none with --local off");
	}
	if (lstat(door->path, &there) == 0 && S_ISSOCK(there.st_mode))
		unlink(door->path); /* of a hub that was killed: the data folder's lock says that there is none now */
	door->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (door->fd < 0)
		return err_errno(err, errno, "local: socket");
	mode_t before = umask(0177);
	int failed = bind(door->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ? errno : 0;
	umask(before);
	if (failed || chmod(door->path, mode) != 0 || listen(door->fd, BACKLOG) != 0)
		return err_errno(err, failed ? failed : errno, "local: cannot listen on '%s'", door->path);
	return watch_create(door->parts.loop, door->fd, on_connection, door, &door->watch, err);
}

enum err_code lend_door_open(const struct lend_parts *parts, struct lend_door **ret, struct err *err)
{
	const char *path = settings_string(parts->settings, SETTING_LOCAL);
	mode_t mode = 0;
	*ret = NULL;
	if (strcmp(path, "off") == 0)
		return ERR_OK;
	enum err_code code = read_mode(parts->settings, &mode, err);
	if (code != ERR_OK)
		return code;
	struct lend_door *door = NEW(struct lend_door);
	door->parts = *parts;
	door->fd = -1;
	door->path = *path ? xstrdup(path) : xasprintf("%s/local.sock", parts->data);
	code = listen_at(door, mode, err);
	if (code != ERR_OK) {
		lend_door_close(door);
		return code;
	}
	watch_set(door->watch, WATCH_READ);
	*ret = door;
	return ERR_OK;
}

const char *lend_door_path(const struct lend_door *door)
{
	return door ? door->path : NULL;
}

void lend_door_close(struct lend_door *door)
{
	if (!door)
		return;
	while (door->clients)
		lend_client_end(door->clients);
	watch_close(door->watch);
	if (door->fd >= 0) {
		close(door->fd);
		unlink(door->path);
	}
	free(door->path);
	free(door);
}
