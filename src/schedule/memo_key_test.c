#include "schedule/memo_key.h"

#include "base/alloc.h"
#include "base/test.h"
#include "schedule/servable.h"

/* A call as the front door makes it; each test changes one thing of it. */
struct call {
	struct run run;
	struct servable servable;
	struct method method;
	struct tensor inputs[2];
	uint8_t data[2][8];
};

static struct memo_keyer *keyer;

static int set_up(void **state)
{
	keyer = memo_keyer_create();
	return 0;
}

static int tear_down(void **state)
{
	memo_keyer_destroy(keyer);
	return 0;
}

static void make(struct call *call)
{
	*call = (struct call){ .servable = { .key = (char *)"ann/iris@ab" }, .method = { .name = STR("run") } };
	for (int i = 0; i < 2; i++)
		call->inputs[i] = (struct tensor){
			.name = i ? STR("y") : STR("x"), .dtype = DTYPE_UINT8, .rank = 2, .shape = { 2, 4 }, .data = call->data[i], .len = 8
		};
	memcpy(call->data, "01234567abcdefgh", 16);
	call->run.servable = &call->servable;
	call->run.method = &call->method;
	call->run.request = (struct run_request){ .inputs = call->inputs, .input_count = 2 };
}

static struct digest key_of(const struct call *call, const char *user)
{
	struct digest key;
	assert_true(memo_key(keyer, &call->run, user, &key));
	return key;
}

static void test_same_call_same_key(void **state)
{
	struct call a, b;
	make(&a);
	make(&b);
	a.run.request.parameters = STR("{\"b\":1, \"a\":[2]}");
	b.run.request.parameters = STR("{\"a\":[2],\"b\":1}");
	struct digest first = key_of(&a, "ann"), second = key_of(&b, "ann");
	assert_true(digest_eq(&first, &second));
	a.run.request.parameters = STR("{}");
	b.run.request.parameters = (struct str){ 0 };
	first = key_of(&a, NULL);
	second = key_of(&b, NULL);
	assert_true(digest_eq(&first, &second));
	a.run.request.parameters = STR("{ }");
	first = key_of(&a, NULL);
	assert_true(digest_eq(&first, &second));
	a.run.request.parameters = STR("{nothing");
	assert_false(memo_key(keyer, &a.run, NULL, &first));
	first = key_of(&b, NULL); /* nothing of the one before is left */
	assert_true(digest_eq(&first, &second));
}

static void servable(struct call *call) { call->servable.key = (char *)"ann/iris@ac"; }
static void method(struct call *call) { call->method.name = STR("fit"); }
static void parameters(struct call *call) { call->run.request.parameters = STR("{\"a\":1}"); }
static void name(struct call *call) { call->inputs[0].name = STR("z"); }
static void dtype(struct call *call) { call->inputs[0].dtype = DTYPE_INT8; }
static void shape(struct call *call) { call->inputs[0].shape[0] = 4, call->inputs[0].shape[1] = 2; }
static void rank(struct call *call) { call->inputs[0].rank = 1, call->inputs[0].shape[0] = 8; }
static void bytes(struct call *call) { call->data[1][7]++; }
static void count(struct call *call) { call->run.request.input_count = 1; }
static void order(struct call *call) { call->inputs[0].data = call->data[1], call->inputs[1].data = call->data[0]; }
static void border(struct call *call) { call->inputs[0].name = (struct str){ "x\1", 2 }; }

static void test_every_part_counts(void **state)
{
	void (*const changes[])(struct call *call) = { servable, method, parameters, name, dtype, shape,
						       rank,	 bytes,	 count,	     order, border };
	struct digest keys[ARRAY_SIZE(changes) + 3];
	struct call call;
	make(&call);
	keys[0] = key_of(&call, NULL);
	keys[1] = key_of(&call, "ann");
	keys[2] = key_of(&call, "");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		make(&call);
		changes[i](&call);
		keys[i + 3] = key_of(&call, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		for (size_t k = 0; k < i; k++)
			if (digest_eq(&keys[i], &keys[k]))
				fail_msg("calls %zu and %zu have one key", k, i);
}

/* What moves from one part into the next is another call. */
static void test_parts_do_not_run_together(void **state)
{
	struct call a, b;
	make(&a);
	make(&b);
	a.servable.key = (char *)"ann/iris@ab1";
	b.method.name = STR("1run");
	struct digest first = key_of(&a, NULL), second = key_of(&b, NULL);
	assert_false(digest_eq(&first, &second));
}

static void test_large_inputs(void **state)
{
	struct call call;
	make(&call);
	_cleanup_free_ uint8_t *data = xcalloc(1, 100000);
	call.inputs[0].data = data;
	call.inputs[0].len = 100000;
	struct digest before = key_of(&call, NULL), again = key_of(&call, NULL);
	assert_true(digest_eq(&before, &again));
	data[99999] = 1;
	struct digest after = key_of(&call, NULL);
	assert_false(digest_eq(&before, &after));
}

/* An input that lies in a file counts by what the file is and where in it. */
static void test_files(void **state)
{
	_cleanup_free_ uint8_t *data = xcalloc(1, 4096);
	struct file_view file = { .data = data, .size = 4096 }, other = { .data = data, .size = 4096, .digest = { { 1 } } };
	struct call call;
	make(&call);
	call.inputs[0].data = data;
	struct digest keys[4] = { key_of(&call, NULL) };
	call.run.files = &file;
	keys[1] = key_of(&call, NULL);
	data[0] = 1; /* nobody looks */
	struct digest again = key_of(&call, NULL);
	assert_true(digest_eq(&keys[1], &again));
	call.inputs[0].data = data + 16;
	keys[2] = key_of(&call, NULL);
	call.run.files = &other;
	keys[3] = key_of(&call, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		for (size_t k = 0; k < i; k++)
			assert_false(digest_eq(&keys[i], &keys[k]));
}

static void test_no_two_processes_share_keys(void **state)
{
	struct call call;
	make(&call);
	struct digest mine = key_of(&call, NULL), theirs;
	struct memo_keyer *other = memo_keyer_create();
	assert_true(memo_key(other, &call.run, NULL, &theirs));
	assert_false(digest_eq(&mine, &theirs));
	memo_keyer_destroy(other);
}

TEST_MAIN(cmocka_unit_test_setup_teardown(test_same_call_same_key, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_every_part_counts, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_parts_do_not_run_together, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_large_inputs, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_no_two_processes_share_keys, set_up, tear_down))
