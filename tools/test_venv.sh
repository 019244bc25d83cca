#!/bin/sh
# The Python that tests of whole programs need, made once in VENV: tools/test_venv.sh VENV
set -eu
venv=$1
here=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -f "$venv/ready" ] || ! cmp -s "$here/tests/requirements.txt" "$venv/ready"; then
	echo "installing the tests' Python packages into $venv"
	/usr/bin/python3 -m venv "$venv"
	"$venv/bin/pip" install -q --only-binary :all: -r "$here/tests/requirements.txt"
	cp "$here/tests/requirements.txt" "$venv/ready"
fi
