#include "build/inspect.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/test.h"
#include "build/onnx.h"
#include "build/saved_model.h"
#include "io/fs.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* TEST_MODELS is the folder that tools/make_models.py wrote. */

static char folder[64];
static json_t *found;
static struct err err;

static int set_up(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/dlhub-inspect-XXXXXX");
	found = NULL;
	err = ERR_INIT;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	json_decref(found);
	err_done(&err);
	return fs_remove_tree(folder, NULL) != ERR_OK;
}

static void again(void **state)
{
	tear_down(state);
	assert_int_equal(set_up(state), 0);
}

static void put(const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name), *parent = xstrdup(path);

	*strrchr(parent, '/') = '\0';
	assert_int_equal(fs_mkdirs(parent, NULL), ERR_OK);
	assert_int_equal(fs_write_durable(path, data, len, 0600, NULL), ERR_OK);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

/* A model of tools/make_models.py under `name`; its bytes into `ret` (may be NULL) to cut or change. */
static void put_model(const char *model, const char *name, size_t cut)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.onnx", TEST_MODELS, model);
	struct buf bytes;

	buf_init(&bytes, 1 << 20);
	assert_int_equal(fs_read(path, &bytes, NULL), ERR_OK);
	put(name, bytes.data, bytes.len - MIN(cut, bytes.len));
	buf_done(&bytes);
}

static enum err_code look(const char *metadata_text)
{
	_cleanup_json_ json_t *metadata = json_loads(metadata_text, 0, NULL);

	assert_non_null(metadata);
	json_decref(found);
	found = NULL;
	err_done(&err);
	return inspect(folder, metadata, &found, &err);
}

static void look_ok(const char *metadata)
{
	if (look(metadata) != ERR_OK)
		fail_msg("%s", err_text(&err));
}

static void expect_refused(const char *metadata, const char *part)
{
	assert_int_equal(look(metadata), ERR_INVALID_ARGUMENT);
	if (!strstr(err_text(&err), part))
		fail_msg("'%s' does not say '%s'", err_text(&err), part);
}

/* The member at `path` of what was found, as JSON. */
static void expect(const char *path, const char *json)
{
	_cleanup_json_ json_t *expected = json_loads(json, JSON_DECODE_ANY, NULL);
	_cleanup_free_ char *got = json_dumps(json_path(found, path), JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(expected);
	if (!json_equal(json_path(found, path), expected))
		fail_msg("%s is %s, expected %s", path, got ? got : "absent", json);
}

static void test_onnx(void **state)
{
	put_model("relu", "deep/model.onnx", 0);
	put_text("README.md", "words");
	look_ok("{\"servable\":{\"methods\":{\"run\":{\"input\":{\"description\":\"a batch\"}}}}}");
	expect("servable.type", "\"ONNX Model\"");
	expect("servable.shim", "\"onnx.ONNXServable\"");
	expect("servable.methods.run.input", "{\"type\":\"ndarray\",\"name\":\"x\",\"shape\":[null,4],\"item_type\":{\"type\":\"float\","
					     "\"dtype\":\"FP32\"},\"description\":\"a batch\"}");
	expect("dlhub.files", "{\"model\":\"deep/model.onnx\",\"other\":[\"README.md\"]}");
	expect("engine", "\"openvino\"");
	expect("needs_python", "false");
	expect("requirements", "[\"numpy\",\"onnxruntime\"]"); /* of the framework: it may be asked too */
	assert_null(json_path(found, "objection"));
	assert_non_null(strstr(json_path_string(found, "servable.model_summary"), "made by dlhub-test 1.0"));
	again(state);
	put_model("weighted", "m.onnx", 0);
	look_ok("{}");
	expect("servable.methods.run.input.name", "\"x\""); /* not the weights */
	again(state);
	put_model("two", "m.onnx", 0);
	look_ok("{}");
	expect("servable.methods.run.input.type", "\"tuple\"");
	again(state);
	put_model("scalar", "m.onnx", 0);
	look_ok("{}");
	expect("servable.methods.run.input.shape", "[]");
	again(state);
	put_model("unknown_rank", "m.onnx", 0);
	look_ok("{}");
	expect("servable.methods.run.input.shape", "\"Any\"");
}

/* What OpenVINO would not compute as the model says goes to ONNX Runtime. */
static void test_onnx_engines(void **state)
{
	static const struct {
		const char *model, *engine, *item;
	} cases[] = {
		{ "identity", "\"openvino\"", "{\"type\":\"float\",\"dtype\":\"FP32\"}" },
		{ "int64", "\"openvino\"", "{\"type\":\"integer\",\"dtype\":\"INT64\"}" },
		{ "boolean", "\"openvino\"", "{\"type\":\"boolean\",\"dtype\":\"BOOL\"}" },
		{ "bfloat16", "\"openvino\"", "{\"type\":\"float\",\"dtype\":\"BF16\"}" },
		{ "double", "\"python\"", "{\"type\":\"float\",\"dtype\":\"FP64\"}" },
		{ "string", "\"python\"", "{\"type\":\"string\",\"dtype\":\"BYTES\"}" },
		{ "scaler", "\"python\"", "{\"type\":\"float\",\"dtype\":\"FP32\"}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_model(cases[i].model, "m.onnx", 0);
		look_ok("{}");
		expect("engine", cases[i].engine);
		expect("requirements", "[\"numpy\",\"onnxruntime\"]");
		if (strcmp(cases[i].engine, "\"python\"") == 0)
			assert_non_null(json_path_string(found, "objection"));
		expect("servable.methods.run.input.item_type", cases[i].item);
		again(state);
	}
}

/* The example that a model of the ONNX model zoo carries. */
static void test_onnx_example(void **state)
{
	/* [2] of FLOAT, raw; then as packed floats. */
	static const char raw[] = "\x08\x01\x08\x04\x10\x01\x4a\x10\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40";
	static const char packed[] = "\x0a\x02\x01\x04\x22\x10\0\0\x80\x3f\0\0\0\0\0\0\x40\x40\0\0\x80\x40\x10\x01";

	put_model("relu", "m/model.onnx", 0);
	put("m/test_data_set_0/input_0.pb", raw, sizeof(raw) - 1);
	look_ok("{}");
	expect("golden.request", "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1.0,2.0,3.0,4.0]}]}");
	expect("golden.source", "\"file\"");
	assert_null(json_path(found, "golden.response"));
	put("m/test_data_set_0/output_0.pb", packed, sizeof(packed) - 1);
	look_ok("{}");
	expect("golden.response",
	       "{\"outputs\":[{\"name\":\"y\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1.0,0.0,3.0,4.0]}]}");
	put("m/test_data_set_0/input_0.pb", raw, sizeof(raw) - 2);
	look_ok("{}");
	assert_null(json_path(found, "golden"));
	expect("notes", "[\"test_data_set_0 is not used: input_0.pb: the tensor is damaged or cut off\"]");
}

static void test_onnx_bad(void **state)
{
	for (size_t cut = 1; cut < 84; cut += 3) {
		put_model("identity", "m.onnx", cut);
		enum err_code code = look("{}");
		/* Cut where the operator set begins, it is whole again: nothing can tell. */
		if (code == ERR_OK)
			assert_string_equal(json_path_string(found, "servable.type"), "ONNX Model");
		else
			assert_true(code == ERR_INVALID_ARGUMENT && strstr(err_text(&err), "'m.onnx'") && err_hint(&err));
	}
	put_text("m.onnx", "");
	expect_refused("{}", "the file is empty");
	put_text("m.onnx", "\x89HDF\r\n\x1a\n and so on");
	expect_refused("{}", "'m.onnx'");
	uint8_t noise[5000];
	uint32_t seed = 7;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
	put("m.onnx", noise, sizeof(noise));
	expect_refused("{}", "it is no ONNX file");
}

/* --- SavedModel --- */

static void pb_bytes(struct buf *out, int field, const void *data, size_t len)
{
	assert_true(len < 16384);
	buf_putc(out, (char)(field << 3 | 2));
	if (len >= 128)
		buf_putc(out, (char)((len & 0x7f) | 0x80));
	buf_putc(out, (char)(len >= 128 ? len >> 7 : len));
	buf_append(out, data, len);
}

static void pb_message(struct buf *out, int field, struct buf *message)
{
	pb_bytes(out, field, message->data ? message->data : "", message->len);
	buf_clear(message);
}

/* A tensor of dtype `type` and shape [-1, axis] as entry of a signature. */
static void pb_tensor(struct buf *signature, int field, const char *name, char type, char axis)
{
	char shape[] = { 0x12, 0x0b, 0x08, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0x01, 0x12, 0x02, 0x08, axis };
	char dtype[] = { 0x10, type };
	struct buf tensor, entry;

	buf_init(&tensor, 4096);
	buf_init(&entry, 4096);
	buf_append(&tensor, dtype, sizeof(dtype));
	pb_bytes(&tensor, 3, shape, sizeof(shape));
	pb_bytes(&entry, 1, name, strlen(name));
	pb_message(&entry, 2, &tensor);
	pb_message(signature, field, &entry);
	buf_done(&tensor);
	buf_done(&entry);
}

static void pb_signature(struct buf *graph, const char *name, char type)
{
	struct buf signature, entry;

	buf_init(&signature, 4096);
	buf_init(&entry, 4096);
	pb_tensor(&signature, 1, "z", 1, 3);
	pb_tensor(&signature, 1, "a", type, 2);
	pb_tensor(&signature, 2, "out", 1, 5);
	pb_bytes(&entry, 1, name, strlen(name));
	pb_message(&entry, 2, &signature);
	pb_message(graph, 5, &entry);
	buf_done(&signature);
	buf_done(&entry);
}

static void put_saved_model(const char *path, const char *const *signatures, char type, size_t cut)
{
	struct buf graph, model, info;

	buf_init(&graph, 16384);
	buf_init(&model, 16384);
	buf_init(&info, 4096);
	pb_bytes(&info, 4, "serve", 5);
	pb_bytes(&info, 5, "2.15.0", 6);
	pb_message(&graph, 1, &info);
	for (size_t i = 0; signatures[i]; i++)
		pb_signature(&graph, signatures[i], type);
	pb_bytes(&model, 1, "", 0); /* an unknown field of another type */
	pb_message(&model, 2, &graph);
	put(path, model.data, model.len - cut);
	buf_done(&graph);
	buf_done(&model);
	buf_done(&info);
}

static void test_saved_model(void **state)
{
	static const char *const one[] = { "__saved_model_init_op", "serving_default", NULL };
	static const char *const twins[] = { "serve", "serving_default", NULL };
	static const char *const several[] = { "serving_default", "embed", NULL };
	static const char *const other[] = { "a", "b", NULL };
	static const char *const none[] = { NULL };

	put_saved_model("export/saved_model.pb", one, 1, 0);
	put_text("export/variables/variables.index", "x");
	put_text("export/variables/a.pkl", "\x80\x04.");
	look_ok("{}");
	expect("servable.type", "\"TensorFlow Model\"");
	expect("engine", "\"openvino\"");
	expect("servable.methods.run.input.element_types",
	       "[{\"type\":\"ndarray\",\"name\":\"a\",\"shape\":[null,2],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}},"
	       "{\"type\":\"ndarray\",\"name\":\"z\",\"shape\":[null,3],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}]");
	expect("servable.methods.run.output.name", "\"out\"");
	expect("dlhub.files.other",
	       "[\"export/saved_model.pb\",\"export/variables/a.pkl\",\"export/variables/variables.index\"]");
	expect("framework", "\"TensorFlow 2.15.0\"");
	put_saved_model("export/saved_model.pb", twins, 1, 0);
	look_ok("{}");
	expect("engine", "\"openvino\"");
	assert_null(json_path(found, "servable.methods.serve"));
	put_saved_model("export/saved_model.pb", several, 1, 0);
	look_ok("{}");
	expect("engine", "\"python\"");
	expect("requirements", "[\"numpy\",\"tensorflow-cpu\"]");
	expect("servable.methods.embed.method_details.method_name", "\"embed\"");
	put_saved_model("export/saved_model.pb", one, 7, 0); /* strings */
	look_ok("{}");
	expect("engine", "\"python\"");
	put_saved_model("export/saved_model.pb", other, 1, 0);
	expect_refused("{}", "no serving_default");
	put_saved_model("export/saved_model.pb", none, 1, 0);
	expect_refused("{}", "no signatures");
	put_saved_model("export/saved_model.pb", one, 1, 9);
	expect_refused("{}", "saved_model.pb' should be a TensorFlow SavedModel by its name");
}

/* --- the others --- */

static void put_zip(const char *name, const char *const *members)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	struct archive *archive = archive_write_new();

	archive_write_set_format_zip(archive);
	assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
	for (; members[0]; members += 2) {
		struct archive_entry *entry = archive_entry_new();
		archive_entry_set_pathname(entry, members[0]);
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_size(entry, (int64_t)strlen(members[1]));
		assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
		archive_write_data(archive, members[1], strlen(members[1]));
		archive_entry_free(entry);
	}
	archive_write_free(archive);
}

static void test_keras(void **state)
{
	static const char *const keras3[] = { "metadata.json", "{\"keras_version\": \"3.3.3\"}", "config.json",
					      "{\"module\": \"keras\", \"class_name\": \"Sequential\"}", "model.weights.h5", "x", NULL };
	static const char *const keras2[] = { "metadata.json", "{\"keras_version\": \"2.15.0\"}", "config.json",
					      "{\"class_name\": \"Functional\"}", NULL };
	static const char *const bad[] = { "metadata.json", "{", "config.json", "{}", NULL };

	put_zip("m.keras", keras3);
	look_ok("{}");
	expect("servable.type", "\"Keras Model\"");
	expect("engine", "\"python\"");
	expect("needs_python", "true");
	expect("requirements", "[\"keras==3.3.3\",\"numpy\",\"tensorflow-cpu>=2.16.1\"]");
	expect("dlhub.files.model", "\"m.keras\"");
	put_zip("m.keras", keras2);
	look_ok("{}");
	expect("requirements", "[\"numpy<2\",\"tensorflow-cpu==2.15.*\"]");
	put_zip("m.keras", bad);
	expect_refused("{}", "'m.keras': metadata.json: not valid JSON");
	again(state);
	put_text("m.h5", "\x89HDF\r\n\x1a\n ... model_config ... ");
	look_ok("{}");
	expect("servable.type", "\"Keras Model\"");
	expect("requirements", "[\"numpy\",\"tensorflow-cpu\"]");
	put_text("m.h5", "\x89HDF\r\n\x1a\n keras_version backend 0.5 1.2 model_config 2.12.0 tail");
	look_ok("{}");
	expect("framework", "\"Keras 2.12.0\"");
	put_text("m.h5", "\x89HDF\r\n\x1a\n ... layer_names ... ");
	expect_refused("{}", "the weights of a Keras model, but not its layers");
	put_text("m.h5", "\x89HDF\r\n\x1a\n ... ");
	expect_refused("{}", "no Keras model");
}

static void test_sklearn(void **state)
{
	static const char pickle[] = "\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x17sklearn.ensemble._forest\x94"
				     "\x8c\x10_sklearn_version\x94\x8c\x05"
				     "1.3.2\x94.";
	static const char foreign[] = "\x80\x04\x8c\x07mine.cls\x94.";

	put("forest.pkl", pickle, sizeof(pickle) - 1);
	look_ok("{}");
	expect("servable.type", "\"Scikit-learn estimator\"");
	expect("requirements", "[\"numpy<2\",\"scikit-learn==1.3.2\"]");
	expect("servable.options.serialization_method", "\"pickle\"");
	expect("needs_python", "true");
	look_ok("{\"dlhub\":{\"dependencies\":{\"python\":{\"scikit-learn\":\"1.2.2\"}}}}");
	expect("requirements", "[\"numpy<2\",\"scikit-learn==1.2.2\"]");
	put("forest.pkl", foreign, sizeof(foreign) - 1);
	expect_refused("{}", "names nothing of scikit-learn");
	again(state);
	put_text("forest.joblib", "\x78\x9c compressed");
	look_ok("{\"golden\":{\"framework\":\"scikit-learn 1.5.0\"}}");
	expect("requirements", "[\"joblib\",\"numpy\",\"scikit-learn==1.5.0\"]");
	expect("servable.options.serialization_method", "\"joblib\"");
}

static void test_torch(void **state)
{
	static const char *const script[] = { "model/constants.pkl", "x", "model/data.pkl", "x", "model/code/x.py", "x", NULL };
	static const char *const pickled[] = { "archive/data.pkl", "x", "archive/version", "3", NULL };

	put_zip("m.pt", script);
	look_ok("{}");
	expect("servable.type", "\"Torch Model\"");
	expect("servable.shim", "\"pytorch.TorchServable\"");
	expect("framework", "\"TorchScript\"");
	put_zip("m.pt", pickled);
	look_ok("{\"servable\":{\"shim\":\"torch.TorchServable\"}}");
	expect("framework", "\"PyTorch\"");
	put_text("m.pt", "garbage");
	expect_refused("{}", "'m.pt' should be a PyTorch file by its name, but is text");
}

static void test_python(void **state)
{
	static const char function[] = "{\"servable\":{\"type\":\"Python static method\",\"methods\":{\"run\":{\"input\":{\"type\":"
				       "\"string\"},\"output\":{\"type\":\"string\"},\"method_details\":{\"module\":\"app\","
				       "\"method_name\":\"hello\"}}}}}";

	put_text("app.py", "def hello(x):\n    return x\n");
	put_text("requirements.txt", "six\n");
	look_ok(function);
	expect("servable.shim", "\"python.PythonStaticMethodServable\"");
	expect("requirements", "[\"numpy\",\"six\"]");
	expect("servable.methods.run.method_details.method_name", "\"hello\"");
	expect("needs_python", "true");
	expect_refused("{}", "no file is a model");
	assert_non_null(strstr(err_hint(&err), "--function"));
	expect_refused("{\"servable\":{\"type\":\"Python static method\"}}", "method_details names no method_name");
	expect_refused("{\"servable\":{\"type\":\"Python class method\"}}", "no file is one");
	look_ok("{\"servable\":{\"type\":\"Python class method\",\"methods\":{\"run\":{\"method_details\":{\"module\":\"app\","
		"\"class_name\":\"C\",\"method_name\":\"m\"}}}}}");
	expect("servable.shim", "\"python.PythonClassMethodServable\"");
}

static void test_choice(void **state)
{
	static const char *const twins[] = { "metadata.json", "{}", "config.json", "{\"class_name\":\"X\"}", NULL };

	expect_refused("{}", "no file is a model that this hub serves");
	put_text("notes.txt", "hello");
	put_text("data.bin", "\x01\x02\x03");
	expect_refused("{}", "found: data.bin (of a format that is not known here), notes.txt (text)");
	put_model("identity", "a.onnx", 0);
	put_zip("b.keras", twins);
	expect_refused("{}", "2 files may be the model: a.onnx (an ONNX model), b.keras (a Keras model (.keras))");
	look_ok("{\"servable\":{\"type\":\"keras model\"}}");
	expect("dlhub.files.model", "\"b.keras\"");
	look_ok("{\"dlhub\":{\"files\":{\"model\":\"/home/me/project/a.onnx\"}}}");
	expect("dlhub.files.model", "\"a.onnx\"");
	expect_refused("{\"dlhub\":{\"files\":{\"model\":\"c.onnx\"}}}", "dlhub.files.model names 'c.onnx'");
	expect_refused("{\"servable\":{\"type\":\"Torch Model\"}}", "the metadata say \"Torch Model\"");
	expect_refused("{\"servable\":{\"type\":\"Fortran\"}}", "servable.type \"Fortran\" is none");
	assert_non_null(strstr(err_hint(&err), "\"ONNX Model\""));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
TEST_MAIN(TEST(test_onnx), TEST(test_onnx_engines), TEST(test_onnx_example), TEST(test_onnx_bad), TEST(test_saved_model),
	  TEST(test_keras),
	  TEST(test_sklearn), TEST(test_torch), TEST(test_python), TEST(test_choice))
