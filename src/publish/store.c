/* From unpacked files to a version: blobs, the canonical manifest, its digest, and the tree that workers see. */
#include "publish/steps.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "io/fs.h"

#include <errno.h>
#include <sys/stat.h>

struct walk {
	struct job *job;
	const char *root;
	json_t *files; /* [{"path","bytes","sha256"}] of what was stored */
};

static enum err_code store_file(void *context, const char *relative, int64_t bytes, struct err *err)
{
	struct walk *walk = context;
	_cleanup_free_ char *path = xasprintf("%s/%s", walk->root, relative);
	struct digest digest;
	char hex[SHA256_HEX + 1];
	int64_t stored;
	enum err_code code = blob_put_file(walk->job->publisher->parts.blobs, path, &digest, &stored, err);
	if (code != ERR_OK)
		return err_wrap(err, "storing %s", relative);
	digest_format(&digest, hex);
	json_t *file = json_pack("{s:s, s:I, s:s}", "path", relative, "bytes", (json_int_t)stored, "sha256", hex);
	return file && json_array_append_new(walk->files, file) == 0 ?
		       ERR_OK :
		       err_set(err, ERR_INVALID_ARGUMENT, "a file's name is not UTF-8");
}

/* Hard links of the files' blobs at `final`. A tree that is there is whole: it was renamed into place. */
static enum err_code make_tree(struct job *job, const json_t *files, const char *final, struct err *err)
{
	_cleanup_free_ char *draft = job_path(job, "tree"), *parent = xstrdup(final);
	if (fs_exists(final))
		return ERR_OK;
	enum err_code code = fs_remove_tree(draft, err);
	if (code == ERR_OK)
		code = fs_mkdirs(draft, err);
	const json_t *file;
	size_t i;
	json_array_foreach(files, i, file) {
		if (code != ERR_OK)
			return code;
		_cleanup_free_ char *path = xasprintf("%s/%s", draft, json_path_string(file, "path"));
		const char *text = json_path_string(file, "sha256");
		struct digest digest;
		char *slash = strrchr(path, '/');
		*slash = '\0';
		code = fs_mkdirs(path, err);
		*slash = '/';
		if (code == ERR_OK && digest_parse(text, strlen(text), &digest))
			code = blob_link(job->publisher->parts.blobs, &digest, path, err);
	}
	if (code != ERR_OK)
		return code;
	*strrchr(parent, '/') = '\0';
	code = fs_mkdirs(parent, err);
	if (code != ERR_OK)
		return code;
	if (rename(draft, final) != 0 && errno != EEXIST && errno != ENOTEMPTY)
		return err_errno(err, errno, "cannot put %s in its place", final);
	return fs_sync_dir(parent, err);
}

static bool has_file(const json_t *files, const char *path)
{
	const json_t *file;
	size_t i;
	json_array_foreach(files, i, file)
		if (strcmp(json_path_string(file, "path"), path) == 0)
			return true;
	return false;
}

/* A manifest beside the version's own, as a blob: whoever runs the version elsewhere finds by it what an engine needs. */
static enum err_code put_manifest(struct job *job, const json_t *manifest, char *ret_hex, struct err *err)
{
	_cleanup_free_ char *text = json_canonical(manifest);
	struct digest digest;
	enum err_code code = blob_put(job->publisher->parts.blobs, text, strlen(text), &digest, err);
	if (code == ERR_OK)
		digest_format(&digest, ret_hex);
	return code;
}

/* What the framework exported lies beside the version and under its own digest: another export of the same version may
 * differ. job->exported is how the native worker runs it (publish/engines.h, "run"). */
static enum err_code store_export(struct job *job, struct err *err)
{
	if (!json_path(job->inspected, "export.files"))
		return ERR_OK;
	_cleanup_free_ char *root = job_path(job, "exported");
	_cleanup_json_ json_t *content = json_array(), *manifest = json_pack("{s:O}", "files", content);
	struct walk walk = { job, root, content };
	enum err_code code = fs_each_file(root, store_file, &walk, err);
	if (code != ERR_OK)
		return code;
	json_t *files = has_file(content, "model.onnx")	    ? json_pack("{s:s}", "model", "model.onnx") :
			has_file(content, "saved_model.pb") ? json_pack("{s:[s]}", "other", "saved_model.pb") :
							      NULL;
	if (!files) {
		json_object_set_new(job->inspected, "export", json_pack("{s:s}", "reason", "its framework exported no model"));
		return ERR_OK;
	}
	char hex[SHA256_HEX + 1];
	code = put_manifest(job, manifest, hex, err);
	if (code != ERR_OK) {
		json_decref(files);
		return code;
	}
	json_decref(job->exported);
	job->exported = json_pack("{s:s, s:s, s:b, s:o, s:O}", "program", "native", "manifest", hex, "derived", true, "files", files,
				  "content", content);
	_cleanup_free_ char *final = xasprintf("%s/derived/%s/%s", job->publisher->parts.data, job->row.digest, hex);
	return make_tree(job, content, final, err);
}

/* The framework's environment that is there to compare engines, and is no part of the version. */
static enum err_code store_comparison(struct job *job, struct err *err)
{
	job->compared[0] = '\0';
	if (!*job->environment || !job_native_reads_files(job))
		return ERR_OK;
	_cleanup_json_ json_t *manifest = json_pack("{s:O, s:O?}", "files", job->files, "environment", job->lock);
	return put_manifest(job, manifest, job->compared, err);
}

static enum err_code store_version(struct job *job, struct err *err)
{
	_cleanup_free_ char *root = xasprintf("%s/files", job->folder);
	json_decref(job->files);
	job->files = json_array();
	struct walk walk = { job, root, job->files };
	enum err_code code = fs_each_file(root, store_file, &walk, err);
	if (code != ERR_OK)
		return code;
	json_t *servable = json_object_get(job->inspected, "servable");
	_cleanup_json_ json_t *manifest = json_pack("{s:O, s:O, s:O?}", "files", job->files, "servable", servable, "environment",
						    job_native_reads_files(job) ? NULL : job->lock);
	_cleanup_json_ json_t *description = json_object();
	json_object_set(description, "datacite", json_object_get(job->metadata.document, "datacite"));
	json_object_set(description, "dlhub", json_object_get(job->metadata.document, "dlhub"));
	struct version_row *row = &job->row;
	_cleanup_free_ char *access = access_list_format(&job->metadata.access);
	version_row_done(row);
	*row = (struct version_row){ .owner = xstrdup(job->metadata.owner),
				     .name = xstrdup(job->metadata.name),
				     .manifest = json_canonical(manifest),
				     .description = json_canonical(description),
				     .servable = json_canonical(servable),
				     .serving = xstrdup("{}"), /* until an engine is chosen */
				     .publisher = xstrdup(job->user),
				     .published_ms = clock_wall_ms() };
	struct digest digest;
	/* A blob like the files that it names: a site asks for it by the version's digest. */
	code = blob_put(job->publisher->parts.blobs, row->manifest, strlen(row->manifest), &digest, err);
	if (code != ERR_OK)
		return err_wrap(err, "storing the manifest");
	digest_format(&digest, row->digest);
	code = access_list_parse(row->owner, access, &row->access, err);
	_cleanup_free_ char *final = xasprintf("%s/versions/%s", job->publisher->parts.data, row->digest);
	if (code == ERR_OK)
		code = make_tree(job, job->files, final, err);
	if (code == ERR_OK)
		code = store_comparison(job, err);
	return code == ERR_OK ? store_export(job, err) : code;
}

const struct step step_store = { .stage = "storing", .progress = 0.75, .work = store_version };
