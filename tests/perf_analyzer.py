"""Triton's perf_analyzer, as the wheel of tritonclient brings it, against a hub."""
import os
import pathlib
import subprocess
import sys

import pytest


def run(hub, name, *flags):
    """With the administrator's token, for 40 requests."""
    import nvidia.cuda_runtime
    program = pathlib.Path(sys.executable).parent / "perf_analyzer"
    libraries = pathlib.Path(nvidia.cuda_runtime.__path__[0]) / "lib"
    command = [program, "-m", name, "-H", f"authorization: Bearer {hub.token}", "--request-count", "40", "--stability-percentage", "1000", *flags]
    return subprocess.run(command, env={**os.environ, "LD_LIBRARY_PATH": str(libraries)}, capture_output=True, text=True, timeout=300)


def _can_run():
    """It needs libb64.so.0d of Debian, which tools/test_venv.sh cannot bring."""
    return any(pathlib.Path(folder, "libb64.so.0d").exists() for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"))


needed = pytest.mark.skipif(not _can_run(), reason="perf_analyzer needs the Debian package libb64-0d")
