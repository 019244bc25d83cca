/* Blobs that users send once and name in many runs: {"ref": "blob:sha256:…"}. */
#include "http/server_impl.h"

#include "base/clock.h"

enum err_code handle_blobs(struct request *request, struct err *err)
{
	struct http_parts *parts = &request->server->parts;
	json_t *list;
	if (strcmp(request->method, "PUT") != 0) {
		enum err_code code = catalog_uploads_list(parts->catalog, request->principal->user, clock_wall_ms(), &list, err);
		if (code == ERR_OK)
			reply_json(request, 200, json_pack("{s:o}", "blobs", list));
		return code;
	}
	int64_t expires_s, longest_s = settings_int(parts->settings, SETTING_LIMITS_BLOB_S);
	struct upload_row row;
	enum err_code code = request_argument_int(request, "expires_s", 1, longest_s, 0, &expires_s, err);
	if (code == ERR_OK)
		code = uploads_put(parts->uploads, request->principal->user, request->body.data ?: "", request->body.len,
				   expires_s * 1000, &row, err);
	if (code != ERR_OK)
		return code;
	char ref[SHA256_HEX + 16];
	snprintf(ref, sizeof(ref), "blob:sha256:%s", row.digest);
	json_t *json = json_pack("{s:s, s:I}", "ref", ref, "bytes", (json_int_t)row.bytes);
	reply_put_date(json, "created", row.created_ms);
	reply_put_date(json, "expires", row.expires_ms);
	reply_json(request, 201, json);
	return ERR_OK;
}

enum err_code handle_blob(struct request *request, struct err *err)
{
	struct digest digest;
	char hex[SHA256_HEX + 1];
	const char *name = request->param_text[0];
	static const char *const prefixes[] = { "blob:", "sha256:" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		name += str_starts(name, prefixes[i]) ? strlen(prefixes[i]) : 0;
	if (!digest_parse(name, strlen(name), &digest))
		return err_set(err, ERR_NOT_FOUND, "'%s' is no blob's name", request->param_text[0]);
	digest_format(&digest, hex);
	enum err_code code = uploads_remove(request->server->parts.uploads, request->principal->user, hex, err);
	if (code == ERR_OK)
		reply_empty(request, 204);
	return code;
}
