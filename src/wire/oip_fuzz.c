/* Any body of a request: no crash, and the same result however it is cut. See run_fuzz.h for what the bytes mean. */
#include "wire/run_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_fuzz(false, data, size);
	return 0;
}
