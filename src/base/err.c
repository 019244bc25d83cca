#include "base/err.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>

static char *format(const char *fmt, va_list args)
{
	char *text;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

static enum err_code put(struct err *err, enum err_code code, char *text)
{
	if (!err) {
		free(text);
		return code;
	}
	err_done(err);
	err->code = code;
	err->text = text;
	return code;
}

enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	char *text = format(fmt, args);
	va_end(args);
	return put(err, code, text);
}

static enum err_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return ERR_RESOURCE_EXHAUSTED;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_ALREADY_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_PERMISSION_DENIED;
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
		return ERR_UNAVAILABLE;
	default:
		return ERR_INTERNAL;
	}
}

enum err_code err_errno(struct err *err, int errnum, const char *fmt, ...)
{
	enum err_code code = code_of_errno(errnum);
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = format(fmt, args);
	va_end(args);
	return put(err, code, xasprintf("%s: %s", text, strerrordesc_np(errnum) ?: "unknown error"));
}

enum err_code err_wrap(struct err *err, const char *fmt, ...)
{
	if (!err)
		return ERR_UNKNOWN;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = format(fmt, args);
	va_end(args);
	char *whole = xasprintf("%s: %s", text, err_text(err));
	free(err->text);
	err->text = whole;
	return err->code;
}

enum err_code err_advise(struct err *err, const char *fmt, ...)
{
	if (!err)
		return ERR_UNKNOWN;
	va_list args;
	va_start(args, fmt);
	free(err->hint);
	err->hint = format(fmt, args);
	va_end(args);
	return err->code;
}

enum err_code err_copy(struct err *to, const struct err *from)
{
	if (!to)
		return from->code;
	err_done(to);
	to->code = from->code;
	to->text = from->text ? xstrdup(from->text) : NULL;
	to->hint = from->hint ? xstrdup(from->hint) : NULL;
	to->retry_ms = from->retry_ms;
	return to->code;
}

enum err_code err_move(struct err *to, struct err *from)
{
	enum err_code code = from->code;
	if (!to) {
		err_done(from);
		return code;
	}
	err_done(to);
	*to = *from;
	*from = ERR_INIT;
	return code;
}

void err_done(struct err *err)
{
	if (!err)
		return;
	free(err->text);
	free(err->hint);
	*err = ERR_INIT;
}

const char *err_text(const struct err *err)
{
	return err->text ? err->text : err_code_name(err->code);
}

const char *err_hint(const struct err *err)
{
	return err->hint;
}

static const struct {
	const char *name;
	int http, exit;
	bool retry;
} table[] = {
#define ROW(name, grpc, http, exit, retry) [grpc] = { #name, http, exit, retry },
	ERR_TABLE(ROW)
#undef ROW
};

static size_t index_of(enum err_code code)
{
	return (size_t)code < ARRAY_SIZE(table) ? (size_t)code : ERR_UNKNOWN;
}

const char *err_code_name(enum err_code code)
{
	return table[index_of(code)].name;
}

int err_code_http(enum err_code code)
{
	return table[index_of(code)].http;
}

int err_code_exit(enum err_code code)
{
	return table[index_of(code)].exit;
}

bool err_code_retryable(enum err_code code)
{
	return table[index_of(code)].retry;
}

enum err_code err_code_of_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return (enum err_code)i;
	return ERR_UNKNOWN;
}
