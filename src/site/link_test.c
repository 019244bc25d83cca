/* Two links joined by a queue in memory: notes arrive whole and in order, long ones let short ones pass, nothing goes out
 * without credit, and what is no note ends the link. */
#include "site/link.h"

#include "base/alloc.h"
#include "base/test.h"

struct message {
	struct message *next;
	size_t len;
	uint8_t data[];
};

struct end {
	struct link *link;
	struct end *other;
	struct message *queue, **tail; /* sent to this end */
	bool deaf;		       /* reads nothing */
	size_t queued_bytes;
	uint64_t ids[64]; /* of the notes that came */
	size_t count;
	struct run_frame run;
	struct arena arena;
	struct err err;
	bool keep;
	void *kept;
};

static struct loop *loop;
static struct end hub, site;
static size_t wanted;

static void deliver(void *context)
{
	struct end *end = context;
	while (end->queue && !end->deaf) {
		struct message *message = end->queue;
		end->queue = message->next;
		if (!end->queue)
			end->tail = &end->queue;
		end->queued_bytes -= message->len;
		(void)!link_receive(end->link, message->data, message->len, &end->err);
		free(message);
	}
	if (hub.count + site.count >= wanted)
		loop_stop(loop);
}

static bool send_to_other(void *context, const struct iovec *parts, size_t count)
{
	struct end *to = ((struct end *)context)->other;
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += parts[i].iov_len;
	struct message *message = xmalloc(sizeof(*message) + len);
	*message = (struct message){ .len = len };
	len = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(message->data + len, parts[i].iov_base, parts[i].iov_len);
		len += parts[i].iov_len;
	}
	*to->tail = message;
	to->tail = &message->next;
	to->queued_bytes += len;
	loop_post(loop, deliver, to);
	return true;
}

static enum err_code on_note(void *context, const struct site_header *header, const uint8_t *body, struct err *err)
{
	struct end *end = context;
	assert_true(end->count < ARRAY_SIZE(end->ids));
	end->ids[end->count++] = header->id;
	struct frame_header frame;
	if (header->type == SITE_RUN && end->keep) {
		end->kept = link_keep(end->link);
		assert_non_null(end->kept);
		assert_int_equal(site_decode_run(body, header->length, &end->arena, NULL, NULL, &frame, &end->run, NULL), ERR_OK);
	}
	return ERR_OK;
}

static void end_init(struct end *end, struct end *other)
{
	memset(end, 0, sizeof(*end));
	end->other = other;
	end->tail = &end->queue;
	arena_init(&end->arena, (size_t)64 << 20);
	const struct link_options options = { .loop = loop, .most_bytes = (size_t)32 << 20, .send = send_to_other,
					      .on_note = on_note, .context = end };
	end->link = link_create(&options);
}

static void end_done(struct end *end)
{
	link_destroy(end->link);
	for (struct message *next; end->queue; end->queue = next) {
		next = end->queue->next;
		free(end->queue);
	}
	arena_done(&end->arena);
	err_done(&end->err);
	free(end->kept);
}

static int set_up(void **state)
{
	assert_int_equal(loop_create(&loop, NULL), ERR_OK);
	end_init(&hub, &site);
	end_init(&site, &hub);
	return 0;
}

static int tear_down(void **state)
{
	end_done(&hub);
	end_done(&site);
	loop_destroy(loop);
	return 0;
}

static void run_until(size_t notes)
{
	wanted = notes;
	loop_run(loop);
	assert_int_equal(hub.count + site.count, notes);
}

static void stop(void *context)
{
	loop_stop(loop);
}

/* So many turns of the loop. */
static void turns(int count)
{
	wanted = SIZE_MAX;
	while (count--) {
		loop_post(loop, stop, NULL);
		loop_run(loop);
	}
}

static void send_short(struct end *end, uint64_t id)
{
	assert_int_equal(link_send(end->link, &(struct site_header){ .type = SITE_CANCEL, .id = id }, NULL, NULL), ERR_OK);
}

static void fill(void *context, size_t tensor, uint8_t *to)
{
	memset(to, 'f', *(size_t *)context);
}

/* A run with tensors of these lengths; one without data is filled. */
static void send_run(struct end *end, uint64_t id, const size_t *lens, uint8_t *const *data, size_t count)
{
	struct tensor tensors[8] = { 0 };
	size_t fill_len = 0;
	for (size_t i = 0; i < count; i++) {
		tensors[i] = (struct tensor){ .name = STR("x"), .dtype = DTYPE_UINT8, .rank = 1, .shape = { (int64_t)lens[i] },
					      .data = data[i], .len = lens[i] };
		fill_len = data[i] ? fill_len : lens[i];
	}
	struct run_frame run = { .method = STR("run"), .tensors = tensors, .count = count, .fill = fill, .context = &fill_len };
	struct frame_header frame = { .type = FRAME_RUN };
	assert_int_equal(link_send_run(end->link, &(struct site_header){ .type = SITE_RUN, .id = id }, &frame, &run, true, NULL),
			 ERR_OK);
}

static void test_notes_of_a_turn_go_in_one_message(void **state)
{
	for (uint64_t i = 0; i < 10; i++)
		send_short(&hub, i);
	site.deaf = true;
	turns(2);
	assert_non_null(site.queue);
	assert_null(site.queue->next);
	site.deaf = false;
	deliver(&site);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(site.ids[i], i);
}

static void test_long_notes_arrive_whole_and_let_short_ones_pass(void **state)
{
	static const size_t lens[] = { 3000001, 5, 20000, 700000, 0 };
	uint8_t *data[ARRAY_SIZE(lens)];
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		data[i] = xmalloc(lens[i] + 1);
		for (size_t k = 0; k < lens[i]; k++)
			data[i][k] = (uint8_t)(k * 7 + i);
	}
	uint8_t *const kept = data[3];
	data[3] = NULL; /* asked of fill() */
	site.keep = true;
	send_run(&hub, 1, lens, data, ARRAY_SIZE(lens));
	send_short(&hub, 2);
	run_until(2);
	assert_int_equal(site.ids[0], 2);
	assert_int_equal(site.ids[1], 1);
	assert_int_equal(site.run.count, ARRAY_SIZE(lens));
	memset(kept, 'f', lens[3]);
	data[3] = kept;
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(site.run.tensors[i].len, lens[i]);
		assert_memory_equal(site.run.tensors[i].data, data[i], lens[i]);
		free(data[i]);
	}
}

static void test_several_long_notes(void **state)
{
	size_t len = 2000000;
	uint8_t *data = xcalloc(1, len);
	for (uint64_t i = 0; i < 3 * LINK_WAYS_MAX; i++)
		send_run(&hub, i, &len, &data, 1);
	run_until(3ul * LINK_WAYS_MAX);
	assert_int_equal(site.err.code, ERR_OK);
	free(data);
}

static void test_nothing_goes_without_credit(void **state)
{
	size_t len = 20u << 20;
	uint8_t *data = xcalloc(1, len);
	send_run(&hub, 1, &len, &data, 1);
	site.deaf = true;
	turns(60);
	size_t waits = site.queued_bytes;
	assert_true(waits <= LINK_WINDOW_BYTES && waits > LINK_WINDOW_BYTES - 2 * SITE_PART_BYTES);
	turns(20);
	assert_int_equal(site.queued_bytes, waits);
	link_ping(hub.link); /* needs no credit */
	turns(1);
	assert_int_equal(site.queued_bytes, waits + sizeof(struct site_header));
	site.deaf = false;
	deliver(&site);
	run_until(1);
	turns(2);
	assert_true(link_rtt_ns(hub.link) > 0);
	free(data);
}

static void test_artifacts_come_last(void **state)
{
	size_t len = sizeof(struct site_piece) + SITE_FETCH_BYTES, run_len = 1u << 20, at = 0;
	uint8_t *body = xcalloc(1, len), *data = xcalloc(1, run_len);
	struct site_header header = { .type = SITE_PIECE, .length = len };
	site.deaf = true;
	for (header.id = 100; header.id < 140; header.id++)
		assert_int_equal(link_send(hub.link, &header, body, NULL), ERR_OK);
	turns(20);
	assert_true(site.queued_bytes <= LINK_WINDOW_BYTES / 4);
	send_run(&hub, 7, &run_len, &data, 1);
	turns(20);
	site.deaf = false;
	deliver(&site);
	run_until(41);
	while (site.ids[at] != 7)
		at++;
	assert_true(at < 10);
	free(body);
	free(data);
}

static void test_a_long_note_is_taken_back(void **state)
{
	size_t len = 20u << 20;
	uint8_t *data = xcalloc(1, len);
	send_run(&hub, 1, &len, &data, 1);
	site.deaf = true;
	turns(3);
	assert_true(link_take_back(hub.link, SITE_RUN, 0, 1));
	free(data); /* not touched any more */
	assert_false(link_take_back(hub.link, SITE_RUN, 0, 1));
	site.deaf = false;
	deliver(&site);
	send_short(&hub, 2);
	run_until(1);
	assert_int_equal(site.ids[0], 2);
	assert_int_equal(site.err.code, ERR_OK);
}

static enum err_code receive(const struct site_header *header, const void *body)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	assert_true(site_encode(&out, header, body));
	enum err_code code = link_receive(site.link, (uint8_t *)out.data, out.len, NULL);
	buf_done(&out);
	return code;
}

static void test_what_breaks_the_protocol(void **state)
{
	struct {
		struct site_part part;
		uint8_t bytes[40];
	} body = { .part = { 100, 0 } };
	struct site_header part = { .type = SITE_PART, .id = 5, .length = sizeof(body) };
	assert_int_equal(link_receive(site.link, (const uint8_t *)"rubbish", 7, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(receive(&(struct site_header){ .type = SITE_CREDIT, .id = 1 }, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(receive(&(struct site_header){ .type = SITE_PONG, .id = UINT64_MAX }, NULL), ERR_INVALID_ARGUMENT);
	body.part.offset = 40;
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* has not begun */
	body.part.offset = 0;
	assert_int_equal(receive(&part, &body), ERR_OK);
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* twice */
	body.part = (struct site_part){ 101, 40 };
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* another length */
	body.part = (struct site_part){ (uint64_t)1 << 40, 0 };
	part.id = 6;
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* larger than allowed */
	body.part = (struct site_part){ 40, 0 };
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* parts that make no note */
	body.part = (struct site_part){ 100, 0 };
	for (part.id = 10; part.id < 10 + LINK_WAYS_MAX - 1; part.id++)
		assert_int_equal(receive(&part, &body), ERR_OK);
	assert_int_equal(receive(&part, &body), ERR_INVALID_ARGUMENT); /* too many at once */
	assert_int_equal(receive(&(struct site_header){ .type = SITE_DROP, .id = 10 }, NULL), ERR_OK);
	assert_int_equal(receive(&part, &body), ERR_OK);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_notes_of_a_turn_go_in_one_message), T(test_long_notes_arrive_whole_and_let_short_ones_pass),
	  T(test_several_long_notes), T(test_nothing_goes_without_credit), T(test_artifacts_come_last),
	  T(test_a_long_note_is_taken_back), T(test_what_breaks_the_protocol))
