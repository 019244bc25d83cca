#include "base/roff.h"

#include <stdbool.h>
#include <stdio.h>

void roff_put(const char *text)
{
	bool line = true;
	for (const char *c = text; *c; c++) {
		if (line && (*c == '.' || *c == '\''))
			fputs("\\&", stdout);
		if (*c == '\\')
			fputs("\\e", stdout);
		else if (*c == '-')
			fputs("\\-", stdout);
		else
			fputc(*c, stdout);
		line = *c == '\n';
	}
}
