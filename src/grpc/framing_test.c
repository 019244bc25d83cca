#include "grpc/framing.h"

#include "base/test.h"

#define LIMIT 100000u

/* Messages of these lengths, fed in pieces of every kind. */
static void test_pieces(void **state)
{
	static const size_t lengths[] = { 0, 1, 7, 5000, 70000, 0, LIMIT };
	static const size_t pieces[] = { 1, 2, 5, 4096, 1 << 20 };
	static uint8_t stream[2 * LIMIT + 4096];
	size_t size = 0;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		framing_prefix(stream + size, lengths[i], i & 1);
		size += FRAMING_PREFIX;
		for (size_t k = 0; k < lengths[i]; k++)
			stream[size++] = (uint8_t)(i + k);
	}
	for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
		struct framing framing;
		size_t came = 0;
		framing_init(&framing, LIMIT, 4 * LIMIT, "limits.body_bytes");
		for (size_t at = 0; at < size; at += pieces[p]) {
			const uint8_t *from = stream + at, *end = stream + MIN(at + pieces[p], size);
			struct message *message;
			do {
				assert_int_equal(framing_feed(&framing, &from, end, &message, NULL), ERR_OK);
				if (!message)
					continue;
				assert_int_equal(message->len, lengths[came]);
				assert_int_equal(message->compressed, came & 1);
				for (size_t k = 0; k < message->len; k++)
					assert_int_equal(message->data[k], (uint8_t)(came + k));
				message_destroy(message);
				came++;
			} while (message);
			assert_ptr_equal(from, end);
		}
		assert_int_equal(came, ARRAY_SIZE(lengths));
		assert_false(framing_is_inside(&framing));
		framing_done(&framing);
	}
}

/* A peer that announces much and sends little takes little. */
static void test_memory_follows_what_came(void **state)
{
	struct framing framing;
	struct message *message;
	uint8_t head[FRAMING_PREFIX + 10] = { 0 };
	const uint8_t *at = head;
	framing_init(&framing, 1u << 30, (size_t)2 << 30, "limits.body_bytes");
	framing_prefix(head, 1u << 30, false);
	assert_int_equal(framing_feed(&framing, &at, head + sizeof(head), &message, NULL), ERR_OK);
	assert_null(message);
	assert_true(framing_is_inside(&framing));
	assert_true(framing_held_bytes(&framing) < 200000);
	framing_done(&framing);
}

static void test_refusals(void **state)
{
	static const struct {
		uint8_t prefix[FRAMING_PREFIX];
		enum err_code code;
		const char *words;
	} rows[] = {
		{ { 2, 0, 0, 0, 0 }, ERR_INVALID_ARGUMENT, "begins with 2" },
		{ { 0, 0, 1, 0x86, 0xa1 }, ERR_OUT_OF_RANGE, "100001 bytes is larger than 100000 (limits.body_bytes)" },
		{ { 0, 0xff, 0xff, 0xff, 0xff }, ERR_OUT_OF_RANGE, "4294967295" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct framing framing;
		struct message *message;
		struct err err = ERR_INIT;
		const uint8_t *at = rows[i].prefix;
		framing_init(&framing, LIMIT, 4 * LIMIT, "limits.body_bytes");
		assert_int_equal(framing_feed(&framing, &at, at + FRAMING_PREFIX, &message, &err), rows[i].code);
		assert_non_null(strstr(err_text(&err), rows[i].words));
		err_done(&err);
		framing_done(&framing);
	}
}

TEST_MAIN(cmocka_unit_test(test_pieces), cmocka_unit_test(test_memory_follows_what_came), cmocka_unit_test(test_refusals))
