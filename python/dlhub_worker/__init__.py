"""Runs one servable in Python: the shims, the inspector and the recorder of expected answers.

`dlhub-worker-python` starts it behind the walls of a sandbox. A servable may import `progress` and `cancelled` from here. `python3 -m dlhub_worker.record` runs where a publisher's
own framework is installed. Only the standard library is needed to import it; numpy where arrays are.
"""

from .midrun import cancelled, progress

__all__ = ["FRAME_VERSION", "cancelled", "progress"]

FRAME_VERSION = 1
