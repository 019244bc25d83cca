#!/usr/bin/env python3
"""Write the C table of api/errors.json: gen_errors.py errors.json OUT.h"""
import json
import sys

rows = json.load(open(sys.argv[1]))["errors"]
out = ["/* Generated from api/errors.json by tools/gen_errors.py. Do not edit. */", "#pragma once", ""]
out.append("enum err_code {")
for row in rows:
    comment = row["meaning"]
    out.append(f"\tERR_{row['name']} = {row['grpc']}, /* {comment} */")
out.append(f"\tERR_COUNT = {len(rows)}")
out.append("};")
out.append("")
out.append("/* X(name, grpc, http, exit, retry) */")
out.append("#define ERR_TABLE(X) \\")
for row in rows:
    out.append(f"\tX({row['name']}, {row['grpc']}, {row['http']}, {row['exit']}, {int(row['retry'])}) \\")
out.append("")
open(sys.argv[2], "w").write("\n".join(out) + "\n")
