#include "lend/client.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "io/passed_fds.h"

#include <errno.h>
#include <unistd.h>

#define MESSAGE_MAX 4096
#define MESSAGE_DEPTH 8
#define MESSAGES_A_TURN 16 /* of one client, before others */

struct lent {
	struct lent *next;
	struct region *region; /* our reference */
};

struct lend_client {
	struct lend_client *next, *previous;
	struct lend_door *door;
	int fd;
	struct watch *watch;
	struct timer *silence;		   /* until it has said who it is */
	const struct principal *principal; /* shared (ref); NULL: it has not said who it is */
	bool asking;			   /* its token is being looked up */
	struct lent *lent;
	int64_t region_count, bytes;
};

/* What it still says is dropped first: closing over it would take from the client the answer that it has not read yet. */
static void hang_up(int fd)
{
	char dropped[MESSAGE_MAX];
	shutdown(fd, SHUT_RD); /* from now on nothing more comes */
	while (recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT) > 0)
		continue;
	close(fd);
}

void lend_client_end(struct lend_client *client)
{
	struct lend_door *door = client->door;
	*(client->previous ? &client->previous->next : &door->clients) = client->next;
	if (client->next)
		client->next->previous = client->previous;
	door->client_count--;
	while (client->lent) {
		struct lent *lent = client->lent;
		client->lent = lent->next;
		regions_remove(door->parts.regions, lent->region);
		free(lent);
	}
	timer_close(client->silence);
	watch_close(client->watch);
	hang_up(client->fd);
	principal_unref(client->principal);
	free(client);
}

/* --- what the client is told --- */

/* One message, maybe with a descriptor. false: it does not read, or is gone. */
static bool send_message(struct lend_client *client, json_t *message, int fd)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
	struct iovec piece = { text, strlen(text) };
	union pass_fd_room room;
	struct msghdr header = { .msg_iov = &piece, .msg_iovlen = 1 };
	if (fd >= 0)
		pass_fd(&header, &room, fd);
	json_decref(message);
	return sendmsg(client->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static bool send_error(struct lend_client *client, const struct err *err)
{
	return send_message(client,
			    json_pack("{s:s, s:s, s:s*}", "error", err_text(err), "code", err_code_name(err->code), "hint",
				      err_hint(err)),
			    -1);
}

static bool send_who(struct lend_client *client)
{
	return send_message(client, json_pack("{s:s?}", "user", client->principal->user), -1);
}

/* --- what it asks --- */

/* It said whose token it has; a wrong one is its last word. */
static bool take_principal(struct lend_client *client, const struct err *err)
{
	if (client->principal)
		return send_who(client);
	(void)send_error(client, err);
	return false;
}

static void on_principal(void *context, const struct principal *principal, const struct err *err)
{
	struct lend_client *client = context;
	client->asking = false;
	client->principal = principal ? principal_ref(principal) : NULL;
	if (!take_principal(client, err))
		lend_client_end(client);
	else
		watch_set(client->watch, WATCH_READ);
}

static bool greet(struct lend_client *client, const json_t *message)
{
	struct err err = ERR_INIT;
	const char *token = json_path_string(message, "token") ?: "";
	timer_stop(client->silence);
	if (lookup_principal(client->door->parts.lookup, str_of(token), &client->principal, on_principal, client, &err) ==
	    LOOKUP_WAITS) {
		client->asking = true;
		watch_set(client->watch, 0);
		return true;
	}
	bool stays = take_principal(client, &err);
	err_done(&err);
	return stays;
}

static enum err_code check_limits(const struct lend_client *client, json_int_t bytes, struct err *err)
{
	const struct settings *settings = client->door->parts.settings;
	int64_t most = settings_int(settings, SETTING_LIMITS_LOCAL_CLIENT_BYTES),
		regions = settings_int(settings, SETTING_LIMITS_LOCAL_REGIONS);
	if (bytes <= 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "lend must be a number of bytes of at least 1");
	if (client->region_count >= regions)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "one client has at most %lld regions (limits.local_regions)",
			       (long long)regions);
	if (bytes > most - client->bytes)
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "%lld bytes beside the %lld that this client has: at most %lld (limits.local_client_bytes)",
			       (long long)bytes, (long long)client->bytes, (long long)most);
	return ERR_OK;
}

static bool lend(struct lend_client *client, const json_t *wanted)
{
	struct err err = ERR_INIT;
	struct region *region;
	json_int_t bytes = json_is_integer(wanted) ? json_integer_value(wanted) : 0;
	int fd = -1;
	bool stays;
	enum err_code code = check_limits(client, bytes, &err);
	if (code == ERR_OK)
		code = regions_add(client->door->parts.regions, client->principal, (uint64_t)bytes, &region, &fd, &err);
	if (code == ERR_OK) {
		struct lent *lent = NEW(struct lent);
		*lent = (struct lent){ .next = client->lent, .region = region };
		client->lent = lent;
		client->region_count++;
		client->bytes += bytes;
		stays = send_message(client, json_pack("{s:s, s:I}", "region", region->name, "bytes", bytes), fd);
		close(fd);
	} else {
		stays = send_error(client, &err);
	}
	err_done(&err);
	return stays;
}

static bool release(struct lend_client *client, const char *name)
{
	for (struct lent **at = &client->lent; *at; at = &(*at)->next) {
		struct lent *lent = *at;
		if (strcmp(lent->region->name, name) != 0)
			continue;
		*at = lent->next;
		client->region_count--;
		client->bytes -= (int64_t)lent->region->size;
		regions_remove(client->door->parts.regions, lent->region);
		free(lent);
		return send_message(client, json_pack("{s:s}", "released", name), -1);
	}
	struct err err = ERR_INIT;
	err_set(&err, ERR_NOT_FOUND, "this client has no region '%.80s'", name);
	bool stays = send_error(client, &err);
	err_done(&err);
	return stays;
}

static bool answer(struct lend_client *client, const json_t *message)
{
	const json_t *wanted = json_object_get(message, "lend");
	const char *name = json_path_string(message, "release");
	if (!client->principal)
		return greet(client, message);
	if (wanted)
		return lend(client, wanted);
	if (name)
		return release(client, name);
	struct err err = ERR_INIT;
	err_set(&err, ERR_INVALID_ARGUMENT, "expected {\"lend\": BYTES} or {\"release\": REGION}");
	bool stays = send_error(client, &err);
	err_done(&err);
	return stays;
}

/* 1: goes on; 0: nothing more has come; -1: it ends. */
static int take_message(struct lend_client *client)
{
	char text[MESSAGE_MAX + 1];
	ssize_t len = recv(client->fd, text, sizeof(text), MSG_DONTWAIT);
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (len == 0)
		return -1;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *message = NULL;
	enum err_code code = len > MESSAGE_MAX ? err_set(&err, ERR_OUT_OF_RANGE, "a message has at most %d bytes", MESSAGE_MAX) :
						 json_read(text, (size_t)len, MESSAGE_DEPTH, "message", &message, &err);
	if (code == ERR_OK && !json_is_object(message))
		code = err_set(&err, ERR_INVALID_ARGUMENT, "a message must be a JSON object");
	bool stays = code == ERR_OK ? answer(client, message) : send_error(client, &err);
	err_done(&err);
	return stays ? 1 : -1;
}

static void on_readable(void *context, unsigned int events)
{
	struct lend_client *client = context;
	int went = 1;
	for (int i = 0; went > 0 && i < MESSAGES_A_TURN && !client->asking; i++)
		went = take_message(client);
	if (went < 0)
		lend_client_end(client);
}

/* --- begin --- */

static void on_silence(void *context)
{
	lend_client_end(context);
}

static void refuse(struct lend_client *client, int64_t most)
{
	struct err err = ERR_INIT;
	err_set(&err, ERR_RESOURCE_EXHAUSTED, "the local socket has its %lld clients (limits.local_clients)", (long long)most);
	(void)send_error(client, &err);
	err_done(&err);
	lend_client_end(client);
}

void lend_client_begin(struct lend_door *door, int fd)
{
	const struct settings *settings = door->parts.settings;
	struct lend_client *client = NEW(struct lend_client);
	*client = (struct lend_client){ .door = door, .fd = fd, .next = door->clients };
	if (client->next)
		client->next->previous = client;
	door->clients = client;
	door->client_count++;
	int64_t most = settings_int(settings, SETTING_LIMITS_LOCAL_CLIENTS);
	if (door->client_count > (size_t)most) {
		refuse(client, most);
		return;
	}
	struct err err = ERR_INIT;
	if (watch_create(door->parts.loop, fd, on_readable, client, &client->watch, &err) != ERR_OK) {
		(void)send_error(client, &err);
		err_done(&err);
		lend_client_end(client);
		return;
	}
	client->silence = timer_create_on(door->parts.loop, on_silence, client);
	timer_start(client->silence, settings_int(settings, SETTING_LIMITS_IDLE_S) * 1000, 0);
	watch_set(client->watch, WATCH_READ);
}
