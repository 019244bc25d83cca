#!/bin/sh
# Every test: units, fuzz corpora, layers, whole programs. tools/test.sh BUILD [pytest arguments]
set -eu
build=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
meson test -C "$build" --no-rebuild --print-errorlogs
venv="$build/venv-test"
"$here/tools/test_venv.sh" "$venv"
DLHUB_BUILD=$(cd "$build" && pwd) "$venv/bin/python" -m pytest -q -n 2 --dist loadfile --durations=8 -c "$here/pytest.ini" --rootdir "$here" "$here/tests" "$@"
