#include "base/alloc.h"
#include "wire/run_rows_test.h"

/* A .npy body of that header and data, whole and in pieces, for a method that takes `input`. */
static void check_body(const char *input, const char *header, const void *data, size_t len, const char *expect)
{
	struct signature *signature = method_of(input);
	uint8_t file[512] = "\x93NUMPY\x01\x00";
	size_t n = strlen(header);
	file[8] = (uint8_t)n;
	memcpy(file + 10, header, n);
	memcpy(file + 10 + n, data, len);
	struct body body = { .npy = true, .signature = signature, .data = file, .len = 10 + n + len };
	_cleanup_free_ char *came = body_dump(&body, body.len, body.len, 0);
	if (strncmp(came, expect, strlen(expect)) != 0)
		fail_msg("%s\n  expected: %s\n  came:     %s", header, expect, came);
	check_cuts(&body, came);
	signature_destroy(signature);
}

#define HEADER(descr, fortran, shape) "{'descr': '" descr "', 'fortran_order': " fortran ", 'shape': (" shape "), }\n"
#define BAD "INVALID_ARGUMENT: "

static void test_taken(void **state)
{
	const float floats[] = { 1, 2, 3, 4, 5, 6 };
	check_body(TENSOR("x", "FP32", "[null,3]"), HEADER("<f4", "False", "2, 3"), floats, sizeof(floats),
		   "x FP32 [2,3] [1.0,2.0,3.0,4.0,5.0,6.0]");
	check_body(TENSOR("x", "FP32", "[null,2]"), HEADER("<f4", "True", "3, 2"), floats, sizeof(floats),
		   "x FP32 [3,2] [1.0,4.0,2.0,5.0,3.0,6.0]");
	check_body("{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":\"Any\"}", HEADER(">i2", "False", "2,"), "\0\1\1\0", 4,
		   "x INT16 [2] [1,256]");
	check_body("{\"name\":\"s\",\"type\":\"string\"}", HEADER("|S3", "False", ""), "abc", 3, "s JSON [] \"abc\"");
	check_body("{\"name\":\"n\",\"type\":\"number\"}", HEADER("<f8", "False", ""), &(double){ 2.5 }, 8, "n JSON [] 2.5");
}

static void test_refused(void **state)
{
	const double doubles[] = { 1, 2 };
	check_body(TENSOR("x", "FP32", "[null]"), HEADER("<f8", "False", "2,"), doubles, sizeof(doubles),
		   BAD "input 'x': FP64 came, but FP32 is expected");
	check_body(TENSOR("x", "FP64", "[3]"), HEADER("<f8", "False", "2,"), doubles, sizeof(doubles),
		   BAD "input 'x': shape [2] came, but [3] is expected");
	check_body(TENSOR("x", "FP64", "[3]"), HEADER("<f8", "False", "3,"), doubles, sizeof(doubles),
		   BAD "input 'x' is cut short: its shape needs 24 bytes, 16 are there");
	check_body(TENSOR("x", "FP64", "[null]"), HEADER("|O", "False", "1,"), doubles, sizeof(doubles),
		   BAD "input 'x' holds Python objects");
	check_body(TUPLE(TENSOR("a", "FP64", "[null]") "," TENSOR("b", "FP64", "[null]")), HEADER("<f8", "False", "2,"), doubles,
		   sizeof(doubles), BAD "a .npy body is for methods of one input, but 'run' has 2");
}

TEST_MAIN(cmocka_unit_test(test_taken), cmocka_unit_test(test_refused))
