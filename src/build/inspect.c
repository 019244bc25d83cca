#include "build/inspect.h"

#include "base/alloc.h"
#include "build/requirements.h"

typedef enum err_code (*inspect_fn)(const char *folder, const struct detected *found, const json_t *metadata,
				    struct inspection *ret, struct err *err);

static const inspect_fn inspectors[MODEL_KIND_COUNT] = {
	[MODEL_ONNX] = inspect_onnx,	   [MODEL_TENSORFLOW] = inspect_tensorflow,  [MODEL_KERAS] = inspect_keras,
	[MODEL_SKLEARN] = inspect_sklearn, [MODEL_TORCH] = inspect_torch,	     [MODEL_PYTHON_FUNCTION] = inspect_python,
	[MODEL_PYTHON_CLASS] = inspect_python,
};

/* Words for people that the publisher put on an input or output are kept. */
static void keep_words(json_t *found, const json_t *said)
{
	static const char *const words[] = { "description" };
	json_t *element, *said_elements = json_object_get(said, "element_types");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		json_t *value = json_object_get(said, words[i]);
		if (json_is_string(value))
			json_object_set(found, words[i], value);
	}
	json_array_foreach(json_object_get(found, "element_types"), i, element)
		keep_words(element, json_array_get(said_elements, i));
}

/* What the publisher says stands where the file cannot know better: words, options, defaults, a summary. */
static void merge_servable(json_t *servable, const json_t *said, bool described_by_file)
{
	static const char *const kept[] = { "model_type", "model_summary", "options" };
	json_t *methods = json_object_get(servable, "methods"), *said_methods = json_object_get(said, "methods"), *method, *value;
	const char *name;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if ((value = json_object_get(said, kept[i])))
			json_object_set(servable, kept[i], value);
	if (!methods && said_methods)
		json_object_set(servable, "methods", said_methods);
	if (!methods || !described_by_file)
		return;
	json_object_foreach(methods, name, method) {
		json_t *said_method = json_object_get(said_methods, name);
		keep_words(json_object_get(method, "input"), json_object_get(said_method, "input"));
		keep_words(json_object_get(method, "output"), json_object_get(said_method, "output"));
		if ((value = json_object_get(said_method, "parameters")))
			json_object_set(method, "parameters", value);
	}
}

/* The files that belong to the model but not to a known key. */
static void list_other(struct inspection *inspection, const json_t *paths)
{
	json_t *other = json_object_get(inspection->files, "other");
	const json_t *path, *value;
	const char *key;
	size_t i;

	if (!json_is_array(other)) {
		other = json_array();
		json_object_set_new(inspection->files, "other", other);
	}
	json_array_foreach(paths, i, path) {
		bool listed = false;
		size_t k;
		json_object_foreach(inspection->files, key, value)
			listed |= json_is_string(value) && json_equal(value, path);
		const json_t *entry;
		json_array_foreach(other, k, entry)
			listed |= json_equal(entry, path);
		if (!listed)
			json_array_append(other, (json_t *)path);
	}
	if (!json_array_size(other))
		json_object_del(inspection->files, "other");
}

enum err_code inspect(const char *folder, const json_t *metadata, json_t **ret, struct err *err)
{
	struct inspection inspection;
	struct detected found;
	json_t *requirements = NULL;
	enum err_code code = detect(folder, metadata, &found, err);

	if (code != ERR_OK)
		return code;
	inspection_init(&inspection);
	json_object_set_new(inspection.servable, "type", json_string(model_types[found.kind].type));
	json_object_set_new(inspection.servable, "shim", json_string(model_types[found.kind].shim));
	code = inspectors[found.kind](folder, &found, metadata, &inspection, err);
	if (code != ERR_OK && *found.file)
		err_wrap(err, "'%s'", found.file);
	if (code == ERR_OK)
		code = requirements_collect(folder, metadata, inspection.requirements, inspection.notes, &requirements, err);
	if (code == ERR_OK) {
		bool system = inspection.system_packages || json_is_true(json_path(metadata, "dlhub.system_packages"));
		merge_servable(inspection.servable, json_object_get(metadata, "servable"), !inspection.needs_python);
		list_other(&inspection, found.paths);
		*ret = json_pack("{s:O, s:{s:O}, s:s, s:o, s:s*, s:O, s:b, s:b}", "servable", inspection.servable, "dlhub",
				 "files", inspection.files, "engine", inspection.engine, "requirements", TAKE(requirements),
				 "framework", inspection.framework, "notes", inspection.notes, "needs_python",
				 inspection.needs_python, "system_packages", system);
		if (inspection.golden)
			json_object_set(*ret, "golden", inspection.golden);
		if (inspection.objection)
			json_object_set_new(*ret, "objection", json_string(inspection.objection));
	}
	json_decref(requirements);
	inspection_done(&inspection);
	detected_done(&found);
	return code;
}
