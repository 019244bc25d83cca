/* The hub about itself. */
#include "http/server_impl.h"

#include "base/schema_texts.h"
#include "http/page.h"
#include "io/sandbox.h"

enum err_code handle_hub(struct request *request, struct err *err)
{
	struct http_server *server = request->server;
	char sandbox[256];
	sandbox_format(server->sandbox, sandbox, sizeof(sandbox));
	bool told = request->principal->user != NULL; /* a path of the hub's disk is not for everybody */
	reply_json(request, 200,
		   json_pack("{s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:s*}", "name", "DLHub", "version", DLHUB_VERSION, "format",
			     CATALOG_FORMAT, "uptime_s",
			     (json_int_t)(loop_now_ns(server->parts.loop) / 1000000 - server->started_ms) / 1000, "sandbox", sandbox,
			     "workers", (json_int_t)scheduler_worker_count(server->parts.scheduler), "publishes",
			     (json_int_t)publisher_active(server->parts.publisher), "local_socket",
			     told ? server->parts.local_socket : NULL));
	return ERR_OK;
}

/* What a person sees who opens the hub's address in a browser. */
enum err_code handle_root(struct request *request, struct err *err)
{
	buf_puts(&request->reply.body, page_html);
	request->reply.content_type = "text/html; charset=utf-8";
	request->reply.policy = page_policy;
	request->reply.status = 200;
	return ERR_OK;
}

enum err_code handle_schema(struct request *request, struct err *err)
{
	for (size_t i = 0; i < SCHEMA_TEXT_COUNT; i++) {
		char name[64];
		snprintf(name, sizeof(name), "%s.json", schema_texts[i].name);
		if (strcmp(request->param_text[0], name) != 0)
			continue;
		buf_puts(&request->reply.body, schema_texts[i].text);
		request->reply.status = 200;
		return ERR_OK;
	}
	return err_set(err, ERR_NOT_FOUND, "no schema '%s': they are document.json, datacite.json, dlhub.json, servable.json, "
					   "argument_type.json and golden.json", request->param_text[0]);
}
