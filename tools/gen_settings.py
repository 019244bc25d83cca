#!/usr/bin/env python3
"""Write the C table of api/settings.json: gen_settings.py settings.json OUT.h"""
import json
import sys

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def number(text):
    text = str(text)
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def quote(text):
    return json.dumps(str(text))


rows = json.load(open(sys.argv[1]))["settings"]
out = ["/* Generated from api/settings.json by tools/gen_settings.py. Do not edit. */", "#pragma once", ""]
out.append("enum setting {")
for row in rows:
    out.append("\tSETTING_" + row["name"].upper().replace(".", "_") + ",")
out += ["\tSETTING_COUNT", "};", ""]
out.append("/* X(id, name, type, default text, least, most, choices, doc) */")
out.append("#define SETTINGS_TABLE(X) \\")
for row in rows:
    ident = "SETTING_" + row["name"].upper().replace(".", "_")
    low, high = number(row.get("min", 0)), number(row.get("max", 0))
    out.append(f"\tX({ident}, {quote(row['name'])}, SETTING_TYPE_{row['type'].upper()}, {quote(row['default'])}, "
               f"{low}ll, {high}ll, {quote('|'.join(row.get('choices', [])))}, {quote(row['doc'])}) \\")
out.append("")
open(sys.argv[2], "w").write("\n".join(out) + "\n")
