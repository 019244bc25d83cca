/* From the bytes of a run's body to its parser: within limits.body_bytes and the turn's budget, and uncompressed on the
 * way where they came compressed. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define STAGE_BYTES (16u << 10)

/* Between the compressed bytes and the parser. */
struct unpacker {
	struct inflater *inflater;
	size_t at, len; /* of the stage: what the parser has not taken yet */
	bool more;	/* the inflater may have more without a new byte */
	bool held;	/* the last byte of the piece was taken but not said to be, so that libmicrohttpd calls again */
	int64_t made;
	char stage[STAGE_BYTES];
};

enum err_code unpacker_begin(struct request *request, struct err *err)
{
	enum coding coding;
	if (!request->has_body || !coding_parse(str_of(request->content_encoding ?: ""), &coding) || coding == CODING_IDENTITY)
		return ERR_OK;
	struct inflater *inflater = inflater_create(coding);
	if (!inflater)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to read a compressed body");
	request->unpacker = NEW(struct unpacker);
	request->unpacker->inflater = inflater;
	return ERR_OK;
}

void unpacker_destroy(struct unpacker *unpacker)
{
	if (!unpacker)
		return;
	inflater_destroy(unpacker->inflater);
	free(unpacker);
}

static enum err_code too_large(int64_t most, const char *how, struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the body has more than %lld bytes%s (limits.body_bytes)", (long long)most, how);
}

/* The stage to the parser, and the next piece into the stage, until there is nothing to do or the time is up. */
static enum err_code unpack(struct request *request, const char *data, size_t len, int64_t most, int64_t budget_ns,
			    size_t *ret_used, struct err *err)
{
	struct unpacker *unpacker = request->unpacker;
	int64_t deadline_ns = clock_ns() + budget_ns, left_ns = budget_ns;
	enum err_code code = ERR_OK;
	for (*ret_used = 0; code == ERR_OK && left_ns > 0; left_ns = deadline_ns - clock_ns()) {
		size_t used;
		if (unpacker->at < unpacker->len) {
			code = run_parser_feed(request->parser, unpacker->stage + unpacker->at, unpacker->len - unpacker->at,
					       left_ns, &used, err);
			unpacker->at += used;
			continue;
		}
		if (*ret_used == len && !unpacker->more)
			break;
		code = inflater_feed(unpacker->inflater, data + *ret_used, len - *ret_used, &used, unpacker->stage, STAGE_BYTES,
				     &unpacker->len, err);
		unpacker->at = 0;
		unpacker->more = unpacker->len == STAGE_BYTES;
		unpacker->made += (int64_t)unpacker->len;
		*ret_used += used;
		if (code == ERR_OK && unpacker->made > most)
			code = too_large(most, " when it is uncompressed", err);
	}
	return code;
}

static enum err_code feed_compressed(struct request *request, const char *data, size_t len, int64_t most, int64_t budget_ns,
				     size_t *ret_used, struct err *err)
{
	struct unpacker *unpacker = request->unpacker;
	size_t held = unpacker->held, used;
	enum err_code code = unpack(request, data + held, len - held, most, budget_ns, &used, err);
	used += held;
	bool idle = unpacker->at == unpacker->len && !unpacker->more;
	unpacker->held = used == len && !idle;
	*ret_used = used - unpacker->held;
	return code;
}

void run_feed(struct request *request, const char *data, size_t *len)
{
	struct err err = ERR_INIT;
	const struct settings *settings = request->server->parts.settings;
	int64_t most = settings_int(settings, SETTING_LIMITS_BODY_BYTES);
	int64_t budget_ns = settings_int(settings, SETTING_LIMITS_LOOP_TURN_US) * 1000;
	size_t used = 0;
	if (request->body_seen > most)
		(void)!too_large(most, "", &err);
	else if (request->parts) {
		if (run_parts_feed(request, data, *len, &err) == ERR_OK)
			used = *len;
	} else if (request->unpacker)
		(void)!feed_compressed(request, data, *len, most, budget_ns, &used, &err);
	else
		(void)!run_parser_feed(request->parser, data, *len, budget_ns, &used, &err);
	if (err.code == ERR_OK) {
		*len -= used;
		if (*len)
			request_pause(request);
	} else {
		reply_error(request, &err);
		*len = 0;
	}
	err_done(&err);
}

enum err_code run_body_end(struct request *request, struct err *err)
{
	return request->unpacker ? inflater_finish(request->unpacker->inflater, err) : ERR_OK;
}
