#include "build/detect.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "build/onnx.h"
#include "io/fs.h"

#define C(content) (1u << CONTENT_##content)
#define DETECT_LISTED 12 /* files named in an error */

const struct model_type model_types[MODEL_KIND_COUNT] = {
	[MODEL_ONNX] = { "ONNX Model", "onnx.ONNXServable", { "onnx" }, C(ONNX) },
	[MODEL_TENSORFLOW] = { "TensorFlow Model", "tensorflow.TensorFlowServable", { "tensorflow", "savedmodel" },
			       C(SAVED_MODEL) },
	[MODEL_KERAS] = { "Keras Model", "keras.KerasServable", { "keras" }, C(KERAS) | C(HDF5) },
	[MODEL_SKLEARN] = { "Scikit-learn estimator", "sklearn.ScikitLearnServable", { "sklearn", "scikit-learn" },
			    C(PICKLE) | C(COMPRESSED) },
	[MODEL_TORCH] = { "Torch Model", "pytorch.TorchServable", { "torch.TorchServable", "torch", "pytorch" },
			  C(TORCHSCRIPT) | C(TORCH) },
	[MODEL_PYTHON_FUNCTION] = { "Python static method", "python.PythonStaticMethodServable",
				    { "python function", "function" }, 0 },
	[MODEL_PYTHON_CLASS] = { "Python class method", "python.PythonClassMethodServable", { "python class", "class" },
				 C(PICKLE) },
};

/* A file that may be the model. */
struct candidate {
	const char *path; /* borrowed of detected.paths */
	enum content content;
	enum model_kind kind;
};

struct candidates {
	struct candidate *items; /* owned */
	size_t count;
};

static enum err_code collect(void *context, const char *relative, int64_t bytes, struct err *err)
{
	json_array_append_new(context, json_string(relative));
	return ERR_OK;
}

/* --- what the publisher says --- */

static bool names_type(const struct model_type *type, const char *text)
{
	bool same = !strcasecmp(text, type->type) || !strcasecmp(text, type->shim);

	for (size_t i = 0; i < ARRAY_SIZE(type->aliases) && type->aliases[i]; i++)
		same |= !strcasecmp(text, type->aliases[i]);
	return same;
}

/* MODEL_KIND_COUNT in *ret where nothing is said. */
static enum err_code declared_kind(const json_t *metadata, enum model_kind *ret, struct err *err)
{
	const char *shim = json_path_string(metadata, "servable.shim"), *type = json_path_string(metadata, "servable.type");
	const char *said[] = { shim, type };
	struct buf known;

	*ret = MODEL_KIND_COUNT;
	for (size_t s = 0; s < ARRAY_SIZE(said); s++) {
		for (size_t i = 0; said[s] && *ret == MODEL_KIND_COUNT && i < MODEL_KIND_COUNT; i++)
			if (names_type(&model_types[i], said[s]))
				*ret = (enum model_kind)i;
	}
	if (*ret != MODEL_KIND_COUNT || (!shim && !type))
		return ERR_OK;
	buf_init(&known, 4096);
	for (size_t i = 0; i < MODEL_KIND_COUNT; i++)
		buf_printf(&known, "%s\"%s\"", i ? ", " : "", model_types[i].type);
	err_set(err, ERR_INVALID_ARGUMENT, "servable.type \"%s\" is none that this hub serves", type ? type : shim);
	err_advise(err, "known types: %s", known.data);
	buf_done(&known);
	return ERR_INVALID_ARGUMENT;
}

/* --- what the files say --- */

static enum model_kind kind_of(enum content content)
{
	for (size_t i = 0; i < MODEL_KIND_COUNT; i++)
		if (model_types[i].contents & (1u << content))
			return (enum model_kind)i;
	return MODEL_KIND_COUNT;
}

/* Is `path` beside the saved_model.pb of an earlier candidate (its variables and assets)? */
static bool is_of_saved_model(const json_t *paths, const char *path)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(paths, i, entry) {
		const char *other = json_string_value(entry);
		size_t folder = strlen(other) - MIN(strlen(other), strlen("saved_model.pb"));
		if ((strcmp(other, "saved_model.pb") == 0 || str_ends(other, "/saved_model.pb")) && strcmp(path, other) != 0 &&
		    strncmp(path, other, folder) == 0)
			return true;
	}
	return false;
}

static bool is_test_data(const char *path)
{
	return str_starts(path, "test_data_set_") || strstr(path, "/test_data_set_");
}

/* Looks at every file; `kind` restricts where it is not MODEL_KIND_COUNT. */
static enum err_code find_candidates(const char *folder, const json_t *paths, const char *named, enum model_kind kind,
				     struct candidates *ret, struct err *err)
{
	const json_t *entry;
	size_t i;

	ret->items = xcalloc(json_array_size(paths) + 1, sizeof(*ret->items));
	json_array_foreach(paths, i, entry) {
		struct candidate c = { .path = json_string_value(entry) };
		if ((named && strcmp(named, c.path) != 0) || is_of_saved_model(paths, c.path) || is_test_data(c.path))
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, c.path);
		enum err_code code = content_of(path, c.path, &c.content, err);
		if (code != ERR_OK)
			return code;
		c.kind = kind_of(c.content);
		if (kind != MODEL_KIND_COUNT && model_types[kind].contents & (1u << c.content))
			c.kind = kind;
		else if (kind != MODEL_KIND_COUNT)
			continue;
		if (c.kind != MODEL_KIND_COUNT)
			ret->items[ret->count++] = c;
	}
	return ERR_OK;
}

/* "a.onnx (an ONNX model), b.txt (text)" of everything in the folder. */
static char *list_files(const char *folder, const json_t *paths)
{
	struct buf text;
	const json_t *entry;
	size_t i;

	buf_init(&text, 16384);
	json_array_foreach(paths, i, entry) {
		enum content content = CONTENT_OTHER;
		if (i == DETECT_LISTED) {
			buf_printf(&text, " and %zu more", json_array_size(paths) - i);
			break;
		}
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, json_string_value(entry));
		if (content_of(path, json_string_value(entry), &content, NULL) != ERR_OK)
			content = CONTENT_OTHER;
		buf_printf(&text, "%s%s (%s)", i ? ", " : "", json_string_value(entry), content_name(content));
	}
	return buf_take(&text, NULL);
}

/* What a name promises, and the contents that keep it. */
static const struct {
	const char *suffix, *what;
	unsigned int contents;
} claims[] = {
	{ ".onnx", "an ONNX file", C(ONNX) },
	{ "saved_model.pb", "a TensorFlow SavedModel", C(SAVED_MODEL) },
	{ ".keras", "a Keras model", C(KERAS) | C(HDF5) },
	{ ".h5", "an HDF5 file", C(HDF5) },
	{ ".hdf5", "an HDF5 file", C(HDF5) },
	{ ".pkl", "a pickle", C(PICKLE) | C(COMPRESSED) | C(TORCH) },
	{ ".pickle", "a pickle", C(PICKLE) | C(COMPRESSED) | C(TORCH) },
	{ ".joblib", "a joblib file", C(PICKLE) | C(COMPRESSED) },
	{ ".pt", "a PyTorch file", C(TORCH) | C(TORCHSCRIPT) },
	{ ".pth", "a PyTorch file", C(TORCH) | C(TORCHSCRIPT) },
};

/* Why a file that calls itself a model is none. ERR_OK: no file does. */
static enum err_code explain_broken(const char *folder, const char *name, struct err *err)
{
	for (size_t k = 0; k < ARRAY_SIZE(claims); k++) {
		enum content content;
		struct mapped file;
		if (!str_ends(name, claims[k].suffix))
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
		enum err_code code = content_of(path, name, &content, err);
		if (code != ERR_OK || claims[k].contents & (1u << content))
			return code;
		/* The reader of ONNX knows best what is wrong with one. */
		struct onnx_model model;
		code = k == 0 ? mapped_open(path, &file, err) : ERR_OK;
		if (code != ERR_OK)
			return code;
		bool readable = k == 0 && onnx_read((struct str){ file.data, file.len }, &model, err) == ERR_OK;
		if (readable)
			onnx_model_done(&model);
		if (k == 0 && !readable)
			err_wrap(err, "'%s'", name);
		else
			err_set(err, ERR_INVALID_ARGUMENT, "'%s' should be %s by its name, but is %s", name, claims[k].what,
				content_name(content));
		if (k == 0)
			mapped_close(&file);
		return err_advise(err, "it is damaged, cut off or of another format: save the model again, and check that it "
				       "loads where it was made");
	}
	return ERR_OK;
}

static enum err_code nothing_found(const char *folder, const json_t *paths, enum model_kind declared, struct err *err)
{
	const json_t *entry;
	bool python = false;
	size_t i;

	json_array_foreach(paths, i, entry) {
		enum err_code code = explain_broken(folder, json_string_value(entry), err);
		if (code != ERR_OK)
			return code;
		python |= str_ends(json_string_value(entry), ".py");
	}
	_cleanup_free_ char *list = list_files(folder, paths);
	if (declared != MODEL_KIND_COUNT) {
		err_set(err, ERR_INVALID_ARGUMENT, "the metadata say \"%s\", but no file is one; found: %s",
			model_types[declared].type, list);
		return err_advise(err, "correct servable.type, or add the model file");
	}
	err_set(err, ERR_INVALID_ARGUMENT, "no file is a model that this hub serves; found: %s", list);
	if (python)
		return err_advise(err, "to publish Python code say what to run: dlhub publish FILE.py --function NAME, or "
				       "--class NAME --method NAME");
	return err_advise(err, "served are: ONNX (.onnx), TensorFlow SavedModel (a folder with saved_model.pb), Keras (.keras, "
			       ".h5), scikit-learn (.pkl, .joblib), PyTorch (TorchScript; .pt), Python functions and classes");
}

static enum err_code several_found(const struct candidates *candidates, struct err *err)
{
	struct buf text;

	buf_init(&text, 16384);
	for (size_t i = 0; i < candidates->count && i < DETECT_LISTED; i++)
		buf_printf(&text, "%s%s (%s)", i ? ", " : "", candidates->items[i].path,
			   content_name(candidates->items[i].content));
	err_set(err, ERR_INVALID_ARGUMENT, "%zu files may be the model: %s", candidates->count, text.data);
	buf_done(&text);
	return err_advise(err, "publish one model at a time, or name the file in the metadata: \"dlhub\": {\"files\": "
			       "{\"model\": \"%s\"}}", candidates->items[0].path);
}

/* The file that dlhub.files names under `key`, as it is called here: the SDK writes paths of the publisher's own
 * machine. NULL in *ret where nothing is named. Borrowed of `paths`. */
static enum err_code named_file(const json_t *metadata, const json_t *paths, const char *key, const char **ret, struct err *err)
{
	const json_t *entry;
	const char *said = json_string_value(json_object_get(json_path(metadata, "dlhub.files"), key));
	size_t i;

	*ret = NULL;
	if (!said)
		return ERR_OK;
	const char *base = strrchr(said, '/') ? strrchr(said, '/') + 1 : said;
	json_array_foreach(paths, i, entry) {
		const char *path = json_string_value(entry), *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
		if (strcmp(path, said) == 0) {
			*ret = path;
			return ERR_OK;
		}
		if (!*ret && strcmp(name, base) == 0)
			*ret = path;
	}
	if (*ret)
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "dlhub.files.%s names '%s', which is not among the files", key, said);
	return err_advise(err, "give its path inside the archive, or leave dlhub.files out");
}

/* Is a class made by calling it, not by unpickling an instance? */
static bool class_by_name(const json_t *metadata)
{
	const json_t *details = json_path(metadata, "servable.methods.run.method_details");

	return json_object_get(details, "class_name") && json_object_get(details, "module");
}

enum err_code detect(const char *folder, const json_t *metadata, struct detected *ret, struct err *err)
{
	struct candidates candidates = { 0 };
	const char *named = NULL;
	enum model_kind declared = 0;
	json_t *paths = json_array();
	enum err_code code = fs_each_file(folder, collect, paths, err);

	*ret = (struct detected){ 0 };
	if (code == ERR_OK)
		code = declared_kind(metadata, &declared, err);
	if (code == ERR_OK)
		code = named_file(metadata, paths, declared == MODEL_PYTHON_CLASS ? "pickle" : "model", &named, err);
	bool fileless = code == ERR_OK && (declared == MODEL_PYTHON_FUNCTION ||
					   (declared == MODEL_PYTHON_CLASS && !named && class_by_name(metadata)));
	if (code == ERR_OK && !fileless) {
		code = find_candidates(folder, paths, named, declared, &candidates, err);
		if (code == ERR_OK && !candidates.count)
			code = nothing_found(folder, paths, declared, err);
		else if (code == ERR_OK && candidates.count > 1)
			code = several_found(&candidates, err);
	}
	if (code == ERR_OK) {
		ret->kind = fileless ? declared : candidates.items[0].kind;
		ret->content = fileless ? CONTENT_PYTHON : candidates.items[0].content;
		ret->file = xstrdup(fileless ? "" : candidates.items[0].path);
		ret->paths = paths;
	} else {
		json_decref(paths);
	}
	free(candidates.items);
	return code;
}

void detected_done(struct detected *detected)
{
	free(detected->file);
	json_decref(detected->paths);
	*detected = (struct detected){ 0 };
}
