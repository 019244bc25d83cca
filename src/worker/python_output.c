#include "worker/python_output.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_KEPT_FD 10
#define LOG_LINE_MAX 1000

/* Puts a new memory file behind a stream; the old one is closed. */
static enum err_code redirect(struct python_output *output, int i, struct err *err)
{
	_cleanup_close_ int fd = memfd_create(i == 0 ? "stdout" : "stderr", MFD_CLOEXEC);

	/* Append: the next byte goes to the start again after the file was emptied. */
	if (fd < 0 || fcntl(fd, F_SETFL, O_APPEND) != 0 || dup2(fd, STDOUT_FILENO + i) < 0)
		return err_errno(err, errno, "redirecting the servable's %s", i == 0 ? "stdout" : "stderr");
	if (output->fd[i] >= 0)
		close(output->fd[i]);
	output->fd[i] = TAKE_FD(fd);
	return ERR_OK;
}

enum err_code python_output_init(struct python_output *output, struct err *err)
{
	enum err_code code = ERR_OK;

	*output = (struct python_output){ .fd = { -1, -1 }, .kept_stderr = -1 };
	output->kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FIRST_KEPT_FD);
	for (int i = 0; code == ERR_OK && i < 2; i++) {
		buf_init(&output->text[i], OUTPUT_CAPTURE_MAX + 256);
		code = redirect(output, i, err);
	}
	return code;
}

enum err_code python_output_fork(struct python_output *output, struct err *err)
{
	enum err_code code = redirect(output, 0, err);

	return code == ERR_OK ? redirect(output, 1, err) : code;
}

static bool take_stream(int fd, struct buf *text)
{
	struct stat info;

	buf_clear(text);
	if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0)
		return false;
	size_t len = MIN((size_t)info.st_size, (size_t)OUTPUT_CAPTURE_MAX);
	char *to = buf_reserve(text, len);
	ssize_t got = to ? pread(fd, to, len, 0) : 0;

	if (got > 0)
		buf_advance(text, (size_t)got);
	if ((size_t)info.st_size > len)
		buf_printf(text, "\n(cut: %lld bytes were printed, the first %zu are here)\n", (long long)info.st_size, len);
	return ftruncate(fd, 0) == 0;
}

bool python_output_take(struct python_output *output)
{
	bool out = take_stream(output->fd[0], &output->text[0]);
	bool error = take_stream(output->fd[1], &output->text[1]);

	return out || error;
}

static void log_stream(const struct buf *text, const char *stream, struct worker_loop *loop)
{
	size_t end = MIN(text->len, (size_t)OUTPUT_LOG_MAX);

	for (size_t at = 0; at < end;) {
		const char *line = text->data + at;
		const char *newline = memchr(line, '\n', end - at);
		size_t len = newline ? (size_t)(newline - line) : end - at;

		at += len + 1;
		if (len > 0)
			worker_log(loop, "%s: %.*s", stream, (int)MIN(len, (size_t)LOG_LINE_MAX), line);
	}
	if (text->len > end)
		worker_log(loop, "%s: (%zu more bytes of this run are not logged)", stream, text->len - end);
}

void python_output_log(struct python_output *output, struct worker_loop *loop)
{
	log_stream(&output->text[0], "stdout", loop);
	log_stream(&output->text[1], "stderr", loop);
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t put = write(fd, data, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return;
		data += put;
		len -= (size_t)put;
	}
}

void python_output_done(struct python_output *output)
{
	python_output_take(output);
	for (int i = 0; i < 2; i++) {
		if (output->kept_stderr >= 0 && output->text[i].len > 0)
			write_all(output->kept_stderr, output->text[i].data, output->text[i].len);
		buf_done(&output->text[i]);
		if (output->fd[i] >= 0)
			close(output->fd[i]);
		output->fd[i] = -1;
	}
	if (output->kept_stderr >= 0) {
		dup2(output->kept_stderr, STDERR_FILENO);
		close(output->kept_stderr);
		output->kept_stderr = -1;
	}
}
