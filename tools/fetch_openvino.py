#!/usr/bin/env python3
"""Fetches OpenVINO, the engine of dlhub-worker-native, from its wheel.

    tools/fetch_openvino.py [FOLDER]        default: build/openvino

Meson downloads nothing, so `make build` runs this first. The wheel carries the C headers and the libraries; of
these only what the worker loads is kept: the runtime, its CPU plugin and the readers of ONNX and TensorFlow
graphs. Runs again in no time where the folder already holds this version.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "2026.4.1"
SERIES = "2641"  # the libraries' suffix
LIBRARIES = (
    f"libopenvino.so.{SERIES}",
    f"libopenvino_c.so.{SERIES}",
    "libopenvino_intel_cpu_plugin.so",
    "libopenvino_arm_cpu_plugin.so",
    f"libopenvino_onnx_frontend.so.{SERIES}",
    f"libopenvino_tensorflow_frontend.so.{SERIES}",
    "libtbb.so.12",
)
OPTIONAL = ("libopenvino_intel_cpu_plugin.so", "libopenvino_arm_cpu_plugin.so")  # one of the two
PLATFORMS = {
    "x86_64": ("manylinux_2_28_x86_64", 68),
    "aarch64": ("manylinux_2_31_aarch64", 35),
}


def wanted(name: str) -> bool:
    """Is this member of the wheel kept?"""
    return (
        name.startswith("openvino/include/openvino/c/")
        or (name.startswith("openvino/libs/") and name.rsplit("/", 1)[1] in LIBRARIES)
        or (".dist-info/licenses/" in name and not name.endswith("/"))
    )


def download(folder: str) -> pathlib.Path:
    """The wheel, through pip: it honours the machine's own index and proxy, and checks the index's hash."""
    machine = platform.machine()
    if machine not in PLATFORMS:
        sys.exit(f"OpenVINO has no wheel for {machine}; known: {', '.join(PLATFORMS)}")
    tag, megabytes = PLATFORMS[machine]
    print(f"fetching OpenVINO {VERSION} (about {megabytes} MB) with pip", flush=True)
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
        "--platform", tag, "--dest", folder, f"openvino=={VERSION}",
    ]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(
            "pip could not fetch it (its message stands above). Without a package index: unpack an OpenVINO\n"
            f"{VERSION} wheel yourself and give its folder to meson: -Dopenvino=FOLDER"
        )
    return next(pathlib.Path(folder).glob("*.whl"))


def unpack(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts what is wanted into `folder` and syncs it, so that it is mapped clean."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if not wanted(member.filename):
                continue
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
                sink.flush()
                os.fsync(sink.fileno())
    missing = [name for name in LIBRARIES if name not in OPTIONAL and not (folder / "openvino/libs" / name).exists()]
    if missing:
        sys.exit(f"the wheel holds no {', '.join(missing)}: has its layout changed?")


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "build" / "openvino"
    stamp = target / "version"
    if stamp.exists() and stamp.read_text().strip() == VERSION:
        print(f"OpenVINO {VERSION} is in {target}")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".openvino-", dir=target.parent) as work:
        wheel = download(work)
        fresh = pathlib.Path(work) / "fresh"
        fresh.mkdir()
        unpack(wheel, fresh)
        (fresh / "version").write_text(VERSION + "\n")
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    megabytes = sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) >> 20
    print(f"OpenVINO {VERSION}: {megabytes} MB in {target}")


if __name__ == "__main__":
    main()
