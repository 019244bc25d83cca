/* unpack and inspect: foreign files are opened before the walls go up, and read behind them. */
#include "build/command.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "build/flags.h"
#include "build/inspect.h"
#include "build/unpack.h"
#include "io/fs.h"
#include "io/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define METADATA_BYTES (64u << 20)
#define METADATA_DEPTH 512
#define INSPECT_MEMORY (2ll << 30) /* besides what is mapped */
#define UNPACK_MEMORY (1ll << 30)

static enum err_code print_line(json_t *document, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);

	if (!text || printf("%s\n", text) < 0 || fflush(stdout) != 0)
		return err_set(err, ERR_INTERNAL, "the result cannot be written");
	return ERR_OK;
}

enum err_code command_unpack(int argc, char **argv, struct err *err)
{
	struct unpack_options options = { .max_bytes = -1, .max_files = -1 };
	const char *archive = NULL;
	const struct flag flags[] = {
		{ "archive", .text = &archive, .required = true },
		{ "name", .text = &options.name, .required = true },
		{ "into", .text = &options.into, .required = true },
		{ "max-bytes", .number = &options.max_bytes, .required = true },
		{ "max-files", .number = &options.max_files, .required = true },
	};
	enum err_code code = flags_parse(argc, argv, flags, ARRAY_SIZE(flags), err);

	if (code != ERR_OK)
		return code;
	_cleanup_close_ int fd = open(archive, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "opening %s", archive);
	_cleanup_free_ char *into = realpath(options.into, NULL);
	if (!into)
		return err_errno(err, errno, "the folder to unpack into, %s", options.into);
	const struct sandbox_path paths[] = { { .outside = into, .inside = "/into", .writable = true } };
	const struct sandbox_options sandbox = {
		.paths = paths,
		.path_count = ARRAY_SIZE(paths),
		.memory_bytes = UNPACK_MEMORY,
		.file_bytes = MAX(options.max_bytes, 1),
	};
	unsigned int parts;
	code = sandbox_enter(&sandbox, &parts, err);
	if (code != ERR_OK)
		return code;
	options.archive_fd = fd;
	options.into = sandbox_path_resolve(&paths[0], parts);
	_cleanup_json_ json_t *files = NULL;
	code = unpack(&options, &files, err);
	if (code != ERR_OK)
		return code;
	fprintf(stderr, "unpacked %zu files\n", json_array_size(files));
	_cleanup_json_ json_t *result = json_pack("{s:O}", "files", files);
	return print_line(result, err);
}

static void print_notes(const json_t *found)
{
	const json_t *note;
	size_t i;

	fprintf(stderr, "found: %s (%s)\n", json_path_string(found, "servable.type"),
		json_path_string(found, "framework") ?: "framework not known");
	json_array_foreach(json_object_get(found, "notes"), i, note)
		fprintf(stderr, "note: %s\n", json_string_value(note));
}

static enum err_code write_all(int fd, const char *text, struct err *err)
{
	for (size_t len = strlen(text); len;) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "writing the result of the inspection");
		text += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
	return ERR_OK;
}

static enum err_code read_metadata(const char *path, struct buf *text, struct err *err)
{
	buf_init(text, METADATA_BYTES);
	enum err_code code = fs_read(path, text, err);
	return code == ERR_OK ? code : err_wrap(err, "the metadata");
}

enum err_code command_inspect(int argc, char **argv, struct err *err)
{
	const char *model = NULL, *metadata_path = NULL, *out = NULL, *environment = NULL;
	const struct flag flags[] = {
		{ "model", .text = &model, .required = true },
		{ "metadata", .text = &metadata_path, .required = true },
		{ "out", .text = &out, .required = true },
		{ "environment", .text = &environment },
	};
	_cleanup_json_ json_t *metadata = NULL, *found = NULL;
	struct buf text;
	enum err_code code = flags_parse(argc, argv, flags, ARRAY_SIZE(flags), err);

	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *folder = realpath(model, NULL);
	if (!folder)
		return err_errno(err, errno, "the model's folder %s", model);
	_cleanup_close_ int out_fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out_fd < 0)
		return err_errno(err, errno, "opening %s", out);
	code = read_metadata(metadata_path, &text, err);
	if (code != ERR_OK)
		return code;
	const struct sandbox_path paths[] = { { .outside = folder, .inside = "/model" } };
	const struct sandbox_options sandbox = { .paths = paths, .path_count = 1, .memory_bytes = INSPECT_MEMORY };
	unsigned int parts;
	code = sandbox_enter(&sandbox, &parts, err);
	if (code == ERR_OK)
		code = json_read(text.data ? text.data : "", text.len, METADATA_DEPTH, "metadata", &metadata, err);
	if (code == ERR_OK)
		code = inspect(sandbox_path_resolve(&paths[0], parts), metadata, &found, err);
	buf_done(&text);
	if (code != ERR_OK)
		return code;
	print_notes(found);
	_cleanup_free_ char *document = json_dumps(found, JSON_INDENT(1));
	return write_all(out_fd, document, err);
}
