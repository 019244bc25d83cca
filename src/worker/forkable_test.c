#include "worker/forkable.h"

#include "base/alloc.h"
#include "base/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/dlhub-forkable-XXXXXX";
static struct forkable forkable;

static enum err_code check(struct err *err)
{
	forkable.file_count = 0;
	return forkable_check(&forkable, err);
}

static void assert_refused(const char *words)
{
	struct err err = ERR_INIT;
	assert_int_equal(check(&err), ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(err_text(&err), words));
	err_done(&err);
}

static int begin(void **state)
{
	static bool made;
	if (!made) {
		int fd = mkstemp(path);
		assert_int_equal(write(fd, "abcdefgh", 8), 8);
		close(fd);
		made = true;
	}
	assert_int_equal(forkable_begin(&forkable, NULL), ERR_OK);
	return 0;
}

static int end(void **state)
{
	return unlink(path);
}

static void test_plain(void **state)
{
	int null = open("/dev/null", O_RDWR), folder = open("/tmp", O_RDONLY | O_DIRECTORY);
	assert_int_equal(check(NULL), ERR_OK);
	close(null);
	close(folder);
}

static void test_descriptors(void **state)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_refused("a socket");
	/* what was there before is the worker's own, under the same number only */
	assert_int_equal(forkable_begin(&forkable, NULL), ERR_OK);
	assert_int_equal(check(NULL), ERR_OK);
	close(pair[1]);
	assert_int_equal(pipe(pair), 0); /* now another thing has that number */
	assert_refused("a pipe");
	close(pair[0]);
	close(pair[1]);
	int epoll = epoll_create1(0);
	assert_refused("an event descriptor");
	close(epoll);
	int file = open(path, O_RDWR);
	assert_refused("for writing");
	close(file);
}

static void test_shared_memory(void **state)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_refused("would share");
	munmap(memory, 4096);
	memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(check(NULL), ERR_OK);
	munmap(memory, 4096);
}

static void *wait_for_byte(void *context)
{
	char byte;
	assert_int_equal(read(*(int *)context, &byte, 1), 0);
	return NULL;
}

static void test_threads(void **state)
{
	int ends[2];
	pthread_t thread;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_byte, &ends[0]), 0);
	assert_refused("it has 2 threads");
	close(ends[1]);
	pthread_join(thread, NULL);
	close(ends[0]);
}

static void test_children(void **state)
{
	int ends[2];
	char byte;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(ends[0]);
	assert_refused("child processes");
	close(ends[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Each worker reads where the servable stood when it was loaded, whatever its siblings have read. */
static void test_files(void **state)
{
	char text[3] = "";
	int file = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(file, text, 2), 2);
	assert_int_equal(check(NULL), ERR_OK);
	assert_int_equal(forkable.file_count, 1);
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(forkable_restore(&forkable, NULL) == ERR_OK && read(file, text, 2) == 2 &&
					      strcmp(text, "cd") == 0 && fcntl(file, F_GETFD) == FD_CLOEXEC ?
				      0 :
				      1);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	assert_int_equal(lseek(file, 0, SEEK_CUR), 2);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_plain, begin),   cmocka_unit_test_setup(test_descriptors, begin),
		cmocka_unit_test_setup(test_shared_memory, begin), cmocka_unit_test_setup(test_threads, begin),
		cmocka_unit_test_setup(test_children, begin), cmocka_unit_test_setup(test_files, begin),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, end);
}
