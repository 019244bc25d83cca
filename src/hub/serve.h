/* hub/serve.h - a hub from its start to its end: signals, the sandbox's probe, recovery, and an end that loses nothing.
 * Owner: main(); loop thread. */
#pragma once

#include "base/settings.h"

#define SERVE_ADDRESS_SIZE 64

/* What the same program is to be started with, where the hub was told to start anew. */
struct serve_again {
	bool wanted;
	char http[SERVE_ADDRESS_SIZE], grpc[SERVE_ADDRESS_SIZE];
	char sites[SERVE_ADDRESS_SIZE]; /* empty: as its settings say */
};

/* Serves until it is told to end, and tears all down. `settings` and `argv` (the settings among the flags, read again before
 * a new start) are borrowed until it returns. *ret_again is only set where a new start is wanted. */
must_check enum err_code serve_hub(const struct settings *settings, int argc, char **argv, struct serve_again *ret_again,
				   struct err *err);
