#include "grpc/model.h"

enum err_code model_name_parse(struct str text, struct model_name *ret, struct err *err)
{
	const char *slash = text.len ? memchr(text.data, '/', text.len) : NULL;
	if (slash) {
		size_t len = (size_t)(slash - text.data);
		ret->owner = (struct str){ text.data, len };
		ret->name = (struct str){ slash + 1, text.len - len - 1 };
		if (name_is_owner(ret->owner) && name_is_servable(ret->name))
			return ERR_OK;
	}
	err_set(err, ERR_INVALID_ARGUMENT, "'%.*s' is no name of a servable", (int)MIN(text.len, (size_t)200), text.data ?: "");
	return err_advise(err, "the model's name is OWNER/NAME, as in 'dlhub search'");
}
