/* base/arena.h - memory with one lifetime (a request, a document), freed at once.
 *
 * Not thread-safe: one owner. Small pieces come from chunks; a piece of over ARENA_LARGE bytes is a block of
 * its own. Nothing is zeroed unless said. The ceiling bounds what one arena may ever take. */
#pragma once

#include "base/err.h"

struct arena_chunk;
struct arena {
	struct arena_chunk *chunk; /* newest first */
	uint8_t *at, *end;	   /* free part of the newest chunk */
	size_t used_bytes;	   /* all chunks and blocks */
	size_t ceiling_bytes;
};

#define ARENA_CHUNK 4096u
#define ARENA_LARGE 2048u
#define ARENA_ALIGN 64u /* of large blocks; small pieces are aligned to 16 */

void arena_init(struct arena *arena, size_t ceiling_bytes);
/* Frees everything; the arena may be used again. */
void arena_done(struct arena *arena);

/* Borrowed until arena_done(). NULL past the ceiling or without memory: for sizes that a user influences. */
void *arena_try(struct arena *arena, size_t size);
/* As arena_try() but aborts instead of NULL: for small fixed sizes. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
/* Makes `piece` (of `old_size` bytes, of this arena; or NULL) larger, in place where that is possible: large blocks
 * are remapped, not copied. Alignment 16. NULL as arena_try(), and the piece stays as it was. */
void *arena_grow(struct arena *arena, void *piece, size_t old_size, size_t new_size);
/* A NUL-terminated copy; NULL as arena_try(). */
char *arena_strndup(struct arena *arena, const char *text, size_t len);
