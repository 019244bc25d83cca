#include "base/arena.h"

#include "base/alloc.h"

struct arena_chunk {
	struct arena_chunk *next;
	uint8_t *memory;
};

void arena_init(struct arena *arena, size_t ceiling_bytes)
{
	*arena = (struct arena){ .ceiling_bytes = ceiling_bytes };
}

void arena_done(struct arena *arena)
{
	for (struct arena_chunk *chunk = arena->chunk, *next; chunk; chunk = next) {
		next = chunk->next;
		if (chunk->memory)
			free(chunk->memory);
		free(chunk);
	}
	arena_init(arena, arena->ceiling_bytes);
}

static bool admit(struct arena *arena, size_t size)
{
	if (size > arena->ceiling_bytes || arena->used_bytes > arena->ceiling_bytes - size)
		return false;
	arena->used_bytes += size;
	return true;
}

static void *large(struct arena *arena, size_t size)
{
	if (size > SIZE_MAX - ARENA_ALIGN || !admit(arena, size))
		return NULL;
	void *memory;
	if (posix_memalign(&memory, ARENA_ALIGN, size) != 0) {
		arena->used_bytes -= size;
		return NULL;
	}
	struct arena_chunk *chunk = NEW(struct arena_chunk);
	chunk->memory = memory;
	/* Behind the newest chunk, whose free part stays in use. */
	if (arena->chunk) {
		chunk->next = arena->chunk->next;
		arena->chunk->next = chunk;
	} else {
		arena->chunk = chunk;
	}
	return memory;
}

void *arena_try(struct arena *arena, size_t size)
{
	if (size > ARENA_LARGE)
		return large(arena, size);
	size = (size + 15u) & ~(size_t)15u;
	if ((size_t)(arena->end - arena->at) < size) {
		if (!admit(arena, ARENA_CHUNK))
			return NULL;
		struct arena_chunk *chunk = malloc(sizeof(*chunk) + 16 + ARENA_CHUNK);
		if (!chunk) {
			arena->used_bytes -= ARENA_CHUNK;
			return NULL;
		}
		chunk->next = arena->chunk;
		chunk->memory = NULL;
		arena->chunk = chunk;
		arena->at = (uint8_t *)(((uintptr_t)(chunk + 1) + 15u) & ~(uintptr_t)15u);
		arena->end = arena->at + ARENA_CHUNK;
	}
	void *piece = arena->at;
	arena->at += size;
	return piece;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *piece = arena_try(arena, size);
	if (!piece) {
		fprintf(stderr, "arena: no %zu bytes\n", size);
		abort();
	}
	return piece;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

static void *grow_large(struct arena *arena, void *piece, size_t old_size, size_t new_size)
{
	struct arena_chunk *chunk = arena->chunk;
	while (chunk && chunk->memory != piece)
		chunk = chunk->next;
	if (!chunk || !admit(arena, new_size - old_size))
		return NULL;
	void *memory = realloc(piece, new_size);
	if (!memory) {
		arena->used_bytes -= new_size - old_size;
		return NULL;
	}
	chunk->memory = memory;
	return memory;
}

void *arena_grow(struct arena *arena, void *piece, size_t old_size, size_t new_size)
{
	if (!piece)
		return arena_try(arena, new_size);
	if (new_size <= old_size)
		return piece;
	if (old_size > ARENA_LARGE)
		return grow_large(arena, piece, old_size, new_size);
	size_t had = (old_size + 15u) & ~(size_t)15u;
	if (new_size <= ARENA_LARGE && (uint8_t *)piece + had == arena->at) {
		size_t more = ((new_size + 15u) & ~(size_t)15u) - had;
		if ((size_t)(arena->end - arena->at) >= more) {
			arena->at += more;
			return piece;
		}
	}
	void *moved = arena_try(arena, new_size);
	if (moved)
		memcpy(moved, piece, old_size);
	return moved;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
	char *copy = arena_try(arena, len + 1);
	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}
