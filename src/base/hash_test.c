#include "base/hash.h"
#include "base/test.h"

static void test_vectors(void **state)
{
	struct digest digest, back;
	char text[SHA256_HEX + 1];
	sha256("abc", 3, &digest); /* FIPS 180-2, appendix B.1 */
	digest_format(&digest, text);
	assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(digest_parse(text, SHA256_HEX, &back));
	assert_true(digest_eq(&digest, &back));
	assert_false(digest_parse(text, 63, &back));
	text[3] = 'G';
	assert_false(digest_parse(text, SHA256_HEX, &back));
}

static void test_pieces_equal_whole(void **state)
{
	_cleanup_(hasher_destroyp) struct hasher *hasher = hasher_create();
	struct digest pieces, whole;
	for (int round = 0; round < 2; round++) {
		hasher_update(hasher, "a", 1);
		hasher_update(hasher, "bc", 2);
		hasher_finish(hasher, &pieces);
		sha256("abc", 3, &whole);
		assert_true(digest_eq(&pieces, &whole));
	}
}

TEST_MAIN(cmocka_unit_test(test_vectors), cmocka_unit_test(test_pieces_equal_whole))
