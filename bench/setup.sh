#!/bin/sh
# Gets what the bench measures against, saying first what and how much: wrk and nginx from Debian; Triton and Parsl from
# PyPI into BUILD/venv-bench. Does nothing where all is there. bench/setup.sh BUILD
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$build/bench"

missing=""
for package in wrk libpython3.11; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
nginx=$(PATH=$PATH:/usr/sbin command -v nginx || true)
if [ -n "$missing" ] || [ -z "$nginx" ]; then
	sudo=""
	[ "$(id -u)" = 0 ] || sudo=sudo
	[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit 2>/dev/null)" ] || $sudo apt-get -qq update
fi
if [ -n "$missing" ]; then
	echo "installing Debian packages:$missing" >&2
	$sudo apt-get install --no-install-recommends --assume-no $missing 2>/dev/null |
		grep -E '^(Need to get|After this)' >&2 || true
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
# Installing nginx would start a web server on port 80: its program is enough.
if [ -z "$nginx" ] && [ ! -x "$build/bench/nginx/usr/sbin/nginx" ]; then
	echo "fetching Debian's nginx (0.5 MB) into $build/bench, without installing it" >&2
	(cd "$build/bench" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download nginx && dpkg-deb -x nginx_*.deb nginx)
fi

venv=$build/venv-bench
if ! cmp -s "$here/requirements.txt" "$venv/ready"; then
	echo "installing Triton and Parsl into $venv: about 80 MB to fetch, 290 MB on disk" >&2
	/usr/bin/python3 -m venv "$venv"
	"$venv/bin/pip" install -q --only-binary :all: -r "$here/requirements.txt"
	"$venv/bin/pip" install -q --no-deps --only-binary :all: nvidia-pytriton==0.7.0
	# Triton looks for the program that runs a Python model beside its backend; the wheel keeps one for each version.
	triton=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pytriton/tritonserver
	minor=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	chmod +x "$triton/bin/tritonserver" "$triton/python_backend_stubs/$minor/triton_python_backend_stub"
	ln -sf "../../python_backend_stubs/$minor/triton_python_backend_stub" "$triton/backends/python/"
	cp "$here/requirements.txt" "$venv/ready"
fi
for program in latency echo grpc_load; do
	[ "$build/bench/$program" -nt "$here/$program.c" ] ||
		${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wno-unused-parameter -Werror -o "$build/bench/$program" \
			"$here/$program.c" -lnghttp2
done
