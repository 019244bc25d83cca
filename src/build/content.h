/* build/content.h - what a file is, by its bytes; its name counts only where bytes cannot tell. */
#pragma once

#include "base/str.h"

enum content {
	CONTENT_EMPTY,
	CONTENT_ONNX,
	CONTENT_SAVED_MODEL, /* saved_model.pb */
	CONTENT_KERAS,	     /* zip with Keras' config.json and metadata.json */
	CONTENT_HDF5,
	CONTENT_TORCHSCRIPT, /* zip with constants.pkl or code/ */
	CONTENT_TORCH,	     /* zip or pickle that torch.save wrote */
	CONTENT_PICKLE,
	CONTENT_COMPRESSED, /* gzip, zlib, bzip2, xz, lz4: of joblib, maybe */
	CONTENT_NUMPY,	    /* .npy, .npz */
	CONTENT_ZIP,
	CONTENT_PYTHON,
	CONTENT_TEXT,
	CONTENT_OTHER,
	CONTENT_COUNT
};

/* A file's bytes, mapped read-only. */
struct mapped {
	const char *data; /* NULL where the file is empty */
	size_t len;
};
must_check enum err_code mapped_open(const char *path, struct mapped *ret, struct err *err);
void mapped_close(struct mapped *mapped);

/* `path` is opened; `name` is how it is called. ERR_INTERNAL and the like where it cannot be read. */
must_check enum err_code content_of(const char *path, const char *name, enum content *ret, struct err *err);
/* "an ONNX model", for messages. */
const char *content_name(enum content content);

/* One member of a zip file as text, up to `ceiling` bytes; returned owned, NULL if it is not there or too large. */
char *content_zip_member(const char *path, const char *member, size_t ceiling, size_t *ret_len);
