#include "wire/sink.h"

bool sink_put_json_string(struct sink *sink, struct str text)
{
	static const char hex[] = "0123456789abcdef";
	if (!sink_reserve(sink, text.len + 2))
		return false;
	bool ok = sink_put(sink, "\"", 1);
	size_t plain = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		char escape[6] = { '\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15] };
		if (c < 0x20)
			escape[1] = 'u';
		ok = ok && sink_put(sink, text.data + plain, i - plain) && sink_put(sink, escape, c < 0x20 ? 6 : 2);
		plain = i + 1;
	}
	return ok && sink_put(sink, text.data + plain, text.len - plain) && sink_put(sink, "\"", 1);
}
