#!/bin/sh
# Installs what building, testing and the demo need (Debian packages as root or by sudo; OpenVINO from its wheel),
# saying first what and how much; then configures the build folder. Does nothing where all is there.
set -eu
build=${1:-build}
packages="gcc g++ meson ninja-build pkg-config ca-certificates
libmicrohttpd-dev libuv1-dev libjansson-dev libsqlite3-dev libarchive-dev libseccomp-dev libssl-dev
libcurl4-openssl-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libzmq3-dev zlib1g-dev libb64-0d libcmocka-dev python3 python3-dev python3-venv python3-pip python3-numpy"

missing=""
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
	sudo=""
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || {
			echo "these Debian packages are missing:$missing" >&2
			echo "run this as root, or install sudo" >&2
			exit 1
		}
		sudo=sudo
	fi
	[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit 2>/dev/null)" ] || {
		echo "reading Debian's package lists"
		$sudo apt-get -qq update
	}
	size=$($sudo apt-get install --no-install-recommends --assume-no $missing 2>/dev/null | grep -E '^(Need to get|After this)' || true)
	echo "installing Debian packages:$missing"
	[ -z "$size" ] || echo "$size"
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null || {
		$sudo apt-get -qq update
		DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null
	}
fi
/usr/bin/python3 tools/fetch_openvino.py "$build/openvino"
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null || {
	tail -n 20 "$build/meson-logs/meson-log.txt" >&2
	exit 1
}
