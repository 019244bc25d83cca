/* base/test.h - what every *_test.c includes: cmocka and the main of a test program (TAP on stdout). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST_MAIN(...)                                                \
	int main(void)                                                \
	{                                                             \
		const struct CMUnitTest tests[] = { __VA_ARGS__ };    \
		cmocka_set_message_output(CM_OUTPUT_TAP);             \
		return cmocka_run_group_tests(tests, NULL, NULL);     \
	}
