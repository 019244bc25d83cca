/* A remote executor against a site that says what the test wants: versions of the protocol, outcomes that come twice or for
 * what was not given, connections that break and come back. */
#include "site/remote.h"

#include "base/alloc.h"
#include "base/test.h"
#include "schedule/test_runs.h"

struct event {
	char what; /* r: ready, d: done, g: gone, w: way */
	struct batch *batch;
	enum err_code code;
};

static struct loop *loop;
static struct settings *settings;
static struct remote *remote;
static struct servable servable;
static struct event events[64];
static size_t event_count;
static struct worker *worker;
static struct {
	struct site_header header;
	char text[256];
} sent[256]; /* notes that the site got */
static size_t sent_count;
static bool site_is_there;

/* --- the site --- */

static bool on_send(void *context, uint32_t peer, const struct iovec *parts, size_t count)
{
	struct buf message;
	struct site_header header;
	const uint8_t *body;
	if (!site_is_there)
		return false;
	buf_init(&message, 1 << 24);
	for (size_t i = 0; i < count; i++)
		buf_append(&message, parts[i].iov_base, parts[i].iov_len);
	for (size_t at = 0; site_peek((uint8_t *)message.data + at, message.len - at, &header, &body) == 1;
	     at += sizeof(header) + header.length) {
		assert_true(sent_count < ARRAY_SIZE(sent));
		sent[sent_count].header = header;
		snprintf(sent[sent_count].text, sizeof(sent[0].text), "%.*s", (int)MIN(header.length, 200u), (const char *)body);
		sent_count++;
	}
	buf_done(&message);
	return true;
}

/* The newest note of that type that the site got; NULL: none since sent_count was reset. */
static const struct site_header *got(enum site_note type)
{
	for (size_t i = sent_count; i-- > 0;)
		if (sent[i].header.type == type)
			return &sent[i].header;
	return NULL;
}

static enum err_code arrive(uint32_t peer, const char *instance, const char *workers)
{
	struct site_hello hello = { .version_least = 1,
				    .version_newest = 1,
				    .hardware = { .cores = 2, .capacity = 4, .memory_bytes = 1ll << 40, .native = true },
				    .workers = json_loads(workers, 0, NULL) };
	str_copy(hello.instance, sizeof(hello.instance), instance);
	struct err err = ERR_INIT;
	enum err_code code = remote_arrive(remote, peer, &hello, &err);
	err_done(&err);
	hello_done(&hello);
	return code;
}

static enum err_code say(enum site_note type, uint32_t id_of_worker, uint64_t id, const char *text)
{
	struct buf out;
	struct site_header header = { .length = text ? strlen(text) : 0, .id = id, .worker = id_of_worker, .type = (uint16_t)type };
	buf_init(&out, 1 << 20);
	assert_true(site_encode(&out, &header, text));
	enum err_code code = remote_receive(remote, (uint8_t *)out.data, out.len, NULL);
	buf_done(&out);
	return code;
}

/* --- the scheduler --- */

static void add(char what, struct batch *batch, enum err_code code)
{
	assert_true(event_count < ARRAY_SIZE(events));
	events[event_count++] = (struct event){ what, batch, code };
}

static void on_ready(void *context, struct worker *w, struct str ready)
{
	add('r', NULL, ERR_OK);
}

static void on_batch_done(void *context, struct worker *w, struct batch *batch)
{
	struct run *only = batch_only_run(batch);
	add('d', batch, batch->err.code ?: only ? only->err.code : ERR_OK);
}

static void on_way(void *context, struct worker *w)
{
}

static void on_gone(void *context, struct worker *w, struct batch **batches, size_t count, const struct err *why)
{
	add('g', NULL, why->code);
	for (size_t i = 0; i < count; i++)
		add(w->lost ? 'l' : 'b', batches[i], ERR_OK);
	worker = NULL;
}

static void on_stop(void *context)
{
	loop_stop(loop);
}

/* What was posted is done, and what was noted is sent. */
static void turn(void)
{
	for (int i = 0; i < 2; i++) {
		loop_post(loop, on_stop, NULL);
		loop_run(loop);
	}
}

static struct batch *make_batch(void)
{
	static float first;
	struct run *run = test_run(&servable, 1, 2, first += 10, NULL);
	run->deadline_ns = loop_now_ns(loop) + 60000000000ll;
	return batch_create(run, 0);
}

static void free_batch(struct batch *batch)
{
	struct run *run = batch_only_run(batch);
	batch_destroy(batch);
	run_destroy(run);
}

/* A worker that is ready, of a site over connection 1. */
static uint32_t begin(void)
{
	const struct worker_spec spec = { .digest = "0123", .name = "ann/iris", .owner = "ann", .load = "{}", .program = "native" };
	const struct worker_events heard = {
		.on_ready = on_ready, .on_batch_done = on_batch_done, .on_way = on_way, .on_gone = on_gone
	};
	assert_int_equal(arrive(1, "a", "[]"), ERR_OK);
	struct executor *executor = remote_executor(remote);
	assert_int_equal(executor->ops->start(executor, &spec, &heard, &worker, NULL), ERR_OK);
	turn();
	assert_non_null(got(SITE_WELCOME));
	uint32_t id = got(SITE_START)->worker;
	assert_int_equal(say(SITE_READY, id, 0, "{}"), ERR_OK);
	assert_int_equal(event_count, 1);
	event_count = 0;
	return id;
}

static struct batch *send_batch(void)
{
	struct batch *batch = make_batch();
	sent_count = 0;
	assert_int_equal(worker->executor->ops->send(worker, batch, NULL), ERR_OK);
	turn();
	assert_int_equal(got(SITE_RUN)->id, batch->id);
	return batch;
}

static int set_up(void **state)
{
	assert_int_equal(loop_create(&loop, NULL), ERR_OK);
	settings = settings_create();
	assert_int_equal(settings_set(settings, "sites.silence_ms", "100", "test", NULL), ERR_OK);
	assert_int_equal(settings_set(settings, "sites.grace_s", "0", "test", NULL), ERR_OK);
	const struct remote_options options = { .loop = loop, .settings = settings, .name = "there", .send = on_send };
	remote = remote_create(&options);
	test_servable_init(&servable, (char *)"ann/iris@1");
	test_method.input_count = test_method.output_count = 1;
	event_count = sent_count = 0;
	site_is_there = true;
	return 0;
}

static int tear_down(void **state)
{
	remote_destroy(remote, true);
	settings_destroy(settings);
	loop_destroy(loop);
	return 0;
}

/* --- the tests --- */

static void test_versions(void **state)
{
	static const struct {
		int64_t least, newest;
		enum err_code code;
		const char *words; /* of the answer */
	} rows[] = { { 1, 1, ERR_OK, "\"version\":1" },
		     { 1, 9, ERR_OK, "\"version\":2" },
		     { 3, 9, ERR_FAILED_PRECONDITION, "3 to 9" } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct site_hello hello = { .version_least = rows[i].least, .version_newest = rows[i].newest, .instance = "a",
					    .workers = json_array() };
		sent_count = 0;
		assert_int_equal(remote_arrive(remote, (uint32_t)i + 1, &hello, &err), rows[i].code);
		turn();
		assert_true((got(SITE_WELCOME) != NULL) == (rows[i].code == ERR_OK));
		if (rows[i].code == ERR_OK)
			assert_non_null(strstr(sent[0].text, rows[i].words));
		else
			assert_true(err_hint(&err) && strstr(err_text(&err), rows[i].words));
		hello_done(&hello);
		err_done(&err);
	}
}

static void test_an_outcome_counts_once(void **state)
{
	uint32_t id = begin();
	struct batch *batch = send_batch();
	uint64_t run = batch->id;
	assert_int_equal(say(SITE_ERROR, id, run + 1, "{\"code\":\"NOT_FOUND\"}"), ERR_OK); /* not given */
	assert_int_equal(event_count, 0);
	assert_int_equal(say(SITE_ERROR, id, run, "{\"code\":\"NOT_FOUND\",\"message\":\"seven\"}"), ERR_OK);
	assert_int_equal(event_count, 1);
	assert_ptr_equal(events[0].batch, batch);
	assert_int_equal(events[0].code, ERR_NOT_FOUND);
	free_batch(batch);
	assert_int_equal(say(SITE_ERROR, id, run, "{\"code\":\"NOT_FOUND\"}"), ERR_OK); /* again */
	assert_int_equal(event_count, 1);
	turn();
	assert_int_equal(got(SITE_ACK)->id, run);
	/* The place has another generation now. */
	struct batch *next = send_batch();
	assert_int_not_equal(next->id, run);
	assert_int_equal((uint32_t)next->id, (uint32_t)run);
	assert_int_equal(say(SITE_ERROR, id, run, "{\"code\":\"NOT_FOUND\"}"), ERR_OK);
	assert_int_equal(event_count, 1);
	worker->executor->ops->abandon(worker);
	free_batch(next);
}

static void test_what_a_worker_held_comes_back_in_its_order(void **state)
{
	uint32_t id = begin();
	struct batch *a = send_batch(), *b = send_batch(), *c = send_batch();
	_cleanup_free_ char *text = xasprintf("{\"code\":\"UNAVAILABLE\",\"message\":\"died\",\"runs\":[%llu,%llu]}",
					      (unsigned long long)c->id, (unsigned long long)a->id);
	assert_int_equal(say(SITE_GONE, id, 0, text), ERR_OK);
	assert_int_equal(event_count, 4);
	assert_ptr_equal(events[1].batch, c);
	assert_ptr_equal(events[2].batch, a);
	assert_ptr_equal(events[3].batch, b); /* had not arrived */
	assert_int_equal(events[1].what, 'b');
	turn();
	assert_int_equal(got(SITE_ACK)->id, 0);
	free_batch(a);
	free_batch(b);
	free_batch(c);
}

static void test_back_in_time(void **state)
{
	char held[128];
	uint32_t id = begin();
	struct batch *kept = send_batch(), *not_arrived = send_batch();
	snprintf(held, sizeof(held), "[{\"id\":%u,\"runs\":[%llu,77]},{\"id\":9999,\"runs\":[]}]", id, (unsigned long long)kept->id);
	sent_count = 0;
	assert_int_equal(arrive(2, "a", held), ERR_OK);
	turn();
	assert_int_equal(event_count, 0);
	assert_int_equal(got(SITE_RUN)->id, not_arrived->id);	/* sent again, the other not */
	assert_int_equal(got(SITE_CANCEL)->id, 77);		/* not ours (any more) */
	assert_int_equal(got(SITE_STOP)->worker, 9999);		/* nor that worker */
	assert_false(remote_has_peer(remote, 1));
	worker->executor->ops->abandon(worker);
	free_batch(kept);
	free_batch(not_arrived);
}

static void test_back_as_another_process(void **state)
{
	begin();
	struct batch *batch = send_batch();
	assert_int_equal(arrive(2, "b", "[]"), ERR_UNAVAILABLE); /* the first one is still there */
	site_is_there = false;
	turn(); /* its ping finds nobody */
	site_is_there = true;
	assert_int_equal(arrive(2, "b", "[]"), ERR_OK);
	assert_int_equal(event_count, 2);
	assert_int_equal(events[0].what, 'g');
	assert_int_equal(events[1].what, 'l'); /* lost: no run is to blame */
	assert_ptr_equal(events[1].batch, batch);
	free_batch(batch);
	turn();
}

static void test_a_start_that_did_not_arrive_is_sent_again(void **state)
{
	const struct worker_spec spec = { .digest = "0123", .name = "ann/iris", .owner = "ann", .load = "{}", .program = "native" };
	const struct worker_events heard = { .on_ready = on_ready, .on_way = on_way, .on_gone = on_gone };
	assert_int_equal(arrive(1, "a", "[]"), ERR_OK);
	struct executor *executor = remote_executor(remote);
	assert_int_equal(executor->ops->start(executor, &spec, &heard, &worker, NULL), ERR_OK);
	sent_count = 0;
	assert_int_equal(arrive(2, "a", "[]"), ERR_OK);
	turn();
	assert_non_null(got(SITE_START));
	assert_int_equal(event_count, 0);
	worker->executor->ops->abandon(worker);
}

static void on_tick(void *context)
{
	remote_tick(remote);
	if (!worker)
		loop_stop(loop);
}

static void test_silence(void **state)
{
	begin();
	struct batch *batch = send_batch();
	struct timer *tick = timer_create_on(loop, on_tick, NULL);
	timer_start(tick, 10, 10);
	loop_run(loop);
	timer_close(tick);
	assert_int_equal(events[0].what, 'g');
	assert_int_equal(events[0].code, ERR_UNAVAILABLE);
	assert_ptr_equal(events[1].batch, batch);
	struct remote_state now;
	remote_get_state(remote, &now);
	assert_false(now.connected);
	struct executor *executor = remote_executor(remote);
	assert_int_equal(executor->ops->start(executor, &(struct worker_spec){ 0 }, NULL, &worker, NULL), ERR_UNAVAILABLE);
	free_batch(batch);
	turn();
}

static void test_what_breaks_the_protocol(void **state)
{
	uint32_t id = begin();
	static const struct {
		enum site_note type;
		const char *text;
	} rows[] = { { SITE_WELCOME, "{}" }, { SITE_START, "{}" }, { SITE_ACK, NULL }, { SITE_GONE, "[]" }, { SITE_GONE, "no" } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(say(rows[i].type, id, 0, rows[i].text), ERR_INVALID_ARGUMENT);
		assert_int_equal(say(SITE_READY, id, 0, "{}"), ERR_OK); /* is not listened to any more */
		remote_tick(remote);
		char held[64];
		snprintf(held, sizeof(held), "[{\"id\":%u,\"runs\":[]}]", id);
		assert_int_equal(arrive(10 + (uint32_t)i, "a", held), ERR_OK);
	}
	assert_int_equal(event_count, 0);
	worker->executor->ops->abandon(worker);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_versions), T(test_an_outcome_counts_once), T(test_what_a_worker_held_comes_back_in_its_order),
	  T(test_back_in_time), T(test_back_as_another_process), T(test_a_start_that_did_not_arrive_is_sent_again),
	  T(test_silence), T(test_what_breaks_the_protocol))
