/* ONNX and TensorFlow: the file describes itself. */
#include "build/inspect.h"

#include "base/alloc.h"
#include "build/onnx_example.h"
#include "build/saved_model.h"
#include "io/fs.h"

#define SUMMARY_MAX 10000

/* Why values like these need another engine than OpenVINO; NULL: they do not. It computes 64-bit floats in 32 bits. */
static const char *openvino_objection(const struct model_values *values)
{
	for (size_t i = 0; i < values->count; i++) {
		const struct model_value *value = &values->items[i];
		if (value->no_tensor)
			return "gives sequences or maps";
		if (value->complex_numbers)
			return "uses complex numbers";
		if (value->dtype == DTYPE_BYTES)
			return "uses strings";
		if (value->dtype == DTYPE_FP64)
			return "uses 64-bit floats";
		if (value->dtype == DTYPE_UINT64 || value->dtype == DTYPE_UINT32)
			return "uses unsigned integers past 31 bits";
	}
	return NULL;
}

static const char *objection_of(const struct model_values *inputs, const struct model_values *outputs)
{
	const char *objection = openvino_objection(inputs);

	return objection ? objection : openvino_objection(outputs);
}

static enum err_code check_external(const char *folder, const char *file, struct str external, struct err *err)
{
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *path = xasprintf("%s/%.*s" STR_FMT, folder, slash ? (int)(slash - file + 1) : 0, file,
					      STR_ARG(external));

	if (fs_exists(path))
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "its weights are in '" STR_FMT "', which is not among the files", STR_ARG(external));
	return err_advise(err, "publish the folder that holds both, or save the model with its weights inside");
}

static enum err_code describe_onnx(const char *folder, const struct detected *found, const struct onnx_model *model,
				   struct inspection *ret, struct err *err)
{
	const char *objection = objection_of(&model->inputs, &model->outputs);
	enum err_code code = model->external.len ? check_external(folder, found->file, model->external, err) : ERR_OK;

	if (code != ERR_OK)
		return code;
	if (!objection && model->classic_ml)
		objection = "uses classic machine learning operators (ai.onnx.ml)";
	json_object_set_new(ret->servable, "methods",
			    json_pack("{s:o}", "run", describe_method(&model->inputs, &model->outputs)));
	json_object_set_new(ret->files, "model", json_string(found->file));
	onnx_example_read(folder, found->file, model, ret->notes, &ret->golden);
	ret->engine = objection ? "python" : "openvino";
	ret->objection = objection;
	inspection_require(ret, "onnxruntime");
	inspection_require(ret, "numpy");
	ret->framework = xasprintf("ONNX opset %lld", (long long)model->opset);
	_cleanup_free_ char *summary =
		xasprintf("ONNX graph '" STR_FMT "': %zu nodes, %zu weights, opset %lld, IR version %lld%s" STR_FMT "%s" STR_FMT,
			  STR_ARG(model->graph_name), model->node_count, model->initializer_count, (long long)model->opset,
			  (long long)model->ir_version, model->producer.len ? ", made by " : "", STR_ARG(model->producer),
			  model->producer_version.len ? " " : "", STR_ARG(model->producer_version));
	json_object_set_new(ret->servable, "model_summary", json_stringn(summary, MIN(strlen(summary), SUMMARY_MAX)));
	if (objection) {
		inspection_note(ret, "served by ONNX Runtime, since the model %s", objection);
	} else if (model->foreign_domain.len) {
		inspection_note(ret, "the model uses operators of '" STR_FMT "', which no engine here may know",
				STR_ARG(model->foreign_domain));
	}
	return ERR_OK;
}

enum err_code inspect_onnx(const char *folder, const struct detected *found, const json_t *metadata, struct inspection *ret,
			   struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, found->file);
	struct onnx_model model;
	struct mapped file;
	enum err_code code = mapped_open(path, &file, err);

	if (code != ERR_OK)
		return code;
	code = onnx_read((struct str){ file.data, file.len }, &model, err);
	if (code == ERR_OK) {
		code = describe_onnx(folder, found, &model, ret, err);
		onnx_model_done(&model);
	}
	mapped_close(&file);
	return code;
}

/* --- TensorFlow --- */

static bool same_values(const struct model_values *a, const struct model_values *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct model_value *x = &a->items[i], *y = &b->items[i];
		if (x->dtype != y->dtype || x->rank != y->rank || x->unknown_rank != y->unknown_rank ||
		    memcmp(x->shape, y->shape, x->rank * sizeof(*x->shape)) != 0)
			return false;
	}
	return true;
}

/* Keras' export writes its only function twice, as "serve" and as "serving_default". */
static bool is_twin(const struct saved_model *model, const struct saved_model_signature *signature)
{
	const struct saved_model_signature *main = saved_model_signature(model, STR("serving_default"));

	return main && main != signature && str_eq(signature->name, STR("serve")) &&
	       same_values(&main->inputs, &signature->inputs) && same_values(&main->outputs, &signature->outputs);
}

static bool is_method_name(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
		if (!letter && !(i && c >= '0' && c <= '9'))
			return false;
	}
	return name.len && name.len <= 127;
}

/* Every signature is a method; serving_default is `run`. Returns how many. */
static size_t add_methods(const struct saved_model *model, const char **ret_objection, struct inspection *ret)
{
	json_t *methods = json_object();
	size_t count = 0;

	json_object_set_new(ret->servable, "methods", methods);
	for (size_t i = 0; i < model->count; i++) {
		const struct saved_model_signature *signature = &model->signatures[i];
		bool main = str_eq(signature->name, STR("serving_default")) || model->count == 1;
		if (is_twin(model, signature))
			continue;
		if (!main && !is_method_name(signature->name)) {
			inspection_note(ret, "left out: signature '" STR_FMT "', whose name cannot be a method's",
					STR_ARG(signature->name));
			continue;
		}
		json_t *method = describe_method(&signature->inputs, &signature->outputs);
		json_object_set_new(json_object_get(method, "method_details"), "method_name",
				    json_stringn(signature->name.data, signature->name.len));
		if (main)
			json_object_set_new(methods, "run", method);
		else
			json_object_setn_new(methods, signature->name.data, signature->name.len, method);
		if (!*ret_objection)
			*ret_objection = objection_of(&signature->inputs, &signature->outputs);
		if (!*ret_objection && !str_eq(signature->name, STR("serving_default")))
			*ret_objection = model->count == 1 ? "calls its only signature otherwise than serving_default" :
							     "has several signatures";
		count++;
	}
	return count;
}

static enum err_code describe_saved_model(const struct detected *found, const struct saved_model *model,
					  struct inspection *ret, struct err *err)
{
	const char *objection = NULL;
	size_t folder = strlen(found->file) - strlen("saved_model.pb");
	json_t *other = json_array();
	const json_t *path;
	size_t i;

	add_methods(model, &objection, ret);
	if (!json_path(ret->servable, "methods.run")) {
		json_decref(other);
		err_set(err, ERR_INVALID_ARGUMENT, "the SavedModel has several signatures, but no serving_default");
		return err_advise(err, "save it with signatures={'serving_default': …}: that one becomes the method `run`");
	}
	for (i = 0; i < model->count; i++)
		if (!model->signatures[i].outputs.count || !model->signatures[i].inputs.count) {
			json_decref(other);
			return err_set(err, ERR_INVALID_ARGUMENT, "its signature '" STR_FMT "' has no %s",
				       STR_ARG(model->signatures[i].name), model->signatures[i].inputs.count ? "outputs" : "inputs");
		}
	/* The one with the model first: shims take its folder. */
	json_array_append_new(other, json_string(found->file));
	json_array_foreach(found->paths, i, path)
		if (strncmp(json_string_value(path), found->file, folder) == 0 && strcmp(json_string_value(path), found->file) != 0)
			json_array_append(other, (json_t *)path);
	json_object_set_new(ret->files, "other", other);
	ret->engine = objection ? "python" : "openvino";
	ret->objection = objection;
	inspection_require(ret, "tensorflow-cpu");
	inspection_require(ret, "numpy");
	ret->framework = xasprintf("TensorFlow%s" STR_FMT, model->tensorflow_version.len ? " " : "",
				   STR_ARG(model->tensorflow_version));
	if (objection)
		inspection_note(ret, "served by TensorFlow itself, since the model %s", objection);
	return ERR_OK;
}

enum err_code inspect_tensorflow(const char *folder, const struct detected *found, const json_t *metadata,
				 struct inspection *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, found->file);
	struct saved_model model;
	struct mapped file;
	enum err_code code = mapped_open(path, &file, err);

	if (code != ERR_OK)
		return code;
	code = saved_model_read((struct str){ file.data, file.len }, &model, err);
	if (code == ERR_OK) {
		code = describe_saved_model(found, &model, ret, err);
		saved_model_done(&model);
	}
	mapped_close(&file);
	return code;
}
