"""What goes wrong, with the code of api/errors.json that it has for the caller."""

import traceback

OWN_FOLDER = __file__.rsplit("/", 1)[0]
MESSAGE_MAX = 4000
# Of api/errors.json: how a program ends after such an error.
EXIT_CODES = {
    "INVALID_ARGUMENT": 2,
    "NOT_FOUND": 4,
    "RESOURCE_EXHAUSTED": 7,
    "FAILED_PRECONDITION": 8,
    "OUT_OF_RANGE": 10,
    "UNIMPLEMENTED": 11,
}


class WorkerError(Exception):
    """Says itself what was wrong; needs no traceback."""

    code = "INTERNAL"

    def __init__(self, message, hint=None, code=None):
        super().__init__(message)
        self.hint = hint
        if code:
            self.code = code


class BadInput(WorkerError):
    code = "INVALID_ARGUMENT"


class BadOutput(WorkerError):
    """The servable's answer is not what its schema says."""

    code = "UNKNOWN"

    def __init__(
        self, message, hint="change what the servable returns or the output type in its metadata, and publish again"
    ):
        super().__init__(message, hint)


class BadServable(WorkerError):
    """It cannot be loaded: its metadata or files are wrong."""

    code = "FAILED_PRECONDITION"


class CannotServe(WorkerError):
    code = "UNIMPLEMENTED"


def _clean(text, most=MESSAGE_MAX):
    """Text that C and JSON can carry."""
    text = str(text).replace("\0", "\\0").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= most else text[:most] + "..."


def _servable_traceback(error):
    """The traceback without this package's own frames at its start."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename.startswith(OWN_FOLDER) and frames.tb_next:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _missing_module(error):
    name = error.name.split(".")[0]
    return f"add {name!r} to dlhub.dependencies.python, or publish the file that holds it with the servable"


def report(error):
    """(code, message, hint, traceback) for any exception of a run or a load."""
    if error is None:
        return "UNKNOWN", "the servable failed without saying why", None, None
    if isinstance(error, WorkerError):
        return error.code, _clean(error), error.hint and _clean(error.hint), None
    try:
        text = _clean(str(error))
    except Exception:  # its own __str__ fails
        text = "(its message cannot be printed)"
    kind = type(error).__name__
    message = f"{kind}: {text}" if text else kind
    if isinstance(error, SystemExit):
        return "UNKNOWN", f"the servable called sys.exit({text})", None, _clean(_servable_traceback(error), 1 << 20)
    code, hint = "UNKNOWN", None
    if isinstance(error, MemoryError):
        code, hint = "RESOURCE_EXHAUSTED", "send less at once, or raise the memory limit of workers"
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = _missing_module(error)
    return code, message, hint, _clean(_servable_traceback(error), 1 << 20)
