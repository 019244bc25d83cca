/* Any text: the tokenizer takes it exactly where jansson does, and gives the same however the text is cut. The tokens
 * are put together into a document that must equal jansson's. */
#include "wire/json_scan_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t piece = 1 + data[0] % 16;
	data++;
	size--;
	char why[JSON_SCAN_WHY_MAX], why_cut[JSON_SCAN_WHY_MAX];
	bool unlike, unlike_cut;
	json_t *whole = json_scan_build(data, size, size + 1, why, &unlike);
	json_t *cut = json_scan_build(data, size, piece, why_cut, &unlike_cut);
	require(strcmp(why, why_cut) == 0, "another error when cut");
	require(!whole == !cut && (!whole || json_equal(whole, cut)), "another document when cut");
	json_error_t error;
	json_t *theirs = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	/* jansson loses a NUL byte behind a number. */
	if (!unlike && !memchr(data, 0, size) && !strstr(why, "more than") && !strstr(why, "nested deeper")) {
		require(!whole == !theirs, whole ? "jansson refuses it" : why);
		require(!whole || json_equal(whole, theirs), "jansson has another document");
	}
	json_decref(whole);
	json_decref(cut);
	json_decref(theirs);
	return 0;
}
