#include "io/zsocket.h"

#include "base/alloc.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <zmq.h>

#define DRAIN_MESSAGES 32 /* that are taken in one turn of the loop */
#define DRAIN_BYTES (512u << 10)
#define BACKLOG_MESSAGES 256 /* that libzmq keeps of one peer before it stops reading from it */
#define PEER_ID_BYTES 5	     /* of those that libzmq gives: a zero and a number */
#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define MONITOR_ENDPOINT "inproc://state"
#define ZAP_PARTS_MAX 8
#define ZAP_PART_BYTES 256
#define KEY_BYTES 32

/* One socket of libzmq with its descriptor in the loop. */
struct port {
	struct zsocket *owner;
	void *socket;
	struct watch *watch;
	void (*take)(struct zsocket *zsocket); /* reads until there is nothing, or enough for this turn */
};

struct zsocket {
	struct loop *loop;
	struct zsocket_events events;
	void *context; /* libzmq's */
	struct port port, zap, monitor;
	struct hook *hook;
	bool listens;
	bool touched; /* since the hook has looked last */
	bool ended;	    /* on_state has told the end */
	char address[80];
};

/* --- keys --- */

void zkey_make(struct zkey *ret)
{
	if (zmq_curve_keypair(ret->public, ret->secret) != 0)
		abort(); /* libzmq was built without CURVE: nothing here can work */
}

bool zkey_is_key(const char *text)
{
	uint8_t bytes[KEY_BYTES];
	return strlen(text) == ZKEY_TEXT && zmq_z85_decode(bytes, text) != NULL;
}

enum err_code zkey_of_secret(const char *secret, struct zkey *ret, struct err *err)
{
	struct zkey key;
	if (!zkey_is_key(secret) || zmq_curve_public(key.public, secret) != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "the secret key is no CURVE key of %d characters", ZKEY_TEXT);
	str_copy(key.secret, sizeof(key.secret), secret);
	*ret = key;
	return ERR_OK;
}

/* --- receiving --- */

static bool is_readable(void *socket)
{
	int events = 0;
	size_t len = sizeof(events);
	return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len) == 0 && events & ZMQ_POLLIN;
}

static bool receive(void *socket, zmq_msg_t *message)
{
	int rc;
	do
		rc = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
	while (rc < 0 && errno == EINTR);
	return rc >= 0;
}

/* The rest of a message that is not of our form. */
static void skip_parts(void *socket, zmq_msg_t *message)
{
	while (zmq_msg_more(message) && receive(socket, message))
		;
}

/* The number of the connection that a message came from; false: a peer that names its connection itself. */
static bool read_peer(zmq_msg_t *message, uint32_t *ret)
{
	const uint8_t *id = zmq_msg_data(message);
	if (zmq_msg_size(message) != PEER_ID_BYTES || id[0] != 0)
		return false;
	memcpy(ret, id + 1, sizeof(*ret));
	return true;
}

/* One message. Returns its length; -1: there was none. */
static ssize_t take_message(struct zsocket *zsocket, zmq_msg_t *message)
{
	uint32_t peer = 0;
	const char *name = "";
	if (!receive(zsocket->port.socket, message))
		return -1;
	if (zsocket->listens) {
		bool known = read_peer(message, &peer);
		if (!zmq_msg_more(message) || !receive(zsocket->port.socket, message))
			return 0;
		name = known ? zmq_msg_gets(message, "User-Id") : NULL;
	}
	size_t len = zmq_msg_size(message);
	if (!name || zmq_msg_more(message)) {
		skip_parts(zsocket->port.socket, message);
		return 0;
	}
	zsocket->events.on_message(zsocket->events.context, peer, name, zmq_msg_data(message), len);
	return (ssize_t)len;
}

static void take_messages(struct zsocket *zsocket)
{
	zmq_msg_t message;
	zmq_msg_init(&message);
	size_t bytes = 0;
	int count = 0;
	ssize_t len;
	while (count++ < DRAIN_MESSAGES && bytes < DRAIN_BYTES && (len = take_message(zsocket, &message)) >= 0)
		bytes += (size_t)len;
	zmq_msg_close(&message);
}

/* --- who may come in: libzmq asks over a socket inside this process (ZeroMQ RFC 27) --- */

struct zap_request {
	char parts[ZAP_PARTS_MAX][ZAP_PART_BYTES];
	size_t lens[ZAP_PARTS_MAX];
	size_t count;
};
enum zap_part { ZAP_VERSION, ZAP_ID, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_ROUTING, ZAP_MECHANISM, ZAP_CREDENTIALS };

/* false: there is none. What does not fit is cut, so that it is refused. */
static bool read_zap(void *socket, struct zap_request *ret)
{
	zmq_msg_t message;
	zmq_msg_init(&message);
	memset(ret, 0, sizeof(*ret));
	bool any = receive(socket, &message);
	for (bool more = any; more; more = zmq_msg_more(&message) && receive(socket, &message)) {
		if (ret->count == ZAP_PARTS_MAX)
			continue;
		size_t len = MIN(zmq_msg_size(&message), ZAP_PART_BYTES - 1u);
		memcpy(ret->parts[ret->count], zmq_msg_data(&message), len);
		ret->lens[ret->count++] = len;
	}
	zmq_msg_close(&message);
	return any;
}

static bool admits(struct zsocket *zsocket, const struct zap_request *request, char *ret_name)
{
	char key[ZKEY_TEXT + 1];
	return request->count == ZAP_CREDENTIALS + 1 && strcmp(request->parts[ZAP_MECHANISM], "CURVE") == 0 &&
	       request->lens[ZAP_CREDENTIALS] == KEY_BYTES &&
	       zmq_z85_encode(key, (const uint8_t *)request->parts[ZAP_CREDENTIALS], KEY_BYTES) &&
	       zsocket->events.on_admit(zsocket->events.context, key, ret_name);
}

static void take_zap(struct zsocket *zsocket)
{
	struct zap_request request;
	while (read_zap(zsocket->zap.socket, &request)) {
		char name[ZSOCKET_NAME_SIZE] = "";
		bool yes = admits(zsocket, &request, name);
		const char *const texts[] = { "1.0", NULL, yes ? "200" : "400", yes ? "OK" : "this key is not registered", name, "" };
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			const char *text = texts[i] ?: request.parts[ZAP_ID];
			size_t len = texts[i] ? strlen(text) : request.lens[ZAP_ID];
			zmq_send(zsocket->zap.socket, text, len, ZMQ_DONTWAIT | (i + 1 < ARRAY_SIZE(texts) ? ZMQ_SNDMORE : 0));
		}
	}
}

/* --- how it is with the connection that we dialled --- */

static const struct {
	uint16_t event;
	enum zsocket_state state;
} states[] = {
	{ ZMQ_EVENT_HANDSHAKE_SUCCEEDED, ZSOCKET_UP },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, ZSOCKET_REFUSED },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, ZSOCKET_REFUSED },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, ZSOCKET_DOWN },
	{ ZMQ_EVENT_DISCONNECTED, ZSOCKET_DOWN },
	{ ZMQ_EVENT_CLOSED, ZSOCKET_DOWN },
	{ ZMQ_EVENT_CONNECT_RETRIED, ZSOCKET_DOWN },
};

static void take_states(struct zsocket *zsocket)
{
	zmq_msg_t message;
	zmq_msg_init(&message);
	while (receive(zsocket->monitor.socket, &message)) {
		uint16_t event = 0;
		if (zmq_msg_size(&message) >= sizeof(event))
			memcpy(&event, zmq_msg_data(&message), sizeof(event));
		skip_parts(zsocket->monitor.socket, &message);
		for (size_t i = 0; i < ARRAY_SIZE(states) && !zsocket->ended; i++)
			if (states[i].event == event) {
				zsocket->ended = states[i].state != ZSOCKET_UP;
				zsocket->events.on_state(zsocket->events.context, states[i].state);
			}
	}
	zmq_msg_close(&message);
}

/* --- in the loop --- */

/* Before the loop waits, it is looked whether there is more: no edge may come for it. */
static void touch(struct zsocket *zsocket)
{
	zsocket->touched = true;
	hook_no_wait(zsocket->hook, true);
}

static void on_readable(void *context, unsigned int events)
{
	struct port *port = context;
	port->take(port->owner);
	touch(port->owner);
}

static bool look(struct port *port)
{
	if (!port->socket || !is_readable(port->socket))
		return false;
	port->take(port->owner);
	return is_readable(port->socket);
}

static void on_before_wait(void *context)
{
	struct zsocket *zsocket = context;
	if (!zsocket->touched)
		return;
	bool more = look(&zsocket->zap);
	more |= look(&zsocket->monitor);
	more |= look(&zsocket->port);
	zsocket->touched = more;
	hook_no_wait(zsocket->hook, more);
}

/* --- life --- */

static enum err_code zmq_error(struct err *err, const char *what, const char *address)
{
	int number = errno;
	err_set(err, number == EADDRINUSE ? ERR_UNAVAILABLE : number == EINVAL ? ERR_INVALID_ARGUMENT : ERR_INTERNAL, "%s %s: %s",
		what, address, zmq_strerror(number));
	return err ? err->code : ERR_INTERNAL;
}

static enum err_code watch_port(struct zsocket *zsocket, struct port *port, void (*take)(struct zsocket *), struct err *err)
{
	int fd = -1;
	size_t len = sizeof(fd);
	port->owner = zsocket;
	port->take = take;
	if (zmq_getsockopt(port->socket, ZMQ_FD, &fd, &len) != 0)
		return zmq_error(err, "watching", zsocket->address);
	enum err_code code = watch_create(zsocket->loop, fd, on_readable, port, &port->watch, err);
	if (code == ERR_OK)
		watch_set(port->watch, WATCH_READ);
	return code;
}

static void set_int(void *socket, int option, int value)
{
	int rc = zmq_setsockopt(socket, option, &value, sizeof(value));
	assert(rc == 0);
	(void)rc;
}

static struct zsocket *create(struct loop *loop, int type, const char *address, const struct zkey *key, int64_t silence_ms,
			      const struct zsocket_events *events)
{
	struct zsocket *zsocket = NEW(struct zsocket);
	zsocket->loop = loop;
	zsocket->events = *events;
	zsocket->listens = type == ZMQ_ROUTER;
	str_copy(zsocket->address, sizeof(zsocket->address), address);
	zsocket->context = zmq_ctx_new();
	void *socket = zsocket->context ? zmq_socket(zsocket->context, type) : NULL;
	if (!socket)
		abort(); /* no thread or no descriptor: as with any small allocation */
	zsocket->port.socket = socket;
	zsocket->hook = hook_create_before_wait(loop, on_before_wait, zsocket);
	int64_t bytes = ZSOCKET_MESSAGE_BYTES;
	zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes, sizeof(bytes));
	set_int(socket, ZMQ_LINGER, 0);
	set_int(socket, ZMQ_IPV6, type == ZMQ_DEALER || address[0] == '[');
	set_int(socket, ZMQ_SNDHWM, 0); /* bounded by the caller's credit */
	set_int(socket, ZMQ_RCVHWM, BACKLOG_MESSAGES);
	set_int(socket, ZMQ_HANDSHAKE_IVL, (int)silence_ms);
	set_int(socket, ZMQ_HEARTBEAT_IVL, (int)MAX(silence_ms / 3, 1));
	set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, (int)silence_ms);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key->secret, ZKEY_TEXT + 1);
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, key->public, ZKEY_TEXT + 1);
	return zsocket;
}

enum err_code zsocket_listen(struct loop *loop, const char *address, const struct zkey *key, int64_t silence_ms,
			     const struct zsocket_events *events, struct zsocket **ret, struct err *err)
{
	struct zsocket *zsocket = create(loop, ZMQ_ROUTER, address, key, silence_ms, events);
	set_int(zsocket->port.socket, ZMQ_CURVE_SERVER, 1);
	set_int(zsocket->port.socket, ZMQ_ROUTER_MANDATORY, 1);
	zmq_setsockopt(zsocket->port.socket, ZMQ_ZAP_DOMAIN, "dlhub", strlen("dlhub"));
	zsocket->zap.socket = zmq_socket(zsocket->context, ZMQ_REP);
	enum err_code code = ERR_OK;
	_cleanup_free_ char *endpoint = xasprintf("tcp://%s", address);
	if (!zsocket->zap.socket || zmq_bind(zsocket->zap.socket, ZAP_ENDPOINT) != 0)
		code = zmq_error(err, "preparing to listen on", address);
	if (code == ERR_OK)
		code = watch_port(zsocket, &zsocket->zap, take_zap, err);
	if (code == ERR_OK && zmq_bind(zsocket->port.socket, endpoint) != 0) {
		code = zmq_error(err, "cannot listen on", address);
		err_advise(err, "the setting sites is ADDR:PORT, as 0.0.0.0:8002, of a port that no other program has");
	}
	if (code == ERR_OK)
		code = watch_port(zsocket, &zsocket->port, take_messages, err);
	if (code != ERR_OK) {
		zsocket_close(zsocket);
		return code;
	}
	char bound[128];
	size_t len = sizeof(bound);
	if (zmq_getsockopt(zsocket->port.socket, ZMQ_LAST_ENDPOINT, bound, &len) == 0 && str_starts(bound, "tcp://"))
		str_copy(zsocket->address, sizeof(zsocket->address), bound + strlen("tcp://"));
	touch(zsocket);
	*ret = zsocket;
	return ERR_OK;
}

enum err_code zsocket_dial(struct loop *loop, const char *address, const char *listener_key, const struct zkey *key,
			   int64_t silence_ms, const struct zsocket_events *events, struct zsocket **ret, struct err *err)
{
	struct zsocket *zsocket = create(loop, ZMQ_DEALER, address, key, silence_ms, events);
	void *socket = zsocket->port.socket;
	_cleanup_free_ char *endpoint = xasprintf("tcp://%s", address);
	set_int(socket, ZMQ_RECONNECT_IVL, -1);
	set_int(socket, ZMQ_CONNECT_TIMEOUT, (int)silence_ms);
	set_int(socket, ZMQ_IMMEDIATE, 1); /* nothing is kept for a connection that is not there */
	enum err_code code = zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, listener_key, ZKEY_TEXT + 1) == 0 ?
				     ERR_OK :
				     err_set(err, ERR_INVALID_ARGUMENT, "'%s' is no CURVE key", listener_key);
	if (code == ERR_OK && zmq_socket_monitor(socket, MONITOR_ENDPOINT, ZMQ_EVENT_ALL) != 0)
		code = zmq_error(err, "watching", address);
	zsocket->monitor.socket = zmq_socket(zsocket->context, ZMQ_PAIR);
	if (code == ERR_OK && (!zsocket->monitor.socket || zmq_connect(zsocket->monitor.socket, MONITOR_ENDPOINT) != 0))
		code = zmq_error(err, "watching", address);
	if (code == ERR_OK)
		code = watch_port(zsocket, &zsocket->monitor, take_states, err);
	if (code == ERR_OK && zmq_connect(socket, endpoint) != 0) {
		code = zmq_error(err, "cannot dial", address);
		err_advise(err, "the address must be HOST:PORT");
	}
	if (code == ERR_OK)
		code = watch_port(zsocket, &zsocket->port, take_messages, err);
	if (code != ERR_OK) {
		zsocket_close(zsocket);
		return code;
	}
	touch(zsocket);
	*ret = zsocket;
	return ERR_OK;
}

static void close_port(struct port *port)
{
	watch_close(port->watch);
	if (!port->socket)
		return;
	set_int(port->socket, ZMQ_LINGER, 0);
	zmq_close(port->socket);
}

void zsocket_close(struct zsocket *zsocket)
{
	if (!zsocket)
		return;
	hook_close(zsocket->hook);
	zmq_socket_monitor(zsocket->port.socket, NULL, 0);
	close_port(&zsocket->port);
	close_port(&zsocket->monitor);
	close_port(&zsocket->zap);
	while (zmq_ctx_term(zsocket->context) != 0 && errno == EINTR)
		;
	free(zsocket);
}

const char *zsocket_address(const struct zsocket *zsocket)
{
	return zsocket->address;
}

/* --- sending --- */

bool zsocket_send(struct zsocket *zsocket, uint32_t peer, const struct iovec *parts, size_t count)
{
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += parts[i].iov_len;
	assert(len <= ZSOCKET_MESSAGE_BYTES);
	touch(zsocket); /* sending may swallow the edge of what has come */
	void *socket = zsocket->port.socket;
	if (zsocket->listens) {
		uint8_t id[PEER_ID_BYTES] = { 0 };
		memcpy(id + 1, &peer, sizeof(peer));
		if (zmq_send(socket, id, sizeof(id), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
			return false;
	}
	zmq_msg_t message;
	if (zmq_msg_init_size(&message, len) != 0)
		abort();
	uint8_t *at = zmq_msg_data(&message);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].iov_len)
			memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	int rc;
	do
		rc = zmq_msg_send(&message, socket, ZMQ_DONTWAIT);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		zmq_msg_close(&message);
	return rc >= 0;
}
