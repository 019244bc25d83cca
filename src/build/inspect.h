/* build/inspect.h - from an unpacked folder and the publisher's metadata to the servable block: type, methods with
 * names, shapes and datatypes, the engine that will serve it, and what its environment needs. */
#pragma once

#include "build/describe.h"
#include "build/detect.h"

/* *ret: the document of `dlhub-build inspect` (docs in ARCHITECTURE.md, "Publishing"); returned owned. Errors name the
 * file and say what to change. */
must_check enum err_code inspect(const char *folder, const json_t *metadata, json_t **ret, struct err *err);

/* One for each kind of model; `metadata` is the publisher's document. Fill `ret` (initialised). */
must_check enum err_code inspect_onnx(const char *folder, const struct detected *found, const json_t *metadata,
				      struct inspection *ret, struct err *err);
must_check enum err_code inspect_tensorflow(const char *folder, const struct detected *found, const json_t *metadata,
					    struct inspection *ret, struct err *err);
must_check enum err_code inspect_keras(const char *folder, const struct detected *found, const json_t *metadata,
				       struct inspection *ret, struct err *err);
must_check enum err_code inspect_sklearn(const char *folder, const struct detected *found, const json_t *metadata,
					 struct inspection *ret, struct err *err);
must_check enum err_code inspect_torch(const char *folder, const struct detected *found, const json_t *metadata,
				       struct inspection *ret, struct err *err);
must_check enum err_code inspect_python(const char *folder, const struct detected *found, const json_t *metadata,
					struct inspection *ret, struct err *err);
