#include "schedule/uploads.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SWEEP_MS 60000

struct uploads {
	struct loop *loop;
	const struct settings *settings;
	const char *data;
	struct catalog *catalog;
	struct timer *sweeper;
	char **strays; /* names in DIR/uploads at the start; owned */
};

static char *path_of(const struct uploads *uploads, const char *file)
{
	return xasprintf("%s/uploads/%s", uploads->data, file);
}

static void drop_file(void *context, const char *file)
{
	_cleanup_free_ char *path = path_of(context, file);
	if (unlink(path) != 0 && errno != ENOENT)
		log_warning("cannot remove %s: %s", path, strerror(errno));
}

/* --- life --- */

struct uploads *uploads_create(struct loop *loop, const struct settings *settings, const char *data, struct catalog *catalog)
{
	struct uploads *uploads = NEW(struct uploads);
	*uploads = (struct uploads){ .loop = loop, .settings = settings, .data = data, .catalog = catalog };
	_cleanup_free_ char *folder = path_of(uploads, "");
	uploads->strays = fs_list(folder); /* before uploads come that would look like strays */
	return uploads;
}

void uploads_destroy(struct uploads *uploads)
{
	if (!uploads)
		return;
	timer_close(uploads->sweeper);
	fs_list_free(uploads->strays);
	free(uploads);
}

struct needed_file {
	struct table_entry entry;
	char name[UPLOAD_FILE_LEN + 1];
};

static void need(void *context, const char *name)
{
	struct table *table = context;
	struct needed_file *file = NEW(struct needed_file);
	str_copy(file->name, sizeof(file->name), name);
	table_add(table, &file->entry, str_of(file->name));
}

static void free_needed(void *context, struct table_entry *entry)
{
	free(CONTAINER_OF(entry, struct needed_file, entry));
}

enum err_code uploads_recover(struct uploads *uploads, struct err *err)
{
	struct table needed;
	table_init(&needed);
	enum err_code code = catalog_uploads_each_file(uploads->catalog, need, &needed, err);
	for (char **name = uploads->strays; code == ERR_OK && *name; name++)
		if (!table_get(&needed, str_of(*name)))
			drop_file(uploads, *name);
	table_each(&needed, free_needed, NULL);
	table_done(&needed);
	return code;
}

static void run_sweep(void *context)
{
	struct uploads *uploads = context;
	struct err err = ERR_INIT;
	if (catalog_uploads_sweep(uploads->catalog, clock_wall_ms(), drop_file, uploads, &err) != ERR_OK)
		log_warning("expired blobs cannot be removed: %s", err_text(&err));
	err_done(&err);
}

static void on_sweep(void *context)
{
	struct uploads *uploads = context;
	(void)!pool_submit(uploads->loop, LANE_CATALOG, run_sweep, NULL, uploads);
}

void uploads_begin_work(struct uploads *uploads)
{
	uploads->sweeper = timer_create_on(uploads->loop, on_sweep, uploads);
	timer_start(uploads->sweeper, 0, SWEEP_MS);
}

/* --- use --- */

enum err_code uploads_put(struct uploads *uploads, const char *user, const void *data, size_t len, int64_t lifetime_ms,
			  struct upload_row *ret, struct err *err)
{
	struct digest digest;
	struct upload_row row = { .user = user, .bytes = (int64_t)len, .created_ms = clock_wall_ms() };
	char replaced[UPLOAD_FILE_LEN + 1];
	_cleanup_free_ char *name = random_hex(UPLOAD_FILE_LEN / 2), *path = path_of(uploads, name);
	sha256(data, len, &digest);
	digest_format(&digest, row.digest);
	str_copy(row.file, sizeof(row.file), name);
	row.expires_ms = row.created_ms + (lifetime_ms ?: settings_int(uploads->settings, SETTING_LIMITS_BLOB_S) * 1000);
	enum err_code code = fs_write_durable(path, data, len, 0600, err);
	if (code != ERR_OK)
		return code;
	code = catalog_upload_put(uploads->catalog, &row, settings_int(uploads->settings, SETTING_LIMITS_USER_BLOB_BYTES), replaced,
				  err);
	if (code != ERR_OK) {
		drop_file(uploads, name);
		return code;
	}
	if (*replaced)
		drop_file(uploads, replaced);
	row.user = NULL;
	*ret = row;
	return ERR_OK;
}

static enum err_code lost(const char *digest, struct err *err)
{
	err_set(err, ERR_DATA_LOSS, "blob sha256:%s is damaged: its file has another size than was sent", digest);
	return err_advise(err, "send it again with PUT /api/v1/blobs");
}

static enum err_code read_all(int fd, uint8_t *to, size_t len, const char *digest, struct err *err)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, to + at, len - at);
		if (n == 0)
			return lost(digest, err);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "reading a blob");
		at += n > 0 ? (size_t)n : 0;
	}
	return ERR_OK;
}

static enum err_code no_more(const char *digest, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "you have no blob sha256:%s any more", digest);
}

static enum err_code view(const char *path, const struct upload_row *row, const char *digest, struct file_view **ret,
			  struct err *err)
{
	struct digest content;
	struct err why = ERR_INIT;
	if (!digest_parse(digest, SHA256_HEX, &content))
		return no_more(digest, err);
	enum err_code code = file_view_open(path, (size_t)row->bytes, &content, ret, &why);
	if (code == ERR_NOT_FOUND)
		no_more(digest, err); /* it went between the two looks */
	else if (code == ERR_DATA_LOSS)
		lost(digest, err);
	else if (code != ERR_OK)
		return err_move(err, &why);
	err_done(&why);
	return code;
}

static enum err_code copy(const char *path, const struct upload_row *row, const char *digest, struct arena *arena, uint8_t **ret,
			  struct err *err)
{
	size_t len = (size_t)row->bytes;
	uint8_t *data = arena_try(arena, MAX(len, 1u));
	if (!data)
		return err_set(err, ERR_OUT_OF_RANGE, "blob sha256:%s of %zu bytes does not fit a run (limits.body_bytes)", digest, len);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? no_more(digest, err) : err_errno(err, errno, "%s", path);
	*ret = data;
	return read_all(fd, data, len, digest, err);
}

enum err_code uploads_read(struct uploads *uploads, const char *user, const char *digest, struct arena *arena,
			   struct file_view **ret_file, uint8_t **ret, size_t *ret_len, struct err *err)
{
	struct upload_row row;
	enum err_code code = catalog_upload_get(uploads->catalog, user, digest, clock_wall_ms(), &row, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = path_of(uploads, row.file);
	*ret_len = (size_t)row.bytes;
	if (!ret_file || row.bytes < UPLOAD_VIEW_BYTES)
		return copy(path, &row, digest, arena, ret, err);
	code = view(path, &row, digest, ret_file, err);
	if (code == ERR_OK)
		*ret = (*ret_file)->data;
	return code;
}

enum err_code uploads_remove(struct uploads *uploads, const char *user, const char *digest, struct err *err)
{
	char file[UPLOAD_FILE_LEN + 1];
	enum err_code code = catalog_upload_remove(uploads->catalog, user, digest, file, err);
	if (code == ERR_OK)
		drop_file(uploads, file);
	return code;
}
