"""What a servable may tell, and ask, while it is at a run:

    from dlhub_worker import cancelled, progress

    def simulate(steps):
        for step in range(steps):
            if cancelled():
                break
            ...
            progress(step / steps, f"step {step}", partial=state)

Outside a worker, and between runs, nobody listens: progress() does nothing and cancelled() is False.
"""

import json


def _plain(value):
    """numpy's arrays and scalars have a form in JSON, too."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _frames():
    try:
        from . import _frames as frames
    except ImportError:  # where answers are recorded there is no extension
        return None
    return frames


def progress(fraction=None, text=None, partial=None):
    """Tells whoever waits how far the run is: a number from 0 to 1, a line for people, and a part of the result.

    `partial` is any value with a form in JSON. All three may be left out. Runs in one batch share what is told, and
    nobody gets a partial result of it.
    """
    told = {}
    if fraction is not None:
        told["progress"] = min(max(float(fraction), 0.0), 1.0)
    if text is not None:
        told["text"] = str(text)
    if partial is not None:
        told["partial"] = partial
    document = json.dumps(told, allow_nan=False, default=_plain)
    frames = _frames()
    if frames:
        frames.progress(document)


def cancelled():
    """Whether nobody waits for this run any more (cancelled, or its caller has gone): stop, and return anything.

    Who does not ask is ended after the hub's `limits.cancel_s`. Cheap enough to be asked in an inner loop.
    """
    frames = _frames()
    return bool(frames) and frames.cancelled()
