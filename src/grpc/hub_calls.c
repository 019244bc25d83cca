#include "grpc/hub_calls.h"

#include "grpc/rpc.h"
#include "inference.pb-c.h"

enum err_code hub_live(struct unary *unary, struct err *err)
{
	Inference__ServerLiveResponse reply = INFERENCE__SERVER_LIVE_RESPONSE__INIT;
	reply.live = true;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code hub_ready(struct unary *unary, struct err *err)
{
	Inference__ServerReadyResponse reply = INFERENCE__SERVER_READY_RESPONSE__INIT;
	reply.ready = !unary->call->connection->server->ending;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code hub_metadata(struct unary *unary, struct err *err)
{
	static const char *const extensions[] = { "parameters", "model_configuration", "statistics", "model_repository",
						  "schedule_policy" };
	Inference__ServerMetadataResponse reply = INFERENCE__SERVER_METADATA_RESPONSE__INIT;
	reply.name = (char *)"dlhub";
	reply.version = (char *)DLHUB_VERSION;
	reply.extensions = (char **)extensions;
	reply.n_extensions = ARRAY_SIZE(extensions);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

static enum err_code refuse_change(const struct unary *unary, const char *what, struct err *err)
{
	if (!unary->call->principal->admin)
		return err_set(err, ERR_PERMISSION_DENIED, "%s are for administrators to change", what);
	err_set(err, ERR_FAILED_PRECONDITION, "%s are read when the hub starts", what);
	return err_advise(err, "set them in dlhubd.conf, and send dlhubd SIGHUP");
}

enum err_code hub_trace(struct unary *unary, struct err *err)
{
	const Inference__TraceSettingRequest *request = (const void *)unary->request;
	if (request->n_settings)
		return refuse_change(unary, "settings of traces", err);
	Inference__TraceSettingResponse reply = INFERENCE__TRACE_SETTING_RESPONSE__INIT;
	char *off = (char *)"OFF";
	Inference__TraceSettingResponse__SettingValue value = INFERENCE__TRACE_SETTING_RESPONSE__SETTING_VALUE__INIT;
	value.value = &off;
	value.n_value = 1;
	Inference__TraceSettingResponse__SettingsEntry level = INFERENCE__TRACE_SETTING_RESPONSE__SETTINGS_ENTRY__INIT;
	level.key = (char *)"trace_level";
	level.value = &value;
	Inference__TraceSettingResponse__SettingsEntry *entries[] = { &level };
	reply.settings = entries;
	reply.n_settings = 1;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}

enum err_code hub_log(struct unary *unary, struct err *err)
{
	const Inference__LogSettingsRequest *request = (const void *)unary->request;
	if (request->n_settings)
		return refuse_change(unary, "settings of the log", err);
	static const char *const names[] = { "error", "warning", "info", "debug" };
	static const char *const keys[] = { "log_error", "log_warning", "log_info", "log_verbose_level" };
	const char *level = settings_string(unary->call->connection->server->parts.settings, SETTING_LOG_LEVEL);
	Inference__LogSettingsResponse reply = INFERENCE__LOG_SETTINGS_RESPONSE__INIT;
	Inference__LogSettingsResponse__SettingsEntry entries[ARRAY_SIZE(keys)], *list[ARRAY_SIZE(keys)];
	Inference__LogSettingsResponse__SettingValue values[ARRAY_SIZE(keys)];
	bool on = true;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		inference__log_settings_response__settings_entry__init(&entries[i]);
		inference__log_settings_response__setting_value__init(&values[i]);
		entries[i].key = (char *)keys[i];
		entries[i].value = &values[i];
		list[i] = &entries[i];
		if (strcmp(keys[i], "log_verbose_level") == 0) {
			values[i].parameter_choice_case = INFERENCE__LOG_SETTINGS_RESPONSE__SETTING_VALUE__PARAMETER_CHOICE_UINT32_PARAM;
			values[i].uint32_param = on;
		} else {
			values[i].parameter_choice_case = INFERENCE__LOG_SETTINGS_RESPONSE__SETTING_VALUE__PARAMETER_CHOICE_BOOL_PARAM;
			values[i].bool_param = on;
		}
		on = on && strcmp(level, names[i]) != 0; /* the levels behind it are off */
	}
	reply.settings = list;
	reply.n_settings = ARRAY_SIZE(keys);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}
