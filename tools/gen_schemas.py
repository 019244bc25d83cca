#!/usr/bin/env python3
"""Write the texts of the JSON Schemas as C: gen_schemas.py SCHEMA.json ... OUT.c"""
import json
import os
import sys

out = [
    "/* Generated from api/schemas by tools/gen_schemas.py. Do not edit. */",
    '#include "base/schema_texts.h"',
    "",
    "const struct schema_text schema_texts[SCHEMA_TEXT_COUNT] = {",
]
for path in sorted(sys.argv[1:-1], key=os.path.basename):
    text = open(path, encoding="utf-8").read()
    json.loads(text)
    out.append(f'\t{{ "{os.path.basename(path).removesuffix(".json")}",')
    out.extend("\t  " + json.dumps(line + "\n") for line in text.splitlines())
    out[-1] += " },"
out.append("};")
open(sys.argv[-1], "w", encoding="utf-8").write("\n".join(out) + "\n")
