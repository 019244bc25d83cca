/* The hub about itself. */
#include "http/server_impl.h"

#include "base/schema_texts.h"
#include "io/sandbox.h"

enum err_code handle_hub(struct request *request, struct err *err)
{
	struct http_server *server = request->server;
	char sandbox[256];
	sandbox_format(server->sandbox, sandbox, sizeof(sandbox));
	reply_json(request, 200,
		   json_pack("{s:s, s:s, s:i, s:I, s:s, s:I, s:I}", "name", "DLHub", "version", DLHUB_VERSION, "format",
			     CATALOG_FORMAT, "uptime_s",
			     (json_int_t)(loop_now_ns(server->parts.loop) / 1000000 - server->started_ms) / 1000, "sandbox", sandbox,
			     "workers", (json_int_t)scheduler_worker_count(server->parts.scheduler), "publishes",
			     (json_int_t)publisher_active(server->parts.publisher)));
	return ERR_OK;
}

/* What a person sees who opens the hub's address in a browser. */
enum err_code handle_root(struct request *request, struct err *err)
{
	struct buf *body = &request->reply.body;
	buf_printf(body,
		   "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>DLHub</title>"
		   "<meta name=\"viewport\" content=\"width=device-width\">"
		   "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a}"
		   "code,pre{background:#f3f4f6;border-radius:4px;padding:.1rem .3rem}pre{padding:.8rem;overflow-x:auto}</style>"
		   "<h1>DLHub</h1><p>A hub for machine-learning models in science: publish them, cite them, find them, and run "
		   "them without installing them. This is version %s.</p>"
		   "<h2>From a terminal</h2><pre>export DLHUB_ENDPOINT=http://%s\n"
		   "dlhub search\ndlhub describe OWNER/NAME\ndlhub run OWNER/NAME --input '[1, 2, 3]'</pre>"
		   "<h2>From a program</h2><p><a href=\"/api/v1/servables\"><code>/api/v1/servables</code></a> lists what you may "
		   "see, <a href=\"/api/v1/search\"><code>/api/v1/search?q=words</code></a> finds, "
		   "<code>/api/v1/servables/OWNER/NAME</code> describes, and any Open Inference Protocol client "
		   "(KServe, Triton) finds its models under <a href=\"/v2\"><code>/v2</code></a>.</p></html>\n",
		   DLHUB_VERSION, request->server->address);
	request->reply.content_type = "text/html; charset=utf-8";
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
