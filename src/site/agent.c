#include "site/agent_internal.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "io/fs.h"
#include "site/hardware.h"

#define SILENCE_MS 5000 /* until the hub has said its own */
#define BACKOFF_LEAST_MS 100
#define BACKOFF_MOST_MS 5000
#define TICKS 4 /* in the time after which silence counts */
#define FILE_BYTES 16384
#define NS_PER_MS 1000000

/* --- the file --- */

static enum err_code take_file(const json_t *json, struct site_file *ret, struct err *err)
{
	const char *secret = json_path_string(json, "secret_key") ?: "", *hub_key = json_path_string(json, "hub_key") ?: "";
	bool fits = str_copy(ret->name, sizeof(ret->name), json_path_string(json, "name") ?: "") &&
		    str_copy(ret->hub, sizeof(ret->hub), json_path_string(json, "hub") ?: "") &&
		    str_copy(ret->hub_key, sizeof(ret->hub_key), hub_key);
	enum err_code code = zkey_of_secret(secret, &ret->key, err);
	if (code == ERR_OK && (!fits || !*ret->name || !strchr(ret->hub, ':') || !zkey_is_key(hub_key)))
		code = err_set(err, ERR_INVALID_ARGUMENT, "\"name\", \"hub\" (HOST:PORT) or \"hub_key\" is missing or wrong");
	return code;
}

enum err_code site_file_read(const char *path, struct site_file *ret, struct err *err)
{
	struct buf text;
	_cleanup_json_ json_t *json = NULL;
	buf_init(&text, FILE_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ? text.data : "", text.len, 4, path, &json, err);
	if (code == ERR_OK)
		code = take_file(json, ret, err);
	buf_done(&text);
	if (code != ERR_OK) {
		err_wrap(err, "reading the site's file %s", path);
		err_advise(err, "an administrator of the hub makes it: dlhub site add NAME");
	}
	return code;
}

/* --- notes --- */

void agent_note(struct agent *agent, enum site_note type, uint32_t worker, uint64_t id, const char *text)
{
	struct site_header header = { .length = text ? strlen(text) : 0, .id = id, .worker = worker, .type = (uint16_t)type };
	if (agent->link && link_send(agent->link, &header, text, NULL) != ERR_OK)
		agent->closing = true; /* the hub does not read: the next tick dials anew, and says it again */
}

static bool link_out(void *context, const struct iovec *parts, size_t count)
{
	struct agent *agent = context;
	return zsocket_send(agent->zsocket, 0, parts, count);
}

static enum err_code on_welcome(struct agent *agent, struct str text, struct err *err)
{
	struct site_welcome welcome;
	char number[24];
	enum err_code code = welcome_parse(text, &welcome, err);
	if (code != ERR_OK)
		return code;
	snprintf(number, sizeof(number), "%lld", (long long)welcome.output_bytes);
	code = settings_set(agent->options.settings, "limits.output_bytes", number, "the hub", err);
	if (code != ERR_OK)
		return code;
	agent->silence_ns = welcome.silence_ms * NS_PER_MS;
	agent->grace_ns = welcome.grace_ms * NS_PER_MS;
	agent->body_bytes = welcome.body_bytes;
	agent->welcome = true;
	agent->was_refused = false;
	agent->backoff_ms = BACKOFF_LEAST_MS;
	agent->lost_ns = 0;
	log_info("connected to the hub at %s as site %s", agent->options.file->hub, agent->options.file->name);
	timer_start(agent->tick, welcome.silence_ms / TICKS, welcome.silence_ms / TICKS);
	if (agent->draining)
		agent_note(agent, SITE_LEAVE, 0, 0, NULL);
	agent_tell_again(agent);
	return ERR_OK;
}

static void on_refuse(struct agent *agent, struct str text)
{
	struct err why = ERR_INIT;
	_cleanup_json_ json_t *json = NULL;
	if (error_parse(text, &json, &why, NULL) == ERR_OK && !agent->was_refused)
		log_error("the hub does not take this site: %s%s%s", err_text(&why), err_hint(&why) ? "; what to do: " : "",
			  err_hint(&why) ?: "");
	agent->was_refused = true;
	agent->closing = true;
	err_done(&why);
}

static enum err_code on_note(void *context, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct agent *agent = context;
	struct str text = { (const char *)body, header->length };
	if (header->type == SITE_REFUSE) {
		on_refuse(agent, text);
		return ERR_OK;
	}
	if (header->type == SITE_WELCOME)
		return on_welcome(agent, text, err);
	if (!agent->welcome)
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: no WELCOME came first");
	return agent_on_note(agent, header, body, err);
}

/* --- the connection --- */

static void hang_up(struct agent *agent)
{
	if (agent->welcome)
		agent->lost_ns = loop_now_ns(agent->options.loop);
	link_destroy(agent->link);
	agent->link = NULL;
	zsocket_close(agent->zsocket);
	agent->zsocket = NULL;
	agent->up = agent->welcome = agent->closing = false;
}

static void redial_later(struct agent *agent)
{
	hang_up(agent);
	timer_start(agent->dial, agent->backoff_ms, 0);
	agent->backoff_ms = MIN(agent->backoff_ms * 2, BACKOFF_MOST_MS);
}

static void say_hello(struct agent *agent)
{
	struct site_hello hello = { .version_least = SITE_VERSION_LEAST,
				    .version_newest = SITE_VERSION_NEWEST,
				    .hardware = agent->hardware,
				    .workers = agent_held(agent) };
	str_copy(hello.instance, sizeof(hello.instance), agent->instance);
	_cleanup_free_ char *text = hello_format(&hello);
	hello_done(&hello);
	struct site_header header = { .length = strlen(text), .type = SITE_HELLO };
	struct iovec parts[] = { { &header, sizeof(header) }, { text, strlen(text) } };
	const struct link_options options = { .loop = agent->options.loop,
					      .most_bytes = (size_t)1 << 40, /* the hub has its own limits.body_bytes */
					      .send = link_out,
					      .on_note = on_note,
					      .context = agent };
	agent->closing |= !zsocket_send(agent->zsocket, 0, parts, ARRAY_SIZE(parts));
	agent->link = link_create(&options);
}

static void on_message(void *context, uint32_t peer, const char *name, const uint8_t *data, size_t len)
{
	struct agent *agent = context;
	struct err err = ERR_INIT;
	if (!agent->closing && agent->link && link_receive(agent->link, data, len, &err) != ERR_OK) {
		log_error("the hub: %s; dialling anew", err_text(&err));
		agent->closing = true;
	}
	if (agent->closing)
		timer_start(agent->dial, 0, 0);
	err_done(&err);
}

static void on_state(void *context, enum zsocket_state state)
{
	struct agent *agent = context;
	const struct site_file *file = agent->options.file;
	if (state == ZSOCKET_UP) {
		agent->up = true;
		say_hello(agent);
		return;
	}
	if (agent->welcome)
		log_warning("the connection to the hub is lost; what runs goes on, and the hub is dialled again");
	else if (!agent->was_refused && state == ZSOCKET_REFUSED)
		log_error("the hub at %s does not know this site's key: was site %s removed there? It is tried again", file->hub,
			  file->name);
	else if (!agent->was_refused)
		log_warning("the hub at %s cannot be reached, or is not the one that this site's file names; it is tried again",
			    file->hub);
	agent->was_refused |= !agent->welcome;
	agent->closing = true;
	timer_start(agent->dial, 0, 0);
}

static void on_dial(void *context)
{
	struct agent *agent = context;
	if (agent->zsocket) { /* of which we know that it is over */
		redial_later(agent);
		return;
	}
	const struct site_file *file = agent->options.file;
	const struct zsocket_events events = { .on_message = on_message, .on_state = on_state, .context = agent };
	struct err err = ERR_INIT;
	agent->dialled_ns = loop_now_ns(agent->options.loop);
	if (zsocket_dial(agent->options.loop, file->hub, file->hub_key, &file->key, agent->silence_ns / NS_PER_MS, &events,
			 &agent->zsocket, &err) != ERR_OK) {
		log_error("dialling the hub: %s", err_text(&err));
		redial_later(agent);
	}
	err_done(&err);
}

static void on_tick(void *context)
{
	struct agent *agent = context;
	int64_t now = loop_now_ns(agent->options.loop);
	if (agent->lost_ns && now - agent->lost_ns > agent->grace_ns + agent->silence_ns) {
		log_warning("the hub was out of reach for too long: workers and runs are given up");
		agent->lost_ns = 0;
		agent_give_up(agent);
	}
	if (!agent->zsocket)
		return;
	int64_t heard = agent->link ? link_heard_ns(agent->link) : agent->dialled_ns;
	if (agent->closing || now - heard > agent->silence_ns || (agent->link && link_is_gone(agent->link))) {
		if (agent->welcome)
			log_warning("the hub is silent; it is dialled again");
		redial_later(agent);
	} else if (agent->link) {
		link_ping(agent->link);
	}
}

/* --- life --- */

void agent_look_whether_drained(struct agent *agent)
{
	if (agent->draining && !agent->workers)
		timer_start(agent->drain, 0, 0);
}

static void on_drain_timer(void *context)
{
	struct agent *agent = context;
	agent->options.on_drained(agent->options.context);
}

void agent_drain(struct agent *agent, int64_t timeout_ms)
{
	agent->draining = true;
	timer_start(agent->drain, agent->welcome ? timeout_ms : 0, 0);
	agent_note(agent, SITE_LEAVE, 0, 0, NULL);
	agent_look_whether_drained(agent);
}

static void store_fetch(void *context, uint32_t worker, const struct digest *digest, uint64_t offset)
{
	struct agent *agent = context;
	struct site_header header = { .length = sizeof(digest->bytes), .id = offset, .worker = worker, .type = SITE_FETCH };
	if (agent->link && agent->welcome && link_send(agent->link, &header, digest->bytes, NULL) != ERR_OK)
		agent->closing = true;
}

enum err_code agent_create(const struct agent_options *options, struct agent **ret, struct err *err)
{
	struct agent *agent = NEW(struct agent);
	agent->options = *options;
	agent->silence_ns = (int64_t)SILENCE_MS * NS_PER_MS;
	agent->backoff_ms = BACKOFF_LEAST_MS;
	_cleanup_free_ char *instance = random_hex(16);
	str_copy(agent->instance, sizeof(agent->instance), instance);
	hardware_detect(options->settings, options->programs, &agent->hardware);
	const struct store_options store = { .loop = options->loop,
					     .settings = options->settings,
					     .directory = options->directory,
					     .programs = options->programs,
					     .fetch = store_fetch,
					     .context = agent };
	enum err_code code = store_open(&store, &agent->store, err);
	if (code != ERR_OK) {
		free(agent);
		return code;
	}
	agent->dial = timer_create_on(options->loop, on_dial, agent);
	agent->tick = timer_create_on(options->loop, on_tick, agent);
	agent->drain = timer_create_on(options->loop, on_drain_timer, agent);
	timer_start(agent->dial, 0, 0);
	timer_start(agent->tick, SILENCE_MS / TICKS, SILENCE_MS / TICKS);
	*ret = agent;
	return ERR_OK;
}

void agent_destroy(struct agent *agent)
{
	if (!agent)
		return;
	agent->draining = false;
	agent_give_up(agent);
	hang_up(agent);
	timer_close(agent->dial);
	timer_close(agent->tick);
	timer_close(agent->drain);
	store_close(agent->store);
	free(agent);
}
