/* A servable block whose pipeline is parsed: what is taken is a graph in order, and what is refused says so in UTF-8. */
#include "schedule/pipeline_types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 16

static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static size_t check_ports(const struct pipeline_port *ports, size_t count, size_t before)
{
	size_t used = 0;
	for (size_t i = 0; i < count; i++) {
		require(ports[i].from.step >= PIPELINE_INPUT && ports[i].from.step < (int)before, "a step behind those that need it");
		used += ports[i].from.step >= 0;
	}
	return used;
}

static void check_graph(const struct pipeline *pipeline)
{
	size_t references = 0, used = 0;
	require(pipeline->step_count > 0 && pipeline->step_count <= STEPS_MAX && pipeline->output_count > 0, "size");
	for (size_t i = 0; i < pipeline->step_count; i++) {
		const struct pipeline_step *step = &pipeline->steps[i];
		require((step->combine == COMBINE_NONE) == (step->servable.len > 0), "either a servable or a combiner");
		require(step->used > 0, "a step that nothing uses");
		references += check_ports(step->inputs, step->input_count, i);
		used += step->used;
	}
	references += check_ports(pipeline->outputs, pipeline->output_count, pipeline->step_count);
	require(references == used, "uses");
}

/* As if every servable in it were `method`. */
static void check_types(const struct pipeline *pipeline, const struct method *method)
{
	const struct method *methods[STEPS_MAX];
	struct err err = ERR_INIT;
	json_t *follows = NULL;
	for (size_t i = 0; i < pipeline->step_count; i++)
		methods[i] = pipeline->steps[i].combine ? NULL : method;
	if (pipeline_check(pipeline, methods, NULL, &follows, &err) == ERR_OK)
		require(json_object_get(follows, "input") && json_object_get(follows, "output"), "what follows");
	else
		require(str_is_utf8(err_text(&err), strlen(err_text(&err))), "an error that is not UTF-8");
	json_decref(follows);
	err_done(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = NULL;
	struct pipeline *pipeline = NULL;
	struct signature *signature = NULL;
	struct err err = ERR_INIT;
	if (json_read((const char *)data, size, 64, "servable", &json, NULL) != ERR_OK)
		return 0;
	if (pipeline_parse(json, STEPS_MAX, &pipeline, &err) == ERR_OK) {
		check_graph(pipeline);
		if (signature_parse(json, &signature, NULL) == ERR_OK)
			check_types(pipeline, signature_method(signature, STR("run")));
	} else {
		require(str_is_utf8(err_text(&err), strlen(err_text(&err))), "an error that is not UTF-8");
	}
	err_done(&err);
	signature_destroy(signature);
	pipeline_destroy(pipeline);
	json_decref(json);
	return 0;
}
