#!/usr/bin/env python3
"""Write a page as C, with the policy that lets a browser run its own script and style and nothing else:
gen_page.py PAGE.html OUT.c"""
import base64
import hashlib
import json
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()


def hashes(tag):
    bodies = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(body.encode()).digest() for body in bodies)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"


policy = (
    f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
lines = page.splitlines(keepends=True)
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write("/* Generated from web/index.html by tools/gen_page.py. Do not edit. */\n")
    out.write('#include "http/page.h"\n\n')
    out.write(f"const char page_policy[] = {json.dumps(policy)};\n\n")
    out.write("const char page_html[] =\n" + "\n".join("\t" + json.dumps(line, ensure_ascii=False) for line in lines) + ";\n")
