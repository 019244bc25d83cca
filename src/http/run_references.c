/* Inputs that a run names instead of holding them: a part of its own form, a blob that its caller has sent before, or an address
 * that the operator allows. Followed on the pool, before the run is checked. */
#include "http/server_impl.h"

#include "io/outgoing.h"

#define FILES_OF_RUN_MAX 16

static bool begins(struct str text, const char *prefix)
{
	return text.len >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* A file costs a descriptor; the steps of a pipeline want bytes. */
static bool may_stay_file(const struct request *request)
{
	size_t count = 0;
	for (const struct file_view *file = request->run->files; file; file = file->next)
		count++;
	return count < FILES_OF_RUN_MAX && !request->servable->pipeline;
}

static enum err_code follow_blob(struct request *request, struct run_reference *reference, struct err *err)
{
	struct digest digest;
	char hex[SHA256_HEX + 1];
	size_t skip = strlen("blob:sha256:");
	if (!request->principal->user)
		return err_set(err, ERR_UNAUTHENTICATED, "a blob is its sender's: naming one needs a token");
	if (!digest_parse(reference->ref.data + skip, reference->ref.len - skip, &digest))
		return err_set(err, ERR_INVALID_ARGUMENT, "a blob's name is blob:sha256: and %d hexadecimal digits", SHA256_HEX);
	digest_format(&digest, hex);
	struct file_view *file = NULL;
	enum err_code code = uploads_read(request->server->parts.uploads, request->principal->user, hex, &request->run->arena,
					  may_stay_file(request) ? &file : NULL, &reference->data, &reference->len, err);
	if (file) {
		file->next = request->run->files;
		request->run->files = file;
	}
	return code;
}

static enum err_code follow_part(struct request *request, struct run_reference *reference, struct err *err)
{
	size_t skip = strlen("part:");
	struct str name = { reference->ref.data + skip, reference->ref.len - skip };
	if (run_parts_find(request, name, &reference->data, &reference->len))
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "the body has no part '%.*s'", (int)MIN(name.len, (size_t)80), name.data);
}

static enum err_code follow_address(struct request *request, struct run_reference *reference, struct err *err)
{
	const struct settings *settings = request->server->parts.settings;
	const struct outgoing_fetch fetch = {
		.url = reference->ref,
		.allow = settings_string(settings, SETTING_FETCH_ALLOW),
		.most_bytes = settings_int(settings, SETTING_LIMITS_BODY_BYTES),
		.timeout_ms = settings_int(settings, SETTING_FETCH_S) * 1000,
	};
	return outgoing_get(&fetch, &request->run->arena, &reference->data, &reference->len, err);
}

static enum err_code follow(struct request *request, struct run_reference *reference, struct err *err)
{
	struct str ref = reference->ref;
	if (begins(ref, "blob:sha256:"))
		return follow_blob(request, reference, err);
	if (begins(ref, "part:"))
		return follow_part(request, reference, err);
	if (begins(ref, "http://") || begins(ref, "https://"))
		return follow_address(request, reference, err);
	err_set(err, ERR_INVALID_ARGUMENT, "'%.*s' is no reference", (int)MIN(ref.len, (size_t)80), ref.data);
	err_advise(err, "blob:sha256:DIGEST (PUT /api/v1/blobs), part:NAME (of a form), or https://... where the hub allows it");
	return ERR_INVALID_ARGUMENT;
}

enum err_code run_references_follow(struct request *request, struct err *err)
{
	size_t count;
	struct run_reference *references = run_parser_references(request->parser, &count);
	for (size_t i = 0; i < count; i++)
		if (follow(request, &references[i], err) != ERR_OK)
			return err_wrap(err, "input '" STR_FMT "'", STR_ARG(references[i].input));
	return ERR_OK;
}
