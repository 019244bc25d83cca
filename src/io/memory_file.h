/* io/memory_file.h - memory that another process can be lent: a memfd sealed against growing and shrinking, so that neither
 * side can take it away from under the other. */
#pragma once

#include "base/err.h"

/* Zeroed, mapped for reading and writing; `what` names it in errors and in /proc ("slab"). *ret_fd is owned by the caller,
 * *ret_data is its mapping (munmap). ERR_RESOURCE_EXHAUSTED: larger than a file of this process may be (RLIMIT_FSIZE). */
must_check enum err_code memory_file_create(const char *what, size_t size, int *ret_fd, uint8_t **ret_data, struct err *err);
