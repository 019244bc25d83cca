/* base/hash.h - SHA-256 (OpenSSL EVP) for content and secrets, and the text form of a digest. */
#pragma once

#include "base/err.h"

#define SHA256_BYTES 32
#define SHA256_HEX 64 /* characters, without the NUL */

struct digest {
	uint8_t bytes[SHA256_BYTES];
};

struct hasher; /* a resumable SHA-256 */
struct hasher *hasher_create(void);
void hasher_destroy(struct hasher *hasher);
void hasher_update(struct hasher *hasher, const void *data, size_t len);
/* Gives the digest of all since creation or the last finish, and starts anew. */
void hasher_finish(struct hasher *hasher, struct digest *ret);
DEFINE_CLEANUP(struct hasher *, hasher_destroy)

void sha256(const void *data, size_t len, struct digest *ret);
/* `text` has room for SHA256_HEX + 1. */
void digest_format(const struct digest *digest, char *text);
bool digest_parse(const char *text, size_t len, struct digest *ret);
bool digest_eq(const struct digest *a, const struct digest *b);
/* `bytes` random bytes as lower-case hexadecimal; returned owned. From the kernel's generator. */
char *random_hex(size_t bytes);
