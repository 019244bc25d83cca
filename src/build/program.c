#include "build/program.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM_LINE_MAX 8192

static void program_child(const char *const *argv, const char *const *environment, int out)
{
	int in = open("/dev/null", O_RDONLY);

	if (in >= 0)
		dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	execve(argv[0], (char *const *)argv, (char *const *)environment);
	dprintf(2, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Gives the whole lines of `text` away; at the end or where one is too long also what is no whole line. */
static void program_lines(struct buf *text, bool end, program_line_fn on_line, void *context)
{
	char *newline;

	while (text->len && (newline = memchr(text->data, '\n', text->len))) {
		*newline = '\0';
		on_line(context, text->data);
		buf_consume(text, (size_t)(newline - text->data) + 1);
	}
	if (text->len && (end || text->len >= PROGRAM_LINE_MAX)) {
		on_line(context, text->data);
		buf_clear(text);
	}
}

enum err_code program_run(const char *const *argv, const char *const *environment, program_line_fn on_line, void *context,
			  int *ret_status, struct err *err)
{
	int ends[2];
	struct buf text;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_errno(err, errno, "a pipe for %s", argv[0]);
	pid_t child = fork();
	if (child == 0)
		program_child(argv, environment, ends[1]);
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return err_errno(err, errno, "starting %s", argv[0]);
	}
	buf_init(&text, 2 * PROGRAM_LINE_MAX);
	for (;;) {
		char *to = buf_reserve(&text, PROGRAM_LINE_MAX);
		ssize_t n = to ? read(ends[0], to, PROGRAM_LINE_MAX) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_advance(&text, (size_t)n);
		program_lines(&text, false, on_line, context);
	}
	program_lines(&text, true, on_line, context);
	buf_done(&text);
	close(ends[0]);
	while (waitpid(child, ret_status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, errno, "waiting for %s", argv[0]);
	return ERR_OK;
}
