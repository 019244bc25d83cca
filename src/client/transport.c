#include "client/transport.h"

#include "base/alloc.h"
#include "base/str.h"

#include <curl/curl.h>
#include <errno.h>
#include <unistd.h>

#define CONNECT_MS  10000
#define EXCHANGE_MS 60000
#define STALLED_S   300 /* an upload that moves nothing for so long is given up */

struct transport {
	CURL *curl;
	char *endpoint;
	char *authorization; /* header line or NULL */
	bool loopback;
	char text[CURL_ERROR_SIZE];
};

enum err_code transport_create(const char *endpoint, const char *token, struct transport **ret, struct err *err)
{
	static bool once;
	if (!once && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, ERR_INTERNAL, "libcurl cannot start");
	once = true;
	CURL *curl = curl_easy_init();
	if (!curl)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a connection to %s", endpoint);
	struct transport *transport = NEW(struct transport);
	transport->curl = curl;
	transport->endpoint = xstrdup(endpoint);
	if (token && *token)
		transport->authorization = xasprintf("Authorization: Bearer %s", token);
	transport->loopback = client_endpoint_is_loopback(endpoint);
	*ret = transport;
	return ERR_OK;
}

void transport_destroy(struct transport *transport)
{
	if (!transport)
		return;
	curl_easy_cleanup(transport->curl);
	free(transport->endpoint);
	if (transport->authorization)
		explicit_bzero(transport->authorization, strlen(transport->authorization));
	free(transport->authorization);
	free(transport);
}

/* --- what curl calls while it works --- */

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct client_reply *reply = context;
	return buf_append(&reply->body, data, size * count) ? size * count : 0;
}

/* The value of header `name` in the line, trimmed, into `value`. */
static bool header_value(const char *line, size_t len, const char *name, char *value, size_t size)
{
	size_t n = strlen(name);
	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	size_t from = n + 1, to = len;
	while (from < to && (line[from] == ' ' || line[from] == '\t'))
		from++;
	while (to > from && (unsigned char)line[to - 1] <= ' ')
		to--;
	size_t take = MIN(to - from, size - 1);
	memcpy(value, line + from, take);
	value[take] = '\0';
	return true;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct client_reply *reply = context;
	size_t len = size * count;
	char number[24];
	if (header_value(data, len, "Retry-After", number, sizeof(number))) {
		if (!str_parse_i64(number, 0, 86400, &reply->retry_after_s))
			reply->retry_after_s = -1;
	} else if (header_value(data, len, "Inference-Header-Content-Length", number, sizeof(number))) {
		if (!str_parse_i64(number, 0, INT64_MAX, &reply->json_bytes))
			reply->json_bytes = -1;
	} else {
		header_value(data, len, "X-Request-Id", reply->request_id, sizeof(reply->request_id));
		header_value(data, len, "Content-Type", reply->content_type, sizeof(reply->content_type));
	}
	return len;
}

struct reader {
	const struct client_upload *upload;
	int64_t at;
};

static size_t on_read(char *data, size_t size, size_t count, void *context)
{
	struct reader *reader = context;
	size_t want = (size_t)MIN((int64_t)(size * count), reader->upload->bytes - reader->at);
	ssize_t got;
	do
		got = want ? pread(reader->upload->fd, data, want, reader->at) : 0;
	while (got < 0 && errno == EINTR);
	if (got < 0 || (want && got == 0)) /* the file became shorter than was announced */
		return CURL_READFUNC_ABORT;
	reader->at += got;
	return (size_t)got;
}

static int on_seek(void *context, curl_off_t offset, int origin)
{
	struct reader *reader = context;
	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	reader->at = offset;
	return CURL_SEEKFUNC_OK;
}

static int on_transfer(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	const struct client_upload *upload = context;
	if (upload->on_progress && up_total > 0)
		upload->on_progress(upload->context, up, up_total);
	return 0;
}

/* --- one exchange --- */

static enum err_code translate(struct transport *transport, CURLcode code, const struct client_reply *reply,
			       bool *ret_broke, struct err *err)
{
	const char *endpoint = transport->endpoint;
	const char *why = transport->text[0] ? transport->text : curl_easy_strerror(code);
	*ret_broke = false;
	switch (code) {
	case CURLE_OK:
		return ERR_OK;
	case CURLE_COULDNT_CONNECT:
		return err_set(err, ERR_UNAVAILABLE,
			       "no hub answers at %s; start one with `dlhub serve` or set DLHUB_ENDPOINT", endpoint);
	case CURLE_COULDNT_RESOLVE_HOST:
		err_set(err, ERR_UNAVAILABLE, "the host of %s is not known here", endpoint);
		return err_advise(
			err, "correct DLHUB_ENDPOINT or --endpoint, or log in to the right hub with `dlhub login`");
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
		err_set(err, ERR_FAILED_PRECONDITION, "no secure connection to %s: %s", endpoint, why);
		return err_advise(err, "the certificate must be one that this machine trusts and name that host");
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, ERR_DEADLINE_EXCEEDED, "%s did not answer in time: %s", endpoint, why);
	case CURLE_WRITE_ERROR:
		return err_set(err, ERR_OUT_OF_RANGE,
			       "the answer of %s is larger than the %zu bytes that are taken here", endpoint,
			       reply->body.ceiling);
	case CURLE_ABORTED_BY_CALLBACK:
	case CURLE_READ_ERROR:
		return err_set(err, ERR_ABORTED, "the file could not be read to its end while it was sent");
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not the address of a hub: %s", endpoint, why);
	default:
		*ret_broke = code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR;
		return err_set(err, ERR_UNAVAILABLE, "the connection to %s broke: %s", endpoint, why);
	}
}

static curl_mime *mime_of(CURL *curl, const struct client_upload *upload, struct reader *reader)
{
	curl_mime *mime = curl_mime_init(curl);
	if (!mime)
		return NULL;
	curl_mimepart *part = curl_mime_addpart(mime);
	curl_mime_name(part, "json");
	curl_mime_data(part, upload->metadata, upload->metadata_len);
	curl_mime_type(part, "application/json");
	curl_mime_filename(part, "dlhub.json");
	if (upload->fd < 0)
		return mime;
	part = curl_mime_addpart(mime);
	curl_mime_name(part, "file");
	curl_mime_data_cb(part, upload->bytes, on_read, on_seek, NULL, reader);
	curl_mime_type(part, "application/octet-stream");
	curl_mime_filename(part, upload->filename);
	return mime;
}

static void set_common(struct transport *transport, const char *url, struct client_reply *reply)
{
	CURL *curl = transport->curl;
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "dlhub/" DLHUB_VERSION);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transport->text);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
	if (transport->loopback) /* a proxy from the environment is never the way to this machine */
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

static void set_body(CURL *curl, const struct client_call *call)
{
	if (!call->body) {
		if (call->method && strcmp(call->method, "GET") != 0 && strcmp(call->method, "DELETE") != 0) {
			curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
		}
		return;
	}
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
}

static struct curl_slist *headers_of(const struct transport *transport, const struct client_call *call)
{
	struct curl_slist *list = NULL;
	if (transport->authorization)
		list = curl_slist_append(list, transport->authorization);
	if (call->body) {
		_cleanup_free_ char *type = xasprintf("Content-Type: %s", call->content_type ?: "application/json");
		list = curl_slist_append(list, type);
	}
	if (!call->upload) /* an upload waits for 100-continue, so that a refusal costs no transfer */
		list = curl_slist_append(list, "Expect:");
	if (call->header)
		list = curl_slist_append(list, call->header);
	return list;
}

enum err_code transport_exchange(struct transport *transport, const struct client_call *call, struct client_reply *ret,
				 bool *ret_broke, struct err *err)
{
	CURL *curl = transport->curl;
	client_reply_done(ret);
	*ret = (struct client_reply){ .retry_after_s = -1, .json_bytes = -1 };
	buf_init(&ret->body, call->ceiling_bytes ?: CLIENT_DOCUMENT_BYTES);
	_cleanup_free_ char *url = xasprintf("%s%s", transport->endpoint, call->path);
	transport->text[0] = '\0';
	set_common(transport, url, ret);
	set_body(curl, call);
	struct reader reader = { .upload = call->upload };
	curl_mime *mime = NULL;
	if (call->upload) {
		mime = mime_of(curl, call->upload, &reader);
		curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_transfer);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, call->upload);
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
	} else if (call->timeout_ms >= 0) {
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(call->timeout_ms ?: EXCHANGE_MS));
	}
	if (call->method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	struct curl_slist *headers = headers_of(transport, call);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(curl);
	long status = 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	ret->status = (int)status;
	/* A hub that refuses an upload may close before all of it was sent: its answer counts. */
	if (call->upload && status >= 400 && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR))
		code = CURLE_OK;
	curl_slist_free_all(headers);
	curl_mime_free(mime);
	return translate(transport, code, ret, ret_broke, err);
}
