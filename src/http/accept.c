#include "http/accept.h"

#include "base/str.h"

#include <strings.h>

/* How closely a range of the header names the offer: 0 not at all, 1 any type, 2 any of its family, 3 itself. */
static int closeness(const char *range, size_t len, const char *offer)
{
	size_t family = strcspn(offer, "/") + 1;
	if (len == strlen(offer) && strncasecmp(range, offer, len) == 0)
		return 3;
	if (len == family + 1 && range[family] == '*' && strncasecmp(range, offer, family) == 0)
		return 2;
	return len == 3 && memcmp(range, "*/*", 3) == 0;
}

static int weight_of(const char *header, const char *offer)
{
	int weight = 0, best = 0;
	for (const char *at = header; *at;) {
		at += strspn(at, " \t,");
		size_t len = strcspn(at, ","), range = strcspn(at, ",; \t");
		int close = closeness(at, range, offer);
		if (close > best) {
			best = close;
			weight = str_weight((struct str){ at + range, len - range });
		}
		at += len;
	}
	return weight;
}

size_t accept_choose(const char *header, const char *const *offers, size_t count)
{
	size_t best = 0;
	int most = 0;
	for (size_t i = 0; header && i < count; i++) {
		int weight = weight_of(header, offers[i]);
		if (weight > most) {
			most = weight;
			best = i;
		}
	}
	return best;
}
