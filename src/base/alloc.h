/* base/alloc.h - heap memory.
 *
 * One rule: a small allocation of a size that the program chooses aborts with a message when there is no
 * memory (x* functions, never NULL). Any size that a user influences is first checked against a named limit
 * and taken with malloc(), and its failure is ERR_RESOURCE_EXHAUSTED. */
#pragma once

#include "base/macros.h"

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));
/* Returned owned. */
char *xasprintf(const char *fmt, ...) _printf_(1, 2) __attribute__((returns_nonnull));

#define NEW(type) ((type *)xcalloc(1, sizeof(type)))
