#include "build/onnx_example.h"

#include "build/saved_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The readers of protobufs on anything: no crash, no leak, and what they accept can be described. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	struct onnx_model onnx;
	struct saved_model saved;

	json_t *tensor;
	if (onnx_example_tensor(bytes, STR("x"), &tensor, NULL) == ERR_OK)
		json_decref(tensor);
	if (onnx_read(bytes, &onnx, NULL) == ERR_OK) {
		json_decref(describe_method(&onnx.inputs, &onnx.outputs));
		onnx_model_done(&onnx);
	}
	if (saved_model_read(bytes, &saved, NULL) == ERR_OK) {
		for (size_t i = 0; i < saved.count; i++)
			json_decref(describe_method(&saved.signatures[i].inputs, &saved.signatures[i].outputs));
		saved_model_done(&saved);
	}
	return 0;
}
