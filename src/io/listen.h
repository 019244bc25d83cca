/* io/listen.h - a listening TCP socket from the text of a setting. */
#pragma once

#include "base/err.h"

#define LISTEN_ADDRESS_SIZE 64

/* `text` is ADDR:PORT with an IP address ("[::1]:0"); `setting` names where it stands ("http"). *ret_fd is non-blocking and
 * owned by the caller; `ret_address` (LISTEN_ADDRESS_SIZE) becomes the address that it really has, where the port was 0.
 * ERR_INVALID_ARGUMENT: no such text; ERR_INTERNAL and others: the port is taken, the address is not this machine's. */
must_check enum err_code listen_open(const char *setting, const char *text, int *ret_fd, char *ret_address, struct err *err);
