/* grpc/model.h - what the protocol calls a model: the servable "OWNER/NAME", and what is said about it. */
#pragma once

#include "grpc/unary.h"

struct model_name {
	struct str owner, name; /* borrowed of the text */
};

/* ERR_INVALID_ARGUMENT: not of the form. */
must_check enum err_code model_name_parse(struct str text, struct model_name *ret, struct err *err);
