#!/bin/sh
# The unit tests, the fuzz corpora and the whole programs under clang's AddressSanitizer and UndefinedBehaviorSanitizer:
# tools/sanitize.sh [BUILD [pytest arguments]]. OpenVINO and the tests' Python are those of build/, where it is there.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build-asan}
[ $# -eq 0 ] || shift
command -v clang-14 >/dev/null && [ -e /usr/lib/llvm-14/lib/clang ] && dpkg-query -W -f '${Status}' libclang-rt-14-dev 2>/dev/null |
	grep -q 'ok installed' || {
	sudo=""
	[ "$(id -u)" = 0 ] || sudo=sudo
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends clang-14 libclang-rt-14-dev llvm-14 >/dev/null
}
openvino=$(cd build/openvino 2>/dev/null && pwd -P || true) # as a sandbox finds it
[ -f "$build/build.ninja" ] || CC=clang-14 CXX=clang++-14 meson setup "$build" -Db_sanitize=address,undefined \
	-Db_lundef=false -Dbuildtype=debug -Doptimization=1 ${openvino:+-Dopenvino=$openvino} >/dev/null
ninja -C "$build" >/dev/null
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 4
venv=build/venv-test
[ -x "$venv/bin/python" ] || venv=$build/venv-test
tools/test_venv.sh "$venv"
DLHUB_BUILD=$(cd "$build" && pwd) "$venv/bin/python" -m pytest -q -n 2 --dist loadfile --durations=5 tests/integration "$@"
