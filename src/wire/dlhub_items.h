/* wire/dlhub_items.h - what the two halves of the DLHub parser ask of each other: one input (dlhub_parse.c), and many
 * (dlhub_items.c). */
#pragma once

#include "wire/run_parser.h"

/* One input comes next: request.inputs is made and filled; then dlhub_item_complete(), or all is there. */
enum err_code dlhub_expect_data(struct run_parser *parser, struct err *err);
/* All inputs are there: the body's other members follow. */
enum err_code dlhub_all_complete(struct run_parser *parser);
/* A list of inputs comes next. */
enum err_code dlhub_expect_items(struct run_parser *parser, struct err *err);
/* request.inputs is one of them. */
enum err_code dlhub_item_complete(struct run_parser *parser, struct err *err);
