#include "site/pull.h"

#include "base/alloc.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ASKED_MAX 16 /* pieces under way */

struct pull_file {
	struct digest digest;
	int64_t bytes; /* -1: not known before its first piece */
	uint64_t asked; /* up to here */
	int64_t written; /* on the pool */
	int fd;
};

struct piece {
	struct piece *next;
	size_t file;
	uint64_t offset;
	size_t len;
	uint8_t data[];
};

struct pull {
	struct pull_options options;
	char *folder;
	struct pull_file *files;
	size_t count, capacity;
	size_t next; /* the file that is asked for */
	struct {
		size_t file;
		uint64_t offset;
	} asked[ASKED_MAX];
	size_t asked_count;
	struct piece *pieces, **last; /* that came and wait for the pool */
	struct piece *writing;
	size_t whole; /* files in the store */
	bool busy, dropped, told;
	struct err err;
};

struct pull *pull_create(const struct pull_options *options)
{
	struct pull *pull = NEW(struct pull);
	pull->options = *options;
	pull->folder = xstrdup(options->folder);
	pull->last = &pull->pieces;
	return pull;
}

void pull_add(struct pull *pull, const struct digest *digest, int64_t bytes)
{
	for (size_t i = 0; i < pull->count; i++)
		if (digest_eq(&pull->files[i].digest, digest))
			return;
	if (pull->count == pull->capacity) {
		pull->capacity = MAX(pull->capacity * 2, 16u);
		pull->files = xrealloc(pull->files, pull->capacity * sizeof(*pull->files));
	}
	pull->files[pull->count++] = (struct pull_file){ .digest = *digest, .bytes = bytes, .fd = -1 };
}

static char *path_of(const struct pull *pull, const struct pull_file *file)
{
	char hex[SHA256_HEX + 1];
	digest_format(&file->digest, hex);
	return xasprintf("%s/%s-%p", pull->folder, hex, (const void *)pull);
}

static void free_pieces(struct piece *piece)
{
	for (struct piece *next; piece; piece = next) {
		next = piece->next;
		free(piece);
	}
}

static void pull_free(struct pull *pull)
{
	for (size_t i = 0; i < pull->count; i++)
		if (pull->files[i].fd >= 0) {
			_cleanup_free_ char *path = path_of(pull, &pull->files[i]);
			close(pull->files[i].fd);
			unlink(path);
		}
	free_pieces(pull->pieces);
	err_done(&pull->err);
	free(pull->files);
	free(pull->folder);
	free(pull);
}

void pull_drop(struct pull *pull)
{
	if (!pull)
		return;
	pull->dropped = true;
	if (!pull->busy)
		pull_free(pull);
}

/* --- asking --- */

static void ask(struct pull *pull, size_t slot)
{
	pull->options.fetch(pull->options.context, &pull->files[pull->asked[slot].file].digest, pull->asked[slot].offset);
}

/* The next piece that nobody asked for yet. false: there is none, or it is not known before the first one came. */
static bool next_piece(struct pull *pull, size_t *ret_file, uint64_t *ret_offset)
{
	while (pull->next < pull->count) {
		struct pull_file *file = &pull->files[pull->next];
		bool first = file->asked == 0;
		if (!first && file->bytes < 0)
			return false;
		if (first || file->asked < (uint64_t)file->bytes) {
			*ret_file = pull->next;
			*ret_offset = file->asked;
			file->asked += SITE_FETCH_BYTES;
			return true;
		}
		pull->next++;
	}
	return false;
}

static void ask_more(struct pull *pull)
{
	size_t file;
	uint64_t offset;
	while (pull->asked_count < ASKED_MAX && next_piece(pull, &file, &offset)) {
		pull->asked[pull->asked_count].file = file;
		pull->asked[pull->asked_count].offset = offset;
		ask(pull, pull->asked_count++);
	}
}

void pull_again(struct pull *pull)
{
	for (size_t i = 0; i < pull->asked_count; i++)
		ask(pull, i);
}

/* --- writing, on the pool --- */

static enum err_code finish(struct pull *pull, struct pull_file *file, struct err *err)
{
	_cleanup_free_ char *path = path_of(pull, file);
	struct digest digest;
	int64_t bytes;
	close(TAKE_FD(file->fd));
	enum err_code code = blob_put_file(pull->options.blobs, path, &digest, &bytes, err);
	unlink(path);
	if (code == ERR_OK && !digest_eq(&digest, &file->digest))
		code = err_set(err, ERR_DATA_LOSS, "an artifact came from the hub with another content than its digest says");
	return code;
}

static enum err_code write_piece(struct pull *pull, const struct piece *piece, struct err *err)
{
	struct pull_file *file = &pull->files[piece->file];
	if (file->fd < 0) {
		_cleanup_free_ char *path = path_of(pull, file);
		file->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (file->fd < 0)
			return err_errno(err, errno, "making %s", path);
	}
	for (size_t at = 0; at < piece->len;) {
		ssize_t n = pwrite(file->fd, piece->data + at, piece->len - at, (off_t)(piece->offset + at));
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "storing an artifact");
		at += n > 0 ? (size_t)n : 0;
	}
	file->written += (int64_t)piece->len;
	if (file->written < file->bytes)
		return ERR_OK;
	pull->whole++;
	return finish(pull, file, err);
}

static void write_pieces(void *context)
{
	struct pull *pull = context;
	for (struct piece *piece = pull->writing; piece && pull->err.code == ERR_OK; piece = piece->next)
		(void)!write_piece(pull, piece, &pull->err);
	free_pieces(TAKE(pull->writing));
}

static void go_on(struct pull *pull);

static void pieces_written(void *context)
{
	struct pull *pull = context;
	pull->busy = false;
	if (pull->dropped)
		pull_free(pull);
	else
		go_on(pull);
}

static void on_end(void *context)
{
	struct pull *pull = context;
	pull->busy = false;
	if (pull->dropped)
		pull_free(pull);
	else
		pull->options.on_done(pull->options.context, &pull->err);
}

static void go_on(struct pull *pull)
{
	if (pull->busy || pull->told)
		return;
	pull->busy = true;
	if (pull->err.code != ERR_OK || pull->whole == pull->count) {
		pull->told = true;
		loop_post(pull->options.loop, on_end, pull);
	} else if (pull->pieces) {
		pull->writing = TAKE(pull->pieces);
		pull->last = &pull->pieces;
		if (pool_submit(pull->options.loop, LANE_DISK, write_pieces, pieces_written, pull))
			return;
		free_pieces(TAKE(pull->writing));
		err_set(&pull->err, ERR_UNAVAILABLE, "the site's disk has too much to do");
		pull->busy = false;
		go_on(pull);
	} else {
		pull->busy = false;
	}
}

void pull_start(struct pull *pull)
{
	ask_more(pull);
	go_on(pull);
}

bool pull_take(struct pull *pull, const struct site_piece *piece, uint64_t offset, const uint8_t *data, size_t len)
{
	size_t i = 0;
	while (i < pull->asked_count &&
	       (pull->asked[i].offset != offset ||
		memcmp(pull->files[pull->asked[i].file].digest.bytes, piece->digest, SITE_DIGEST_BYTES) != 0))
		i++;
	if (i == pull->asked_count)
		return false;
	size_t index = pull->asked[i].file;
	struct pull_file *file = &pull->files[index];
	pull->asked[i] = pull->asked[--pull->asked_count];
	if (data && file->bytes < 0)
		file->bytes = (int64_t)MIN(piece->total, (uint64_t)INT64_MAX);
	if (!data)
		err_set(&pull->err, ERR_NOT_FOUND, "the hub has an artifact of this version no more");
	else if (piece->total != (uint64_t)file->bytes || len != MIN(SITE_FETCH_BYTES, piece->total - MIN(offset, piece->total)))
		err_set(&pull->err, ERR_DATA_LOSS, "an artifact came from the hub with another length than its manifest says");
	if (pull->err.code == ERR_OK) {
		struct piece *taken = xmalloc(sizeof(*taken) + len);
		*taken = (struct piece){ NULL, index, offset, len };
		if (len)
			memcpy(taken->data, data, len);
		*pull->last = taken;
		pull->last = &taken->next;
		ask_more(pull);
	}
	go_on(pull);
	return true;
}
