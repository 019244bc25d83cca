/* bench/wire_bench.c - what the request parsers and reply writers cost on one core: one line a case.
 * wire_bench [SECONDS-A-CASE]. CPU time, so that what else runs on the machine disturbs less. */
#include "base/alloc.h"
#include "wire/oip.h"

#include <math.h>

struct bench_case {
	const char *what;
	char *body;
	size_t len;
	struct signature *signature;
	bool dlhub;
	size_t piece; /* 0: whole */
	int64_t budget_ns;
};

static double seconds_a_case = 0.5;

static int64_t cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct signature *signature_of(const char *dtype)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"methods\":{\"run\":{\"input\":{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":\"Any\"%s%s%s},"
		"\"output\":{\"type\":\"ndarray\",\"shape\":\"Any\"}}}}",
		*dtype ? ",\"item_type\":{\"dtype\":\"" : "", dtype, *dtype ? "\"}" : "");
	_cleanup_json_ json_t *json = NULL;
	struct signature *signature = NULL;
	if (json_read(text, strlen(text), 64, "bench", &json, NULL) != ERR_OK ||
	    signature_parse(json, &signature, NULL) != ERR_OK)
		abort();
	return signature;
}

static size_t parse(const struct bench_case *c, struct run_request *request, struct arena *arena)
{
	const struct method *method = signature_method(c->signature, STR("run"));
	struct run_parser *parser =
		c->dlhub ? dlhub_parser_create(arena, method, 64) : oip_parser_create(arena, method, -1, 64);
	struct err err = ERR_INIT;
	for (size_t at = 0; at < c->len;) {
		size_t used, n = c->piece ? MIN(c->piece, c->len - at) : c->len - at;
		if (run_parser_feed(parser, c->body + at, n, c->budget_ns, &used, &err) != ERR_OK)
			goto failed;
		at += used;
	}
	if (run_parser_finish(parser, request, &err) == ERR_OK)
		return request->inputs[0].len;
failed:
	fprintf(stderr, "%s: %s\n", c->what, err_text(&err));
	exit(1);
}

static void report(const char *what, size_t bytes, uint64_t rounds, int64_t ns)
{
	double each = (double)ns / (double)rounds;
	printf("%-44s %10zu bytes %12.3f us %9.0f MB/s\n", what, bytes, each / 1e3, (double)bytes / each * 1e3);
}

static void bench_parse(struct bench_case *c)
{
	uint64_t rounds = 0;
	int64_t start = cpu_ns(), now = start;
	while (now - start < (int64_t)(seconds_a_case * 1e9)) {
		for (int i = 0; i < (c->len < 1000 ? 1000 : 1); i++, rounds++) {
			struct arena arena;
			struct run_request request;
			arena_init(&arena, (size_t)1 << 30);
			parse(c, &request, &arena);
			arena_done(&arena);
		}
		now = cpu_ns();
	}
	report(c->what, c->len, rounds, now - start);
}

static void bench_write(struct bench_case *c, const char *what)
{
	struct arena arena;
	struct run_request request;
	arena_init(&arena, (size_t)1 << 30);
	parse(c, &request, &arena);
	const struct method *method = signature_method(c->signature, STR("run"));
	struct buf out;
	buf_init(&out, (size_t)1 << 30);
	uint64_t rounds = 0;
	int64_t start = cpu_ns(), now = start;
	while (now - start < (int64_t)(seconds_a_case * 1e9)) {
		for (int i = 0; i < (c->len < 1000 ? 1000 : 1); i++, rounds++) {
			bool binary;
			buf_clear(&out);
			if (oip_response_write(&out, STR("owner/name"), STR("1"), STR(""), method, request.inputs, 1,
					       NULL, NULL, STR(""), &binary, NULL) != ERR_OK)
				abort();
		}
		now = cpu_ns();
	}
	report(what, out.len, rounds, now - start);
	buf_done(&out);
	arena_done(&arena);
}

/* A body whose data are `count` numbers, each printed by `fmt`. */
static void numbers(struct bench_case *c, const char *before, const char *after, size_t count, const char *fmt)
{
	c->body = xmalloc(strlen(before) + strlen(after) + count * 32);
	c->len = (size_t)snprintf(c->body, strlen(before) + 32, before, count);
	uint64_t random = 88172645463325252u;
	for (size_t i = 0; i < count; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		double value = (double)(random >> 11) * 0x1p-53;
		if (strchr(fmt, 'd'))
			value *= 256;
		if (i)
			c->body[c->len++] = ',';
		if (strchr(fmt, 'd'))
			c->len += (size_t)snprintf(c->body + c->len, 32, "%d", (int)value);
		else if (strchr(fmt, 'g'))
			c->len += (size_t)snprintf(c->body + c->len, 32, "%.17g", value);
		else
			c->len += (size_t)snprintf(c->body + c->len, 32, "%.6f", value);
	}
	memcpy(c->body + c->len, after, strlen(after));
	c->len += strlen(after);
}

#define BEFORE(dtype) "{\"inputs\":[{\"name\":\"x\",\"shape\":[%zu],\"datatype\":\"" dtype "\",\"data\":["
#define COUNT 150528

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds_a_case = strtod(argv[1], NULL);
	static char small[] = "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1.0]}]}";
	struct bench_case c = { .what = "parse no-op request",
				.body = small,
				.len = sizeof(small) - 1,
				.signature = signature_of("FP32") };
	bench_parse(&c);
	bench_write(&c, "write no-op response");
	static const struct {
		const char *what, *write, *dtype, *before, *fmt;
	} rows[] = {
		{ "parse FP32, 17 digits", "write FP32, of 17 digits", "FP32", BEFORE("FP32"), "g" },
		{ "parse FP32, 6 decimals", "write FP32, of 6 decimals", "FP32", BEFORE("FP32"), "f" },
		{ "parse FP64, 17 digits", "write FP64, of 17 digits", "FP64", BEFORE("FP64"), "g" },
		{ "parse FP64, 6 decimals", "write FP64, of 6 decimals", "FP64", BEFORE("FP64"), "f" },
		{ "parse UINT8", "write UINT8", "UINT8", BEFORE("UINT8"), "d" },
		{ "parse INT64", "write INT64", "INT64", BEFORE("INT64"), "d" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench_case row = { .what = rows[i].what, .signature = signature_of(rows[i].dtype) };
		numbers(&row, rows[i].before, "]}]}", COUNT, rows[i].fmt);
		bench_parse(&row);
		bench_write(&row, rows[i].write);
		free(row.body);
		signature_destroy(row.signature);
	}
	struct bench_case pieces = { .what = "parse FP32, 6 decimals, 32 KiB, 100 us",
				     .signature = signature_of("FP32"),
				     .piece = 32768,
				     .budget_ns = 100000 };
	numbers(&pieces, BEFORE("FP32"), "]}]}", COUNT, "f");
	bench_parse(&pieces);
	free(pieces.body);
	struct bench_case late = { .what = "parse FP32, 6 decimals, datatype last", .signature = pieces.signature };
	numbers(&late, "{\"inputs\":[{\"name\":\"x\",\"shape\":[%zu],\"data\":[", "],\"datatype\":\"FP32\"}]}", COUNT,
		"f");
	bench_parse(&late);
	free(late.body);
	signature_destroy(pieces.signature);
	struct bench_case dlhub = { .what = "parse DLHub, free dtype, 6 decimals",
				    .signature = signature_of(""),
				    .dlhub = true };
	numbers(&dlhub, "{\"data\":[", "]}", COUNT, "f");
	bench_parse(&dlhub);
	free(dlhub.body);
	signature_destroy(dlhub.signature);
	signature_destroy(c.signature);
	return 0;
}
