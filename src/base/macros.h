/* base/macros.h - the few compiler words used everywhere. */
#pragma once

#include "base/banned.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define must_check __attribute__((warn_unused_result))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER 1
#endif
#endif

/* Hands the value of a _cleanup_ variable over and leaves NULL behind. */
#define TAKE(ptr)                             \
	({                                    \
		__typeof__(ptr) *take_p_ = &(ptr); \
		__typeof__(ptr) take_v_ = *take_p_; \
		*take_p_ = NULL;              \
		take_v_;                      \
	})

/* As TAKE() for a _cleanup_close_ descriptor; leaves -1. */
#define TAKE_FD(fd)                           \
	({                                    \
		int *take_p_ = &(fd);         \
		int take_v_ = *take_p_;       \
		*take_p_ = -1;                \
		take_v_;                      \
	})

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Defines NAMEp(), the cleanup function for a variable of type `TYPE *`. */
#define DEFINE_CLEANUP(type, destroy)           \
	static inline void destroy##p(type *p)  \
	{                                       \
		destroy(*p);                    \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

static inline void closep(int *fd)
{
	extern int close(int);
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)
