/* io/slab.h - shared memory for tensors between the hub and one worker: memfds sealed against growing and
 * shrinking, mapped once, reused, never shared between servables. The side that writes a slab makes it and
 * announces it (FRAME_SLAB with the descriptor); the side that reads it checks seals and size before it maps
 * (read-only), and gives it back (FRAME_RELEASE). */
#pragma once

#include "base/err.h"

#define SLAB_SIZE_MIN 65536u
#define SLAB_COUNT_MAX 256u /* of one pool, and of one view: numbers run from 0 */

/* Size of a slab that holds `bytes`: a power of two. */
int64_t slab_size_for(int64_t bytes);

/* Slabs that this side writes. None is given back before the pool goes, so a ceiling of twice the largest tensor keeps
 * the small ones from shutting the large ones out. RLIMIT_FSIZE bounds a slab too: file_bytes of a worker's
 * sandbox_options must be no less than the largest that it is to write. */
struct slab_pool;
struct slab_pool *slab_pool_create(int64_t ceiling_bytes);
void slab_pool_destroy(struct slab_pool *pool);
/* A free slab of at least `size`; *ret_new_fd is >= 0 when the peer has not seen it yet (announce it; the pool keeps
 * the descriptor). Sizes are powers of two from 64 KiB. ERR_RESOURCE_EXHAUSTED past the ceiling. */
must_check enum err_code slab_take(struct slab_pool *pool, size_t size, uint32_t *ret_slab, uint8_t **ret_data,
				   size_t *ret_size, int *ret_new_fd, struct err *err);
/* The peer has read it. false: no such slab in use (a peer that breaks the protocol). */
bool slab_release(struct slab_pool *pool, uint32_t slab);

/* Slabs that the peer writes. */
struct slab_view;
/* Returned with one reference. */
struct slab_view *slab_view_create(int64_t ceiling_bytes);
/* What is mapped stays until the last reference goes. NULL is fine. */
struct slab_view *slab_view_ref(struct slab_view *view);
void slab_view_unref(struct slab_view *view);
/* Slabs added from now on are mapped so that this side may scribble over what it was given: its writer never reads
 * them. For a worker whose servable works in place. */
void slab_view_allow_writes(struct slab_view *view);
/* Takes `fd`. Refuses what is not a memfd sealed with F_SEAL_GROW and F_SEAL_SHRINK of exactly that size. */
must_check enum err_code slab_view_add(struct slab_view *view, uint32_t slab, int fd, size_t size, struct err *err);
/* frame_slab_fn of wire/frame.h; `context` is the view. */
bool slab_view_get(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size);
/* Puts a private copy of the slab where its mapping is, without a moment in which other threads see anything else,
 * and maps the slab anew elsewhere. The copy, at the old address, is the caller's (munmap). ERR_RESOURCE_EXHAUSTED. */
must_check enum err_code slab_view_detach(struct slab_view *view, uint32_t slab, struct err *err);
