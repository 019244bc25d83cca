#include "io/outgoing.h"

#include "base/alloc.h"
#include "io/outgoing_policy.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_once_t initialized = PTHREAD_ONCE_INIT;

static void initialize(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

static size_t read_over(char *data, size_t size, size_t count, void *context)
{
	return size * count;
}

enum err_code outgoing_post(const char *url, const char *content_type, struct str body, int64_t timeout_ms, struct err *err)
{
	char header[256], reason[CURL_ERROR_SIZE] = "";
	pthread_once(&initialized, initialize);
	CURL *curl = curl_easy_init();
	if (!curl)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a request to %s", url);
	snprintf(header, sizeof(header), "Content-Type: %s", content_type);
	struct curl_slist *headers = curl_slist_append(NULL, header);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, read_over);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "dlhub/" DLHUB_VERSION);
	CURLcode result = curl_easy_perform(curl);
	long status = 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (result != CURLE_OK)
		return err_set(err, ERR_UNAVAILABLE, "POST %s: %s", url, *reason ? reason : curl_easy_strerror(result));
	if (status >= 200 && status < 300)
		return ERR_OK;
	return err_set(err, status >= 500 || status == 429 ? ERR_UNAVAILABLE : ERR_FAILED_PRECONDITION, "POST %s: HTTP %ld", url,
		       status);
}

/* --- what a caller names --- */

#define FIRST_BYTES 65536u

struct fetching {
	const struct outgoing_fetch *fetch;
	struct arena *arena;
	uint8_t *data; /* of the arena */
	size_t len, room;
	bool refused, too_large;
};

/* The address that the name led to: a name may lead anywhere, and elsewhere the next time. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct fetching *fetching = context;
	if (!outgoing_policy_allows_address(fetching->fetch->allow, &address->addr)) {
		fetching->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t keep(char *data, size_t size, size_t count, void *context)
{
	struct fetching *fetching = context;
	size_t len = size * count, need = fetching->len + len;
	if ((int64_t)need > fetching->fetch->most_bytes) {
		fetching->too_large = true;
		return 0;
	}
	if (need > fetching->room) {
		size_t room = MAX(MAX(need, 2 * fetching->room), (size_t)FIRST_BYTES);
		uint8_t *more = arena_grow(fetching->arena, fetching->data, fetching->room, room);
		fetching->too_large = !more;
		if (!more)
			return 0;
		fetching->data = more;
		fetching->room = room;
	}
	memcpy(fetching->data + fetching->len, data, len);
	fetching->len = need;
	return len;
}

static enum err_code check_url(const struct outgoing_fetch *fetch, const char *url, char **ret_host, struct err *err)
{
	CURLU *parsed = curl_url();
	char *host = NULL, *user = NULL;
	enum err_code code = ERR_OK;
	if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		code = err_set(err, ERR_INVALID_ARGUMENT, "'%s' is no address", url);
	else if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK)
		code = err_set(err, ERR_INVALID_ARGUMENT, "an address with a password in it is not followed");
	else if (!outgoing_policy_allows_host(fetch->allow, host)) {
		code = err_set(err, ERR_PERMISSION_DENIED, "this hub does not ask %s", host);
		err_advise(err, "send the bytes themselves, or as a blob (PUT /api/v1/blobs); its operator allows hosts with fetch.allow");
	} else {
		*ret_host = xstrdup(host);
	}
	curl_free(user);
	curl_free(host);
	curl_url_cleanup(parsed);
	return code;
}

static void set_up_get(CURL *curl, const char *url, const struct outgoing_fetch *fetch, struct fetching *fetching, char *reason)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)fetch->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->most_bytes);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, fetching);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetching);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "dlhub/" DLHUB_VERSION);
}

static enum err_code judge(const struct fetching *fetching, CURLcode result, long status, const char *host, const char *reason,
			   struct err *err)
{
	if (fetching->refused) {
		err_set(err, ERR_PERMISSION_DENIED, "%s leads to an address that is not public", host);
		err_advise(err, "the hub's operator allows blocks of addresses with fetch.allow");
		return ERR_PERMISSION_DENIED;
	}
	if (fetching->too_large || result == CURLE_FILESIZE_EXCEEDED)
		return err_set(err, ERR_OUT_OF_RANGE, "%s has more than %lld bytes (limits.body_bytes)", host,
			       (long long)fetching->fetch->most_bytes);
	if (result != CURLE_OK)
		return err_set(err, ERR_UNAVAILABLE, "%s: %s", host, *reason ? reason : curl_easy_strerror(result));
	if (status >= 200 && status < 300)
		return ERR_OK;
	if (status >= 300 && status < 400)
		return err_set(err, ERR_FAILED_PRECONDITION, "%s leads elsewhere (HTTP %ld), and that is not followed", host, status);
	return err_set(err, ERR_FAILED_PRECONDITION, "%s answers HTTP %ld", host, status);
}

enum err_code outgoing_get(const struct outgoing_fetch *fetch, struct arena *arena, uint8_t **ret, size_t *ret_len,
			   struct err *err)
{
	static uint8_t nothing;
	char reason[CURL_ERROR_SIZE] = "";
	_cleanup_free_ char *url = xstrndup(fetch->url.data, fetch->url.len), *host = NULL;
	struct fetching fetching = { .fetch = fetch, .arena = arena };
	long status = 0;
	pthread_once(&initialized, initialize);
	enum err_code code = strlen(url) == fetch->url.len ? check_url(fetch, url, &host, err) :
							     err_set(err, ERR_INVALID_ARGUMENT, "an address has a NUL in it");
	if (code != ERR_OK)
		return code;
	CURL *curl = curl_easy_init();
	if (!curl)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to ask %s", host);
	set_up_get(curl, url, fetch, &fetching, reason);
	CURLcode result = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	code = judge(&fetching, result, status, host, reason, err);
	if (code != ERR_OK)
		return code;
	*ret = fetching.data ?: &nothing;
	*ret_len = fetching.len;
	return ERR_OK;
}
