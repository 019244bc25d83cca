/* GET /metrics: what the parts count, for Prometheus. */
#include "http/server_impl.h"

void prepare_metrics(struct request *request)
{
	struct http_server *server = request->server;
	metrics_collect(server->parts.metrics, &request->reply.body);
	request->statistics = statistics_snapshot(server->parts.statistics);
}

enum err_code handle_metrics(struct request *request, struct err *err)
{
	statistics_format(request->statistics, &request->reply.body);
	request->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
	request->reply.status = 200;
	return request->reply.body.overflowed ?
		       err_set(err, ERR_RESOURCE_EXHAUSTED, "the metrics are larger than limits.output_bytes") :
		       ERR_OK;
}

void metric_collect_http(void *context, struct buf *out)
{
	struct http_server *server = context;
	char labels[64];
	const union MHD_DaemonInfo *connections = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	metric_family(out, "dlhub_http_replies_total", METRIC_COUNTER, "Answers, by HTTP status");
	for (size_t status = 0; status < ARRAY_SIZE(server->replies); status++) {
		if (!server->replies[status])
			continue;
		snprintf(labels, sizeof(labels), "code=\"%zu\"", status);
		metric_sample(out, "dlhub_http_replies_total", NULL, labels, (double)server->replies[status]);
	}
	metric_family(out, "dlhub_http_connections", METRIC_GAUGE, "Open connections");
	metric_sample(out, "dlhub_http_connections", NULL, NULL, connections ? connections->num_connections : 0);
	metric_family(out, "dlhub_http_hung_up_total", METRIC_COUNTER, "Connections closed because their client was slow");
	metric_sample(out, "dlhub_http_hung_up_total", NULL, NULL, (double)server->hung_up);
	metric_family(out, "dlhub_http_unanswered", METRIC_GAUGE, "Requests that came whole and are not answered");
	metric_sample(out, "dlhub_http_unanswered", NULL, NULL, (double)server->unanswered);
}
