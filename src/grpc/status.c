#include "grpc/status.h"

#define TIMEOUT_DIGITS 8 /* as the protocol has it */

enum err_code status_parse_timeout(struct str text, int64_t *ret_ns, struct err *err)
{
	static const struct {
		char unit;
		int64_t ns;
	} units[] = { { 'H', 3600000000000ll }, { 'M', 60000000000ll }, { 'S', 1000000000ll },
		      { 'm', 1000000ll },	 { 'u', 1000ll },	 { 'n', 1ll } };
	int64_t value = 0;
	bool good = text.len >= 2 && text.len <= TIMEOUT_DIGITS + 1;
	for (size_t i = 0; good && i + 1 < text.len; i++) {
		good = text.data[i] >= '0' && text.data[i] <= '9';
		value = value * 10 + (text.data[i] - '0');
	}
	for (size_t i = 0; good && i < ARRAY_SIZE(units); i++)
		if (units[i].unit == text.data[text.len - 1]) {
			if (__builtin_mul_overflow(value, units[i].ns, ret_ns))
				*ret_ns = INT64_MAX;
			return ERR_OK;
		}
	return err_set(err, ERR_INVALID_ARGUMENT, "grpc-timeout is '%.*s', but must be up to 8 digits and one of H M S m u n",
		       (int)MIN(text.len, (size_t)40), text.data);
}

static size_t put(char *to, size_t at, const char *from)
{
	static const char digits[] = "0123456789ABCDEF";
	for (; *from && at + 3 <= STATUS_MESSAGE_MAX; from++) {
		unsigned char c = (unsigned char)*from;
		if (c >= ' ' && c <= '~' && c != '%') {
			to[at++] = (char)c;
			continue;
		}
		to[at++] = '%';
		to[at++] = digits[c >> 4];
		to[at++] = digits[c & 15];
	}
	return at;
}

size_t status_format_message(const struct err *err, char text[STATUS_MESSAGE_MAX + 1])
{
	size_t len = put(text, 0, err_text(err));
	if (err_hint(err)) {
		len = put(text, len, "; ");
		len = put(text, len, err_hint(err));
	}
	text[len] = '\0';
	return len;
}

const char *status_number(enum err_code code)
{
	static const char *const texts[] = { "0", "1", "2",  "3",  "4",	 "5",  "6",  "7", "8",
					     "9", "10", "11", "12", "13", "14", "15", "16" };
	return texts[(size_t)code < ARRAY_SIZE(texts) ? code : ERR_UNKNOWN];
}
