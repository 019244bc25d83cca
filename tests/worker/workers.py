"""Real workers over a socketpair, and the environments they run in. DLHUB_BUILD names the build folder (default: build/),
DLHUB_TEST_CACHE where the environments of these tests are kept between sessions."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from frames import Hub

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DLHUB_BUILD", ROOT / "build"))
PYTHON = "/usr/bin/python3"
PACKAGES = ["numpy<2", "scikit-learn==1.5.2", "onnx", "onnxruntime"]
HEAVY_PACKAGES = ["numpy<2", "tensorflow-cpu==2.16.2"]
MEMORY = 4 << 30

sys.path.insert(0, str(ROOT / "python"))


def program(name):
    path = BUILD / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: build first, or say where with DLHUB_BUILD")
    return str(path)


def is_sanitized():
    """Whether the extension is built with AddressSanitizer, which keeps freed memory and lifts memory limits."""
    return b"__asan_init" in (BUILD / "python" / "dlhub_worker" / "_frames.abi3.so").read_bytes()


def make_environment(packages, system_packages=False):
    """A virtual environment with these wheels, made once and kept."""
    cache = Path(os.environ.get("DLHUB_TEST_CACHE", Path.home() / ".cache" / "dlhub-tests"))
    key = hashlib.sha256(json.dumps([packages, system_packages]).encode()).hexdigest()[:16]
    folder = cache / f"environment-{key}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(
            [PYTHON, "-m", "venv", *(["--system-site-packages"] if system_packages else []), folder], check=True
        )
        subprocess.run([folder / "bin" / "pip", "install", "-q", "--only-binary", ":all:", *packages], check=True)
        (folder / "complete").touch()
    return folder


def in_environment(folder, script, *arguments, cwd=None):
    """Runs a script with the environment's interpreter; its stdout."""
    python = folder / "bin" / "python3" if folder else PYTHON
    return subprocess.run(
        [python, "-c", script, *map(str, arguments)], check=True, text=True, cwd=cwd, stdout=subprocess.PIPE
    ).stdout


class Worker(Hub):
    def __init__(self, model, environment=None, memory=MEMORY, options=()):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        command = [
            program("dlhub-worker-python"),
            "--model",
            str(model),
            "--python",
            PYTHON,
            "--memory",
            str(memory),
            *options,
        ]
        if environment:
            command += ["--environment", str(environment)]
        self.model = str(model)
        self.errors = open(Path(model).parent / f"{Path(model).name}.stderr", "w+b")
        number = theirs.fileno()
        self.process = subprocess.Popen(
            command, pass_fds=[3], stderr=self.errors, preexec_fn=lambda: os.dup2(number, 3, inheritable=True)
        )
        theirs.close()
        super().__init__(ours)

    def wait_gone(self):
        """The exit status once it has ended by itself."""
        return self.process.wait(60)

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def close(self):
        super().close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def function(source_input, source_output, name="f", module="code", **details):
    """The LOAD document of a Python function."""
    method = {
        "input": source_input,
        "output": source_output,
        "parameters": details.pop("parameters", {}),
        "method_details": {"module": module, "method_name": name, **details},
    }
    return {
        "type": "Python static method",
        "shim": "python.PythonStaticMethodServable",
        "servable": {
            "type": "Python static method",
            "shim": "python.PythonStaticMethodServable",
            "methods": {"run": method},
        },
        "dlhub": {"files": {"other": [f"{module}.py"]}},
    }
