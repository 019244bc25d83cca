#include "io/outgoing.h"

#include <curl/curl.h>
#include <pthread.h>

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
