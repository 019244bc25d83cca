"""Checks that api/ and the code say the same: the reserved names of api/names.md and src/base/str.c, the frame types and
datatypes of api/worker-frames.md and src/wire. Usage: check_names.py SOURCE_ROOT"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
faults = []


def read(path):
    return (root / path).read_text(encoding="utf-8")


def compare(what, documented, coded):
    if documented != coded:
        faults.append(f"{what}: the document says {documented}, the code {coded}")


def enumerators(text, enum, prefix):
    """Names of `enum` in order, without the prefix and without COUNT and INVALID."""
    body = re.search(rf"enum {enum} \{{(.*?)\n\}};", text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return [name for name in re.findall(rf"{prefix}(\w+)", body) if not re.fullmatch(r"(\w+_)?COUNT|INVALID", name)]


names = read("api/names.md").split("## Reserved")[1].split("##")[0]
documented = {word for line in names.splitlines() if line.startswith("    ") for word in line.split()}
coded = re.search(r"reserved\[\] = \{(.*?)\};", read("src/base/str.c"), re.S).group(1)
compare("reserved names", sorted(documented), sorted(re.findall(r'"(\w+)"', coded)))

frames = read("api/worker-frames.md")
rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", frames, re.M)
header = read("src/wire/frame.h")
compare("frame types", [(int(number), name) for number, name in rows],
        list(enumerate(enumerators(header, "frame_type", "FRAME_"), 1)))
listed = re.search(r"^Datatypes: (.*?)\. ", frames, re.M | re.S).group(1)
compare("datatypes", [(int(number), name) for number, name in re.findall(r"(\d+) ([A-Z0-9]+)", listed)],
        list(enumerate(enumerators(read("src/wire/tensor.h"), "dtype", "DTYPE_"), 1)))

for fault in faults:
    print(fault, file=sys.stderr)
sys.exit(bool(faults))
