/* wire/oip_input.h - the "inputs" of an Open Inference Protocol request. Private to oip_parse.c, oip_input.c and oip_raw.c. */
#pragma once

#include "wire/run_parser.h"

/* Takes the array's tokens, the first one included; `then` follows its end. */
void oip_inputs_begin(struct run_parser *parser, token_fn then);
/* The JSON part is complete: what was announced as binary agrees with shapes and datatypes. */
enum err_code oip_inputs_measure(struct run_parser *parser, struct err *err);
/* Bytes behind the JSON part. */
enum err_code oip_inputs_binary(struct run_parser *parser, const uint8_t *data, size_t len, struct err *err);
/* The body has ended: every announced byte came; documents and files are what their arguments want. */
enum err_code oip_inputs_finish(struct run_parser *parser, struct err *err);
/* A raw binary request: `raw` is the one input. */
enum err_code oip_inputs_raw(struct run_parser *parser, struct err *err);
