"""The encoder of examples/encoder and an interpreter that has TensorFlow: the demo's where it has run, else made here."""

import pathlib
import subprocess
import sys

from measure import HERE, Failed

EXAMPLE = HERE.parent / "examples" / "encoder"


def has_tensorflow(python: pathlib.Path) -> bool:
    command = [python, "-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('tensorflow'))"]
    return python.exists() and subprocess.run(command, capture_output=True).returncode == 0


def get(build: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder that examples/encoder/train.py fills, and the interpreter."""
    pythons = [build / "demo" / "venv" / "bin" / "python", build / "venv-encoder" / "bin" / "python"]
    folders = [build / "demo" / "out" / "encoder", build / "bench" / "encoder"]
    python = next((one for one in pythons if has_tensorflow(one)), None) or install(build / "venv-encoder")
    folder = next((one for one in folders if (one / "expected.json").exists()), None) or train(python, folders[-1])
    return folder, python


def install(venv: pathlib.Path) -> pathlib.Path:
    print(f"installing TensorFlow into {venv}: about 330 MB to fetch, 1.9 GB on disk", file=sys.stderr, flush=True)
    run(["/usr/bin/python3", "-m", "venv", venv])
    run([venv / "bin" / "pip", "install", "-q", "--only-binary", ":all:", "-r", EXAMPLE / "requirements.txt"])
    return venv / "bin" / "python"


def train(python: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    print("training the encoder", file=sys.stderr, flush=True)
    run([python, EXAMPLE / "train.py", folder])
    return folder


def run(command) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{pathlib.Path(str(command[0])).name} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
