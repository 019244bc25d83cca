/* Keras, scikit-learn, PyTorch and plain Python: what can be told without running them. The rest is told by
 * dlhub-worker-python --inspect, in the environment that is made from what stands here. */
#include "build/inspect.h"

#include "base/alloc.h"
#include "build/pickle.h"
#include "io/fs.h"

#define KERAS_JSON_MAX (64u << 20) /* config.json of a .keras file */
#define KERAS_H5_NEAR 65536u	       /* how far behind its name the value of an attribute is looked for */
#define SYSTEM_TORCH "/usr/lib/python3/dist-packages/torch"

/* "scikit-learn 1.5.0" in golden.framework, which the publisher's own tool recorded: the version of `name`. */
static const char *recorded_version(const json_t *metadata, const char *name)
{
	const char *framework = json_path_string(metadata, "golden.framework");
	size_t len = strlen(name);

	if (!framework || strncasecmp(framework, name, len) != 0 || framework[len] != ' ')
		return NULL;
	const char *version = framework + len + 1;
	return version[strspn(version, "0123456789.")] == '\0' && *version ? version : NULL;
}

static void run_in_python(struct inspection *ret, const char *file)
{
	ret->engine = "python";
	ret->needs_python = true;
	if (*file)
		json_object_set_new(ret->files, "model", json_string(file));
}

/* major*1000 + minor of "1.5.0"; 0 where it is no version. */
static int version_number(const char *version)
{
	int major = 0, minor = 0;

	return version && sscanf(version, "%4d.%4d", &major, &minor) >= 1 ? major * 1000 + minor : 0;
}

/* --- Keras --- */

/* Keras 3 is a package of its own; Keras 2 came with TensorFlow up to 2.15. */
static void require_keras(struct inspection *ret, const char *version)
{
	int number = version_number(version);

	if (number >= 3000) {
		inspection_require(ret, "keras==%s", version);
		inspection_require(ret, "tensorflow-cpu>=2.16.1");
	} else if (number) {
		inspection_require(ret, "tensorflow-cpu==2.15.*");
		inspection_require(ret, "numpy<2");
		inspection_note(ret, "written by Keras %s: read with TensorFlow 2.15, the last that has Keras 2", version);
	} else {
		inspection_require(ret, "tensorflow-cpu");
	}
	inspection_require(ret, "numpy");
}

static enum err_code inspect_keras_zip(const char *path, struct inspection *ret, char **ret_version, struct err *err)
{
	size_t len;
	_cleanup_free_ char *metadata_text = content_zip_member(path, "metadata.json", KERAS_JSON_MAX, &len);
	_cleanup_json_ json_t *metadata = NULL, *config = NULL;
	enum err_code code = metadata_text ? json_read(metadata_text, len, 64, "metadata.json", &metadata, err) :
					     err_set(err, ERR_INVALID_ARGUMENT, "its metadata.json cannot be read");

	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *config_text = content_zip_member(path, "config.json", KERAS_JSON_MAX, &len);
	code = config_text ? json_read(config_text, len, 512, "config.json", &config, err) :
			     err_set(err, ERR_INVALID_ARGUMENT, "its config.json cannot be read");
	if (code != ERR_OK)
		return code;
	const char *version = json_path_string(metadata, "keras_version"), *class_name = json_path_string(config, "class_name");
	if (!class_name)
		return err_set(err, ERR_INVALID_ARGUMENT, "its config.json names no class, so it is no Keras model");
	const char *module = json_path_string(config, "module");
	if (module && strncmp(module, "keras", 5) != 0 && !json_path_string(config, "registered_name"))
		inspection_note(ret, "the model is of class %s.%s: its source must be among the files", module, class_name);
	*ret_version = version ? xstrdup(version) : NULL;
	return ERR_OK;
}

/* The first text like "3.1.0" near the attribute keras_version, whose value HDF5 keeps elsewhere in the file. Returned
 * owned; NULL: none. */
static char *find_h5_version(const struct mapped *file)
{
	const char *end = file->data + file->len, *key = memmem(file->data, file->len, "keras_version", 13);

	end = key ? key + MIN((size_t)(end - key), KERAS_H5_NEAR) : NULL;
	for (const char *at = key; at && at < end; at++) {
		int parts = 0;
		size_t len = 0;
		if (at[0] < '1' || at[0] > '9')
			continue;
		while (at + len < end && len < 12 && (at[len] == '.' || (at[len] >= '0' && at[len] <= '9')))
			parts += at[len++] == '.';
		bool begins = at[-1] != '.' && !(at[-1] >= '0' && at[-1] <= '9');
		if (parts == 2 && at[len - 1] != '.' && begins)
			return xstrndup(at, len);
		at += len;
	}
	return NULL;
}

static enum err_code inspect_keras_h5(const char *path, char **ret_version, struct err *err)
{
	struct mapped file;
	enum err_code code = mapped_open(path, &file, err);

	if (code != ERR_OK)
		return code;
	*ret_version = find_h5_version(&file);
	bool whole = memmem(file.data, file.len, "model_config", strlen("model_config"));
	bool weights = memmem(file.data, file.len, "layer_names", strlen("layer_names"));
	mapped_close(&file);
	if (whole)
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, weights ? "it holds the weights of a Keras model, but not its layers" :
						     "it is an HDF5 file, but no Keras model");
	return err_advise(err, weights ? "save the whole model (model.save), or add its architecture as JSON and name both: "
					 "dlhub.files.model and dlhub.files.arch" :
					 "save the model with model.save(\"model.keras\")");
}

enum err_code inspect_keras(const char *folder, const struct detected *found, const json_t *metadata, struct inspection *ret,
			    struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, found->file), *version = NULL;
	const char *arch = json_path_string(metadata, "dlhub.files.arch");
	enum err_code code = ERR_OK;

	if (found->content == CONTENT_KERAS)
		code = inspect_keras_zip(path, ret, &version, err);
	else if (!arch)
		code = inspect_keras_h5(path, &version, err);
	if (code != ERR_OK)
		return code;
	if (arch)
		json_object_set_new(ret->files, "arch", json_string(arch));
	const char *recorded = recorded_version(metadata, "keras");
	run_in_python(ret, found->file);
	require_keras(ret, version ? version : recorded);
	ret->framework = xasprintf("Keras%s%s", version || recorded ? " " : "", version ? version : recorded ? recorded : "");
	json_object_set_new(ret->servable, "model_type", json_string("Deep NN"));
	return ERR_OK;
}

/* --- scikit-learn --- */

enum err_code inspect_sklearn(const char *folder, const struct detected *found, const json_t *metadata,
			      struct inspection *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, found->file);
	struct pickle_facts facts = { 0 };
	struct mapped file;
	enum err_code code = mapped_open(path, &file, err);

	if (code != ERR_OK)
		return code;
	bool readable = found->content == CONTENT_PICKLE;
	if (readable)
		pickle_scan((struct str){ file.data, file.len }, &facts, ret);
	mapped_close(&file);
	bool declared = json_path(metadata, "servable.type") || json_path(metadata, "servable.shim");
	if (readable && !facts.sklearn && !declared) {
		err_set(err, ERR_INVALID_ARGUMENT, "it is a pickle, but names nothing of scikit-learn");
		return err_advise(err, "to serve a pickled object of your own, publish it as a Python class: --type \"Python class "
				       "method\" with the method to call");
	}
	const char *recorded = recorded_version(metadata, "scikit-learn");
	const char *version = facts.sklearn_version[0] ? facts.sklearn_version : recorded;
	run_in_python(ret, found->file);
	if (version) {
		inspection_require(ret, "scikit-learn==%s", version);
	} else {
		inspection_require(ret, "scikit-learn");
		inspection_note(ret, "the file does not say which scikit-learn wrote it, so the newest is used; name one in "
				     "dlhub.dependencies.python if it must be another");
	}
	/* Releases before 1.4.2 were built for numpy 1 and say so too weakly. */
	bool old = version_number(version) && (version_number(version) < 1004 || strncmp(version, "1.4.0", 5) == 0 ||
					       strncmp(version, "1.4.1", 5) == 0);
	inspection_require(ret, old ? "numpy<2" : "numpy");
	ret->framework = xasprintf("scikit-learn%s%s", version ? " " : "", version ? version : "");
	json_t *options = json_object();
	bool joblib = !readable || strcasestr(found->file, ".joblib") || strcasestr(found->file, ".sav");
	json_object_set_new(options, "serialization_method", json_string(joblib ? "joblib" : "pickle"));
	json_object_set_new(ret->servable, "options", options);
	if (joblib)
		inspection_require(ret, "joblib");
	return ERR_OK;
}

/* --- PyTorch --- */

enum err_code inspect_torch(const char *folder, const struct detected *found, const json_t *metadata, struct inspection *ret,
			    struct err *err)
{
	run_in_python(ret, found->file);
	/* The wheel on the public index carries CUDA, gigabytes of it; the system's package is for CPUs. */
	if (fs_exists(SYSTEM_TORCH)) {
		ret->system_packages = true;
		inspection_note(ret, "served with the system's PyTorch (python3-torch)");
	} else {
		inspection_require(ret, "torch");
		inspection_note(ret, "installing PyTorch from the package index may take gigabytes; the system's python3-torch, "
				     "where it is installed, is used instead");
	}
	ret->framework = xstrdup(found->content == CONTENT_TORCHSCRIPT ? "TorchScript" : "PyTorch");
	return ERR_OK;
}

/* --- Python functions and classes --- */

/* A module that should be among the files: "a.b" is a/b.py or a/b/__init__.py. */
static bool has_module(const char *folder, const char *module)
{
	_cleanup_free_ char *path = xstrdup(module);

	for (char *c = path; *c; c++)
		*c = *c == '.' ? '/' : *c;
	_cleanup_free_ char *file = xasprintf("%s/%s.py", folder, path), *package = xasprintf("%s/%s/__init__.py", folder, path),
			    *space = xasprintf("%s/%s", folder, path);
	return fs_exists(file) || fs_exists(package) || fs_exists(space);
}

static enum err_code check_details(const char *folder, const struct detected *found, const json_t *details,
				   struct inspection *ret, struct err *err)
{
	const char *module = json_path_string(details, "module"), *method = json_path_string(details, "method_name");
	bool function = found->kind == MODEL_PYTHON_FUNCTION;

	if (!method || (!module && (function || !*found->file))) {
		err_set(err, ERR_INVALID_ARGUMENT, "servable.methods.run.method_details names no %s", method ? "module" : "method_name");
		return err_advise(err, function ? "give \"module\" and \"method_name\", as in dlhub publish FILE.py --function NAME" :
						  "give \"module\", \"class_name\" and \"method_name\", or a pickled instance in "
						  "dlhub.files.pickle");
	}
	if (module && module[strspn(module, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")])
		return err_set(err, ERR_INVALID_ARGUMENT, "method_details.module '%.80s' is not the name of a Python module", module);
	if (module && !has_module(folder, module))
		inspection_note(ret, "module %s is not among the files, so it must come from a package", module);
	return ERR_OK;
}

enum err_code inspect_python(const char *folder, const struct detected *found, const json_t *metadata,
			     struct inspection *ret, struct err *err)
{
	const json_t *details = json_path(metadata, "servable.methods.run.method_details");
	enum err_code code = check_details(folder, found, details, ret, err);

	if (code != ERR_OK)
		return code;
	run_in_python(ret, "");
	if (*found->file) {
		struct pickle_facts facts;
		struct mapped file;
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, found->file);
		code = mapped_open(path, &file, err);
		if (code != ERR_OK)
			return code;
		pickle_scan((struct str){ file.data, file.len }, &facts, ret);
		mapped_close(&file);
		json_object_set_new(ret->files, "pickle", json_string(found->file));
		if (facts.sklearn && facts.sklearn_version[0])
			inspection_require(ret, "scikit-learn==%s", facts.sklearn_version);
	}
	inspection_require(ret, "numpy");
	ret->framework = xstrdup("Python");
	return ERR_OK;
}
