#include "io/outgoing_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

#define SEPARATORS " \t,"
#define WORD_MAX 256

/* An address of either family as 128 bits, IPv4 as it is mapped into IPv6. */
struct block {
	uint8_t bytes[16];
	int bits;
};

static const char *const reserved[] = {
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
	/* What is not global, and what carries an IPv4 address inside (NAT64, Teredo, 6to4). */
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
};

static void map_v4(const struct in_addr *v4, uint8_t *to)
{
	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, v4, 4);
}

static bool parse_block(const char *text, struct block *ret)
{
	char address[WORD_MAX];
	int64_t bits;
	struct in_addr v4;
	const char *slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (inet_pton(AF_INET, address, &v4) == 1 && str_parse_i64(slash + 1, 0, 32, &bits)) {
		map_v4(&v4, ret->bytes);
		ret->bits = 96 + (int)bits;
		return true;
	}
	ret->bits = 0;
	if (inet_pton(AF_INET6, address, ret->bytes) != 1 || !str_parse_i64(slash + 1, 0, 128, &bits))
		return false;
	ret->bits = (int)bits;
	return true;
}

static bool holds(const struct block *block, const uint8_t *address)
{
	size_t whole = (size_t)block->bits / 8;
	int rest = block->bits % 8;
	uint8_t mask = (uint8_t)(0xff << (8 - rest));
	return memcmp(block->bytes, address, whole) == 0 &&
	       (!rest || (block->bytes[whole] & mask) == (address[whole] & mask));
}

/* The next word of the list into `word`; false at its end. One that is too long is cut, and then matches nothing. */
static bool next_word(const char **list, char *word)
{
	*list += strspn(*list, SEPARATORS);
	size_t len = strcspn(*list, SEPARATORS);
	size_t kept = MIN(len, (size_t)WORD_MAX - 1);
	memcpy(word, *list, kept);
	word[kept] = '\0';
	*list += len;
	return len > 0;
}

static bool is_host(const char *word)
{
	if (str_starts(word, "*."))
		word += 2;
	else if (strcmp(word, "*") == 0)
		return true;
	return *word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:_") == strlen(word);
}

enum err_code outgoing_policy_check(const char *list, struct err *err)
{
	char word[WORD_MAX];
	struct block block;
	while (next_word(&list, word))
		if (strchr(word, '/') ? !parse_block(word, &block) : !is_host(word))
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "'%s' is neither a host, as data.example.org, *.example.org or *, nor a block of addresses, as 10.0.0.0/8",
				       word);
	return ERR_OK;
}

static bool matches(const char *word, const char *host)
{
	size_t len = strlen(host), tail = strlen(word);
	if (strcmp(word, "*") == 0)
		return true;
	if (!str_starts(word, "*."))
		return strcasecmp(word, host) == 0;
	return len >= tail && strcasecmp(host + len - (tail - 1), word + 1) == 0;
}

bool outgoing_policy_allows_host(const char *list, const char *host)
{
	char word[WORD_MAX];
	while (next_word(&list, word))
		if (!strchr(word, '/') && matches(word, host))
			return true;
	return false;
}

bool outgoing_policy_allows_address(const char *list, const struct sockaddr *address)
{
	uint8_t bytes[16];
	char word[WORD_MAX];
	struct block block;
	if (address->sa_family == AF_INET)
		map_v4(&((const struct sockaddr_in *)address)->sin_addr, bytes);
	else if (address->sa_family == AF_INET6)
		memcpy(bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(bytes));
	else
		return false;
	while (next_word(&list, word))
		if (strchr(word, '/') && parse_block(word, &block) && holds(&block, bytes))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!parse_block(reserved[i], &block) || holds(&block, bytes))
			return false;
	return true;
}
