/* Messages between a socket that listens and one that dials, in one loop: who comes in, that all arrives in order, and what is
 * told when it does not. */
#include "io/zsocket.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/test.h"

#define SILENCE_MS 2000
#define COUNT 3000

struct side {
	struct zsocket *zsocket;
	uint32_t peer;
	char name[ZSOCKET_NAME_SIZE];
	size_t taken, bytes;
	bool in_order;
	enum zsocket_state state;
	bool told;
};

struct world {
	struct loop *loop;
	struct timer *limit;
	struct zkey hub, site;
	struct side listener, dialler;
	const char *admitted; /* public key */
	size_t stop_at;
};

static struct world world;

static void on_limit(void *context)
{
	fail_msg("nothing came in time");
}

static bool admit(void *context, const char *key, char *name)
{
	str_copy(name, ZSOCKET_NAME_SIZE, "here");
	return strcmp(key, world.admitted) == 0;
}

/* Each message begins with its number. */
static void on_message(void *context, uint32_t peer, const char *name, const uint8_t *data, size_t len)
{
	struct side *side = context;
	uint32_t number;
	assert_true(len >= sizeof(number));
	memcpy(&number, data, sizeof(number));
	side->in_order &= number == side->taken;
	side->taken++;
	side->bytes += len;
	side->peer = peer;
	str_copy(side->name, sizeof(side->name), name);
	if (world.listener.taken + world.dialler.taken == world.stop_at)
		loop_stop(world.loop);
}

static void on_state(void *context, enum zsocket_state state)
{
	struct side *side = context;
	side->state = state;
	side->told = true;
	loop_stop(world.loop);
}

static int set_up(void **state)
{
	memset(&world, 0, sizeof(world));
	zkey_make(&world.hub);
	zkey_make(&world.site);
	world.admitted = world.site.public;
	world.listener.in_order = world.dialler.in_order = true;
	assert_int_equal(loop_create(&world.loop, NULL), ERR_OK);
	world.limit = timer_create_on(world.loop, on_limit, NULL);
	timer_start(world.limit, 60000, 0);
	struct zsocket_events events = { .on_message = on_message, .on_admit = admit, .context = &world.listener };
	assert_int_equal(zsocket_listen(world.loop, "127.0.0.1:0", &world.hub, SILENCE_MS, &events, &world.listener.zsocket, NULL),
			 ERR_OK);
	return 0;
}

static int tear_down(void **state)
{
	zsocket_close(world.dialler.zsocket);
	zsocket_close(world.listener.zsocket);
	timer_close(world.limit);
	loop_destroy(world.loop);
	return 0;
}

static void dial(const struct zkey *key, const char *listener_key)
{
	struct zsocket_events events = { .on_message = on_message, .on_state = on_state, .context = &world.dialler };
	assert_int_equal(zsocket_dial(world.loop, zsocket_address(world.listener.zsocket), listener_key, key, SILENCE_MS, &events,
				      &world.dialler.zsocket, NULL),
			 ERR_OK);
	loop_run(world.loop);
	assert_true(world.dialler.told);
}

static bool send_number(struct side *from, uint32_t peer, uint32_t number, size_t more)
{
	static uint8_t zeros[ZSOCKET_MESSAGE_BYTES];
	struct iovec parts[] = { { &number, sizeof(number) }, { zeros, more } };
	return zsocket_send(from->zsocket, peer, parts, ARRAY_SIZE(parts));
}

static void test_all_arrives_in_order(void **state)
{
	dial(&world.site, world.hub.public);
	assert_int_equal(world.dialler.state, ZSOCKET_UP);
	size_t bytes = 0;
	for (uint32_t i = 0; i < COUNT; i++) {
		size_t more = i % 500 == 0 ? 300000 : i % 97;
		assert_true(send_number(&world.dialler, 0, i, more));
		bytes += sizeof(i) + more;
	}
	world.stop_at = COUNT;
	loop_run(world.loop);
	assert_true(world.listener.in_order);
	assert_int_equal(world.listener.bytes, bytes);
	assert_string_equal(world.listener.name, "here");

	for (uint32_t i = 0; i < COUNT; i++)
		assert_true(send_number(&world.listener, world.listener.peer, i, i % 1000));
	world.stop_at = 2 * COUNT;
	loop_run(world.loop);
	assert_true(world.dialler.in_order);
	assert_int_equal(world.dialler.taken, COUNT);
}

static void test_a_key_that_is_not_registered_is_refused(void **state)
{
	struct zkey other;
	zkey_make(&other);
	dial(&other, world.hub.public);
	assert_int_equal(world.dialler.state, ZSOCKET_REFUSED);
	assert_int_equal(world.listener.taken, 0);
}

static void test_a_listener_that_is_another_is_not_talked_to(void **state)
{
	struct zkey other;
	zkey_make(&other);
	dial(&world.site, other.public);
	assert_int_not_equal(world.dialler.state, ZSOCKET_UP);
	assert_false(send_number(&world.dialler, 0, 0, 0));
}

static void test_a_peer_that_left_is_not_sent_to(void **state)
{
	dial(&world.site, world.hub.public);
	assert_true(send_number(&world.dialler, 0, 0, 0));
	world.stop_at = 1;
	loop_run(world.loop);
	uint32_t peer = world.listener.peer;
	assert_true(send_number(&world.listener, peer, 0, 0));
	zsocket_close(world.dialler.zsocket);
	world.dialler.zsocket = NULL;
	while (send_number(&world.listener, peer, 0, 0)) /* until libzmq has noticed */
		;
	assert_false(send_number(&world.listener, peer + 1, 0, 0));
}

static void test_the_end_of_the_listener_is_told(void **state)
{
	dial(&world.site, world.hub.public);
	zsocket_close(world.listener.zsocket);
	world.listener.zsocket = NULL;
	loop_run(world.loop);
	assert_int_equal(world.dialler.state, ZSOCKET_DOWN);
}

static void test_an_address_that_is_taken_or_none(void **state)
{
	struct zsocket *second;
	struct err err = ERR_INIT;
	struct zsocket_events events = { .on_message = on_message, .on_admit = admit, .context = &world.listener };
	assert_int_equal(zsocket_listen(world.loop, zsocket_address(world.listener.zsocket), &world.hub, SILENCE_MS, &events, &second,
					&err),
			 ERR_UNAVAILABLE);
	assert_non_null(err_hint(&err));
	assert_int_not_equal(zsocket_listen(world.loop, "nowhere", &world.hub, SILENCE_MS, &events, &second, &err), ERR_OK);
	err_done(&err);
}

static void test_keys(void **state)
{
	struct zkey again;
	assert_true(zkey_is_key(world.hub.public));
	assert_false(zkey_is_key("short"));
	assert_false(zkey_is_key("\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\""));
	assert_int_equal(zkey_of_secret(world.hub.secret, &again, NULL), ERR_OK);
	assert_string_equal(again.public, world.hub.public);
	assert_int_equal(zkey_of_secret("short", &again, NULL), ERR_INVALID_ARGUMENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_all_arrives_in_order), T(test_a_key_that_is_not_registered_is_refused),
	  T(test_a_listener_that_is_another_is_not_talked_to), T(test_a_peer_that_left_is_not_sent_to),
	  T(test_the_end_of_the_listener_is_told), T(test_an_address_that_is_taken_or_none), T(test_keys))
