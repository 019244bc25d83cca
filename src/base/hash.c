#include "base/hash.h"

#include "base/alloc.h"

#include <openssl/evp.h>
#include <sys/random.h>

struct hasher {
	EVP_MD_CTX *ctx;
};

/* Fetched once: the implicit fetch inside EVP_sha256() costs more than hashing a token. */
static const EVP_MD *md(void)
{
	static EVP_MD *fetched;
	EVP_MD *have = __atomic_load_n(&fetched, __ATOMIC_ACQUIRE);
	if (have)
		return have;
	EVP_MD *mine = EVP_MD_fetch(NULL, "SHA256", NULL), *none = NULL;
	if (!mine)
		abort();
	if (!__atomic_compare_exchange_n(&fetched, &none, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		EVP_MD_free(mine);
		return none;
	}
	return mine;
}

static void begin(EVP_MD_CTX *ctx)
{
	if (EVP_DigestInit_ex2(ctx, md(), NULL) != 1)
		abort();
}

struct hasher *hasher_create(void)
{
	struct hasher *hasher = NEW(struct hasher);
	hasher->ctx = EVP_MD_CTX_new();
	if (!hasher->ctx)
		abort();
	begin(hasher->ctx);
	return hasher;
}

void hasher_destroy(struct hasher *hasher)
{
	if (!hasher)
		return;
	EVP_MD_CTX_free(hasher->ctx);
	free(hasher);
}

void hasher_update(struct hasher *hasher, const void *data, size_t len)
{
	if (EVP_DigestUpdate(hasher->ctx, data, len) != 1)
		abort();
}

void hasher_finish(struct hasher *hasher, struct digest *ret)
{
	if (EVP_DigestFinal_ex(hasher->ctx, ret->bytes, NULL) != 1)
		abort();
	begin(hasher->ctx);
}

void sha256(const void *data, size_t len, struct digest *ret)
{
	if (EVP_Digest(data, len, ret->bytes, NULL, md(), NULL) != 1)
		abort();
}

static void hex(const uint8_t *bytes, size_t len, char *text)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * len] = '\0';
}

void digest_format(const struct digest *digest, char *text)
{
	hex(digest->bytes, SHA256_BYTES, text);
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_parse(const char *text, size_t len, struct digest *ret)
{
	if (len != SHA256_HEX)
		return false;
	struct digest digest;
	for (size_t i = 0; i < SHA256_BYTES; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		digest.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = digest;
	return true;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, SHA256_BYTES) == 0;
}

char *random_hex(size_t bytes)
{
	_cleanup_free_ uint8_t *raw = xmalloc(bytes);
	for (size_t have = 0; have < bytes;) {
		ssize_t n = getrandom(raw + have, bytes - have, 0);
		if (n < 0)
			abort();
		have += (size_t)n;
	}
	char *text = xmalloc(2 * bytes + 1);
	hex(raw, bytes, text);
	return text;
}
