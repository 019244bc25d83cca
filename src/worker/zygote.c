#include "worker/zygote.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/sandbox.h"
#include "worker/forkable.h"
#include "worker/loop_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a servable may start beside its workers, and what each worker may have: a native one has three threads. */
#define PROCESSES_BESIDE 256
#define PROCESSES_EACH 16
#define TMP_BYTES_EACH (64ll << 20) /* as a worker that was started has */

struct child {
	pid_t pid;
	uint64_t run; /* the hub's name for it */
};

struct zygote {
	const struct worker_shim *shim;
	struct worker_loop *loop; /* the control socket */
	struct forkable forkable;
	struct child *children;
	size_t count, capacity;
	sigset_t mask, waiting; /* as the servable left it; the same with SIGCHLD let through */
	struct sigaction on_child; /* as the servable left it */
};

static void on_sigchld(int signum)
{
}

/* SIGCHLD is heard while the zygote waits, and only then. */
static void hear_children(struct zygote *zygote)
{
	const struct sigaction heard = { .sa_handler = on_sigchld };
	sigset_t blocked;
	sigaction(SIGCHLD, &heard, &zygote->on_child);
	sigprocmask(SIG_SETMASK, NULL, &zygote->mask);
	blocked = zygote->waiting = zygote->mask;
	sigdelset(&zygote->waiting, SIGCHLD);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void unhear_children(const struct zygote *zygote)
{
	sigaction(SIGCHLD, &zygote->on_child, NULL);
	sigprocmask(SIG_SETMASK, &zygote->mask, NULL);
}

/* --- towards the hub --- */

static enum err_code refuse(struct zygote *zygote, uint64_t run, const char *reason, struct err *err)
{
	struct frame_header header = { .type = FRAME_REFUSED, .run = run, .length = (uint32_t)strlen(reason) };
	/* A failure leaves out.overflowed set, which loop_flush() reports. */
	(void)frame_encode(&zygote->loop->out, &header, reason);
	return loop_flush(zygote->loop, err);
}

static enum err_code tell_forked(struct zygote *zygote, uint64_t run, int pidfd, struct err *err)
{
	struct frame_header header = { .type = FRAME_FORKED, .run = run };
	return loop_send_frame(zygote->loop, &header, NULL, pidfd, err);
}

static enum err_code tell_exited(struct zygote *zygote, uint64_t run, int status, struct err *err)
{
	struct exited_frame frame = { .status = status };
	struct frame_header header = { .type = FRAME_EXITED, .run = run, .length = sizeof(frame) };
	return loop_send_frame(zygote->loop, &header, &frame, -1, err);
}

/* --- workers --- */

/* In the new process. What it must not share is given up before the servable's code runs in it. */
static void become_worker(struct zygote *zygote, pid_t parent, int socket)
{
	struct err err = ERR_INIT;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)
		_exit(1);
	setsid();
	unhear_children(zygote);
	loop_destroy(TAKE(zygote->loop)); /* closes the control socket */
	if (dup3(socket, WORKER_SOCKET, O_CLOEXEC) < 0)
		_exit(1);
	close(socket);
	sandbox_divide();
	enum err_code code = forkable_restore(&zygote->forkable, &err);
	if (code == ERR_OK && zygote->shim->forked)
		code = zygote->shim->forked(zygote->shim->context, &err);
	if (code != ERR_OK) {
		log_error("worker: %s", err_text(&err));
		_exit(err_code_exit(code));
	}
	free(TAKE(zygote->children));
}

/* What it left in its process group ends with it; it is reaped after that, so that the group's number is still its own. */
static bool reap(pid_t pid, int *ret_status)
{
	siginfo_t info = { 0 };
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != pid)
		return false;
	kill(-pid, SIGKILL);
	return waitpid(pid, ret_status, 0) == pid;
}

static enum err_code reap_all(struct zygote *zygote, struct err *err)
{
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < zygote->count;) {
		int status;
		if (!reap(zygote->children[i].pid, &status)) {
			i++;
			continue;
		}
		uint64_t run = zygote->children[i].run;
		if (zygote->shim->ended)
			zygote->shim->ended(zygote->shim->context, zygote->children[i].pid);
		zygote->children[i] = zygote->children[--zygote->count];
		code = tell_exited(zygote, run, status, err);
	}
	return code;
}

static void add_child(struct zygote *zygote, pid_t pid, uint64_t run)
{
	if (zygote->count == zygote->capacity) {
		zygote->capacity = zygote->capacity ? zygote->capacity * 2 : 16;
		zygote->children = xrealloc(zygote->children, zygote->capacity * sizeof(*zygote->children));
	}
	zygote->children[zygote->count++] = (struct child){ pid, run };
}

/* Takes `socket`. *ret_forked: this is the worker. */
static enum err_code fork_one(struct zygote *zygote, uint64_t run, int socket, bool *ret_forked, struct err *err)
{
	_cleanup_close_ int owned = socket;
	const struct worker_shim *shim = zygote->shim;
	pid_t parent = getpid();
	pid_t pid = shim->fork ? shim->fork(shim->context) : fork();
	if (pid == 0) {
		become_worker(zygote, parent, TAKE_FD(owned));
		*ret_forked = true;
		return ERR_OK;
	}
	if (pid < 0)
		return refuse(zygote, run, strerrordesc_np(errno) ?: "fork failed", err);
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		const char *reason = strerrordesc_np(errno) ?: "pidfd_open failed";
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return refuse(zygote, run, reason, err);
	}
	add_child(zygote, pid, run);
	return tell_forked(zygote, run, pidfd, err);
}

/* --- the control socket --- */

static enum err_code on_frames(struct zygote *zygote, bool *ret_forked, struct err *err)
{
	struct inbox *inbox = &zygote->loop->inbox;
	struct frame_header header;
	const uint8_t *payload;
	enum err_code code = ERR_OK;
	int found = 0;
	while (code == ERR_OK && !*ret_forked && (found = inbox_scan(inbox, &header, &payload)) > 0) {
		(void)inbox_next(inbox, &header, &payload);
		if (header.type != FRAME_FORK)
			return err_set(err, ERR_INVALID_ARGUMENT, "a frame of type %u, which is not the hub's to send to a zygote",
				       header.type);
		int socket = passed_fds_take(&inbox->fds);
		if (socket < 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "FORK came without its descriptor");
		code = fork_one(zygote, header.run, socket, ret_forked, err);
	}
	return code == ERR_OK && found < 0 ? err_set(err, ERR_INVALID_ARGUMENT, "what came from the hub is no frame") : code;
}

static enum err_code serve(struct zygote *zygote, bool *ret_forked, struct err *err)
{
	enum err_code code = ERR_OK;
	while (code == ERR_OK && !*ret_forked) {
		struct pollfd at = { .fd = zygote->loop->inbox.fd, .events = POLLIN };
		int ready = ppoll(&at, 1, NULL, &zygote->waiting);
		if (ready < 0 && errno != EINTR)
			return err_errno(err, errno, "waiting for the hub");
		code = reap_all(zygote, err);
		if (code != ERR_OK || ready <= 0)
			continue;
		code = inbox_receive(&zygote->loop->inbox, err);
		if (code == ERR_OK)
			code = on_frames(zygote, ret_forked, err);
		else if (code == ERR_CANCELLED)
			code = ERR_OK;
	}
	return code;
}

/* Loads, and says READY or why there will be no workers. */
static enum err_code load(struct zygote *zygote, struct err *err)
{
	enum err_code code = forkable_begin(&zygote->forkable, err);
	if (code != ERR_OK)
		return code;
	code = loop_load(zygote->loop, zygote->shim->prepare, err);
	if (code != ERR_OK)
		return code;
	struct err unsafe = ERR_INIT;
	code = forkable_check(&zygote->forkable, &unsafe);
	if (code == ERR_OK && zygote->shim->may_fork)
		code = zygote->shim->may_fork(zygote->shim->context, &unsafe);
	if (code == ERR_OK)
		return loop_say_ready(zygote->loop, err);
	code = refuse(zygote, 0, err_text(&unsafe), err);
	err_done(&unsafe);
	return code != ERR_OK ? code : err_set(err, ERR_UNAVAILABLE, "its servable cannot be forked");
}

int64_t zygote_tmp_bytes(int64_t workers)
{
	return workers ? TMP_BYTES_EACH * workers : 0;
}

int64_t zygote_processes(int64_t workers)
{
	return workers ? PROCESSES_BESIDE + PROCESSES_EACH * workers : 0;
}

bool zygote_run(int fd, const struct worker_shim *shim, const struct worker_options *options, int *ret_status)
{
	struct zygote *zygote = NEW(struct zygote);
	struct err err = ERR_INIT;
	bool forked = false;
	zygote->shim = shim;
	zygote->loop = loop_create(fd, shim, options);

	enum err_code code = load(zygote, &err);
	bool loading = code != ERR_OK;
	if (!loading) {
		hear_children(zygote);
		code = serve(zygote, &forked, &err);
	}
	if (!forked)
		*ret_status = loop_end(TAKE(zygote->loop), loading, &err);
	err_done(&err);
	free(zygote->children);
	free(zygote);
	return forked;
}
