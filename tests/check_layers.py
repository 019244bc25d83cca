#!/usr/bin/env python3
"""Checks every #include of src/ against tests/layers.json: check_layers.py SOURCE_ROOT. Silent when all is well."""
import json
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
rules = json.loads((root / "tests" / "layers.json").read_text())
include = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)
faults = []
folders = {path.name for path in (root / "src").iterdir() if path.is_dir()}
for folder in sorted(folders - set(rules["folders"])):
    faults.append(f"src/{folder}: has no row in tests/layers.json")
for path in sorted((root / "src").rglob("*.[ch]*")):
    folder = path.relative_to(root / "src").parts[0]
    allowed = set(rules["folders"].get(folder, ())) | {folder}
    for match in include.finditer(path.read_text()):
        header = match.group(1) or match.group(2)
        other = header.split("/")[0]
        if match.group(1) and "/" in header and other in folders and other not in allowed:
            faults.append(f"{path.relative_to(root)}: includes {header}, but {folder}/ may not include {other}/")
        for prefix, homes in rules["wrapped"].items():
            if header.startswith(prefix) and folder not in homes:
                faults.append(f"{path.relative_to(root)}: includes <{header}>, which only {', '.join(homes)} may")
print("\n".join(faults))
sys.exit(1 if faults else 0)
