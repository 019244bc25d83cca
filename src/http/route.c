#include "http/route.h"

#include "base/alloc.h"

#include <ctype.h>

#define SERVABLE "/api/v1/servables/{owner}/{name}"
#define VERSION SERVABLE "/versions/{version}"
#define MODEL "/v2/models/{owner}/{name}"
#define MODEL_VERSION MODEL "/versions/{version}"
#define REPOSITORY "/v2/repository/models/{owner}/{name}"

static const struct route routes[] = {
	{ METHOD_POST, MODEL "/infer", ROUTE_RUN, ACCESS_RUN, begin_infer },
	{ METHOD_POST, MODEL_VERSION "/infer", ROUTE_RUN, ACCESS_RUN, begin_infer, 2 },
	{ METHOD_POST, SERVABLE "/run", ROUTE_RUN, ACCESS_RUN, begin_run },
	{ METHOD_POST, VERSION "/run", ROUTE_RUN, ACCESS_RUN, begin_run, 2 },
	{ METHOD_GET, "/v2/health/live", ROUTE_INLINE, ACCESS_ANYBODY, handle_live },
	{ METHOD_GET, "/v2/health/ready", ROUTE_INLINE, ACCESS_ANYBODY, handle_live },
	{ METHOD_GET, "/v2", ROUTE_INLINE, ACCESS_ANYBODY, handle_server_metadata },
	{ METHOD_GET, "/v2/models/stats", ROUTE_SEARCH, ACCESS_ANYBODY, handle_statistics, 0, prepare_statistics },
	{ METHOD_POST, "/v2/repository/index", ROUTE_SEARCH, ACCESS_ANYBODY, handle_repository_index, 0, prepare_repository_index },
	{ METHOD_POST, REPOSITORY "/load", ROUTE_INLINE, ACCESS_MANAGE, handle_load },
	{ METHOD_POST, REPOSITORY "/versions/{version}/load", ROUTE_INLINE, ACCESS_MANAGE, handle_load, 2 },
	{ METHOD_POST, REPOSITORY "/unload", ROUTE_INLINE, ACCESS_MANAGE, handle_unload },
	{ METHOD_POST, REPOSITORY "/versions/{version}/unload", ROUTE_INLINE, ACCESS_MANAGE, handle_unload, 2 },
	{ METHOD_GET, MODEL, ROUTE_POOL, ACCESS_READ, handle_model_metadata },
	{ METHOD_GET, MODEL_VERSION, ROUTE_POOL, ACCESS_READ, handle_model_metadata, 2 },
	{ METHOD_GET, MODEL "/config", ROUTE_INLINE, ACCESS_READ, handle_model_config },
	{ METHOD_GET, MODEL_VERSION "/config", ROUTE_INLINE, ACCESS_READ, handle_model_config, 2 },
	{ METHOD_GET, MODEL "/stats", ROUTE_INLINE, ACCESS_READ, handle_model_statistics },
	{ METHOD_GET, MODEL_VERSION "/stats", ROUTE_INLINE, ACCESS_READ, handle_model_statistics, 2 },
	{ METHOD_GET, MODEL "/ready", ROUTE_INLINE, ACCESS_READ, handle_model_ready },
	{ METHOD_GET, MODEL_VERSION "/ready", ROUTE_INLINE, ACCESS_READ, handle_model_ready, 2 },
	{ METHOD_GET, "/v2/systemsharedmemory/status", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_status },
	{ METHOD_POST, "/v2/systemsharedmemory/unregister", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_unregister },
	{ METHOD_GET, "/v2/systemsharedmemory/region/{region}/status", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_status },
	{ METHOD_POST, "/v2/systemsharedmemory/region/{region}/unregister", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_unregister },
	{ METHOD_POST, "/v2/systemsharedmemory/region/{region}/register", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_register },
	{ METHOD_GET, "/v2/cudasharedmemory/status", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_status },
	{ METHOD_POST, "/v2/cudasharedmemory/unregister", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_unregister },
	{ METHOD_GET, "/v2/cudasharedmemory/region/{region}/status", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_status },
	{ METHOD_POST, "/v2/cudasharedmemory/region/{region}/unregister", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_unregister },
	{ METHOD_POST, "/v2/cudasharedmemory/region/{region}/register", ROUTE_INLINE, ACCESS_ANYBODY, handle_memory_register },
	{ METHOD_GET, "/", ROUTE_INLINE, ACCESS_ANYBODY, handle_root },
	{ METHOD_GET, "/api/v1/hub", ROUTE_INLINE, ACCESS_ANYBODY, handle_hub },
	{ METHOD_GET, "/metrics", ROUTE_POOL, ACCESS_METRICS, handle_metrics, 0, prepare_metrics },
	{ METHOD_GET, "/api/v1/schemas/{name}", ROUTE_INLINE, ACCESS_ANYBODY, handle_schema },
	{ METHOD_GET, "/api/v1/whoami", ROUTE_INLINE, ACCESS_ANYBODY, handle_whoami },
	{ METHOD_GET, "/api/v1/namespaces", ROUTE_INLINE, ACCESS_SIGNED_IN, handle_namespaces },
	{ METHOD_GET, "/api/v1/search", ROUTE_SEARCH, ACCESS_ANYBODY, handle_search },
	{ METHOD_GET, "/api/v1/servables", ROUTE_SEARCH, ACCESS_ANYBODY, handle_servables },
	{ METHOD_GET, SERVABLE, ROUTE_POOL, ACCESS_READ, handle_describe, 0, prepare_describe },
	{ METHOD_GET, VERSION, ROUTE_POOL, ACCESS_READ, handle_describe, 2, prepare_describe },
	{ METHOD_GET, SERVABLE "/versions", ROUTE_POOL, ACCESS_READ, handle_versions },
	{ METHOD_DELETE, SERVABLE, ROUTE_POOL, ACCESS_MANAGE, handle_remove },
	{ METHOD_DELETE, VERSION, ROUTE_POOL, ACCESS_MANAGE, handle_remove, 2 },
	{ METHOD_PATCH, SERVABLE, ROUTE_POOL, ACCESS_MANAGE, handle_edit },
	{ METHOD_PATCH, VERSION, ROUTE_POOL, ACCESS_MANAGE, handle_edit, 2 },
	{ METHOD_GET | METHOD_PUT, SERVABLE "/access", ROUTE_POOL, ACCESS_MANAGE, handle_access },
	{ METHOD_PUT | METHOD_DELETE, SERVABLE "/aliases/{alias}", ROUTE_POOL, ACCESS_MANAGE, handle_alias },
	{ METHOD_GET, SERVABLE "/files/{path...}", ROUTE_POOL, ACCESS_DOWNLOAD, handle_file },
	{ METHOD_GET, VERSION "/files/{path...}", ROUTE_POOL, ACCESS_DOWNLOAD, handle_file, 2 },
	{ METHOD_POST, "/api/v1/publish", ROUTE_PUBLISH, ACCESS_SIGNED_IN, NULL },
	{ METHOD_GET | METHOD_PUT, "/api/v1/blobs", ROUTE_BLOB, ACCESS_SIGNED_IN, handle_blobs },
	{ METHOD_DELETE, "/api/v1/blobs/{blob}", ROUTE_POOL, ACCESS_SIGNED_IN, handle_blob },
	{ METHOD_GET, "/api/v1/tasks", ROUTE_POOL, ACCESS_SIGNED_IN, handle_tasks },
	{ METHOD_GET, "/api/v1/tasks/{task}", ROUTE_TASK, ACCESS_SIGNED_IN, handle_task },
	{ METHOD_DELETE, "/api/v1/tasks/{task}", ROUTE_TASK, ACCESS_SIGNED_IN, handle_task_end },
	{ METHOD_GET, "/api/v1/tasks/{task}/result", ROUTE_TASK, ACCESS_SIGNED_IN, handle_task_result },
	{ METHOD_GET, "/api/v1/tasks/{task}/events", ROUTE_TASK, ACCESS_SIGNED_IN, handle_task_events },
	{ METHOD_GET, "/api/v1/tasks/{task}/log", ROUTE_POOL, ACCESS_SIGNED_IN, handle_task_log },
	{ METHOD_GET, "/api/v1/{task}/status", ROUTE_POOL, ACCESS_SIGNED_IN, handle_task_status },
	{ METHOD_GET, "/api/v1/users", ROUTE_POOL, ACCESS_ADMIN, handle_users },
	{ METHOD_POST, "/api/v1/users", ROUTE_POOL, ACCESS_ADMIN, handle_users },
	{ METHOD_DELETE, "/api/v1/users/{user}", ROUTE_POOL, ACCESS_ADMIN, handle_user },
	{ METHOD_GET | METHOD_POST, "/api/v1/users/{user}/tokens", ROUTE_POOL, ACCESS_SIGNED_IN, handle_tokens },
	{ METHOD_DELETE, "/api/v1/users/{user}/tokens/{id}", ROUTE_POOL, ACCESS_SIGNED_IN, handle_token },
	{ METHOD_GET, "/api/v1/sites", ROUTE_INLINE, ACCESS_ADMIN, handle_sites },
	{ METHOD_POST, "/api/v1/sites", ROUTE_POOL, ACCESS_ADMIN, handle_add_site },
	{ METHOD_DELETE, "/api/v1/sites/{site}", ROUTE_POOL, ACCESS_ADMIN, handle_remove_site },
	{ METHOD_GET | METHOD_POST, "/api/v1/groups", ROUTE_POOL, ACCESS_SIGNED_IN, handle_groups },
	{ METHOD_DELETE, "/api/v1/groups/{group}", ROUTE_POOL, ACCESS_SIGNED_IN, handle_group },
	{ METHOD_PUT | METHOD_DELETE, "/api/v1/groups/{group}/members/{user}", ROUTE_POOL, ACCESS_SIGNED_IN, handle_member },
};

static const struct {
	const char *name;
	unsigned int flag;
} method_names[] = { { "GET", METHOD_GET }, { "HEAD", METHOD_HEAD },	 { "POST", METHOD_POST },
		     { "PUT", METHOD_PUT }, { "DELETE", METHOD_DELETE }, { "PATCH", METHOD_PATCH } };

static unsigned int method_of(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(method_names); i++)
		if (strcmp(method, method_names[i].name) == 0)
			return method_names[i].flag == METHOD_HEAD ? METHOD_GET : method_names[i].flag;
	return 0;
}

void route_format_methods(unsigned int methods, char *text, size_t size)
{
	if (methods & METHOD_GET)
		methods |= METHOD_HEAD;
	size_t len = 0;
	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(method_names); i++)
		if (methods & method_names[i].flag && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "", method_names[i].name);
}

static bool hex_pair(const char *text, uint8_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	const char *high = text[0] ? strchr(digits, tolower((unsigned char)text[0])) : NULL;
	const char *low = high && text[1] ? strchr(digits, tolower((unsigned char)text[1])) : NULL;
	if (low)
		*ret = (uint8_t)((high - digits) << 4 | (low - digits));
	return low != NULL;
}

size_t route_unescape(void *context, struct MHD_Connection *connection, char *text)
{
	char *to = text;
	for (const char *from = text; *from; from++) {
		uint8_t byte = 0;
		if (*from == '%' && hex_pair(from + 1, &byte) && byte)
			from += 2;
		else
			byte = (uint8_t)*from;
		*to++ = (char)byte;
	}
	*to = '\0';
	return (size_t)(to - text);
}


/* Walks pattern and segments side by side; fills `params` as far as it gets. */
static bool matches(const char *pattern, const struct str *segments, size_t count, const char *path_end, struct str *params)
{
	size_t at = 0, param = 0;
	while (*pattern == '/') {
		pattern++;
		size_t len = strcspn(pattern, "/");
		if (len == 0)
			return count == 0; /* "/" itself */
		if (at == count)
			return false;
		if (*pattern == '{') {
			if (len > 4 && memcmp(pattern + len - 4, "...}", 4) == 0) {
				params[param] = (struct str){ segments[at].data, (size_t)(path_end - segments[at].data) };
				return true;
			}
			params[param++] = segments[at];
		} else if (segments[at].len != len || memcmp(pattern, segments[at].data, len) != 0) {
			return false;
		}
		at++;
		pattern += len;
	}
	return at == count;
}

static enum err_code split(struct request *request, struct err *err)
{
	char *at = request->path;
	request->segment_count = 0;
	while (*at == '/') {
		at++;
		if (*at == '\0')
			break; /* a slash at the end means nothing */
		size_t len = strcspn(at, "/");
		if (len == 0)
			return err_set(err, ERR_NOT_FOUND, "no such path (an empty part)");
		/* The parts beyond the last place belong to a path of files; only its start is needed. */
		if (request->segment_count < REQUEST_SEGMENTS)
			request->segments[request->segment_count++] = (struct str){ at, len };
		at += len;
	}
	return ERR_OK;
}

enum err_code route_find(struct request *request, const char *method, const char *url, unsigned int *ret_allowed,
			 struct err *err)
{
	*ret_allowed = 0;
	const char *authority = str_starts(url, "http://") ? strchr(url + strlen("http://"), '/') : NULL;
	if (authority)
		url = authority; /* the absolute form, as to a proxy */
	size_t len = strlen(url);
	if (*url != '/')
		return err_set(err, ERR_INVALID_ARGUMENT, "the path does not begin with '/'");
	if (!str_is_utf8(url, len))
		return err_set(err, ERR_INVALID_ARGUMENT, "the path is not UTF-8");
	request->path = arena_strndup(&request->arena, url, len);
	if (!request->path)
		return err_set(err, ERR_INVALID_ARGUMENT, "the path is too long");
	enum err_code code = split(request, err);
	if (code != ERR_OK)
		return code;
	unsigned int flag = method_of(method);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		struct str params[REQUEST_PARAMS] = { 0 };
		if (!matches(routes[i].pattern, request->segments, request->segment_count, request->path + len, params))
			continue;
		if (!(routes[i].methods & flag)) {
			*ret_allowed |= routes[i].methods;
			continue;
		}
		request->route = &routes[i];
		for (size_t k = 0; k < REQUEST_PARAMS && params[k].data; k++) {
			request->params[k] = params[k];
			request->param_text[k] = arena_strndup(&request->arena, params[k].data, params[k].len);
		}
		return ERR_OK;
	}
	if (*ret_allowed)
		return err_set(err, ERR_UNIMPLEMENTED, "%s is not possible on %s", method, url);
	return err_set(err, ERR_NOT_FOUND, "no such path: %s", url);
}
