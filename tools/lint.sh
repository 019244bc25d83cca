#!/bin/sh
# What a reviewer need not look for: layers, cppcheck, line length, words that must not stand in the tree.
set -eu
build=$1
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
python3 tests/check_layers.py .
awk 'length($0) > 130 { printf "%s:%d: longer than 130 characters\n", FILENAME, FNR; bad = 1 } END { exit bad }' \
	$(git ls-files 'src/*.c' 'src/*.h' 'src/*.cc')
if command -v cppcheck >/dev/null; then
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro -DERR_TABLE= -I src src
else
	echo "cppcheck is not installed: its checks were left out" >&2
fi
echo "lint: clean"
