"""The hub's errors as exceptions: one for each row of the hub's error table (api/errors.json).

    DLHubError
        InvalidArgument (also a ValueError), NotFound (also a LookupError), Unimplemented (also a NotImplementedError),
        Unauthenticated, PermissionDenied, AlreadyExists, FailedPrecondition, ResourceExhausted, OutOfRange,
        DeadlineExceeded, Unavailable, Cancelled, Aborted, InternalError, DataLoss
"""


class DLHubError(Exception):
    """An error of the hub, or of reaching it.

    message      what was wrong, and where
    hint         what to do, or None
    code         its name in the hub's table ("NOT_FOUND")
    retry        whether the same call may succeed later
    retry_after  after how many seconds, where the hub said so, or None
    request_id   under which the hub's log has it, or None
    metadata     of a run that failed: what it printed and the like, or {}
    """

    code = "UNKNOWN"
    retry = False

    def __init__(self, message, hint=None, *, request_id=None, retry_after=None, metadata=None):
        super().__init__(message)
        self.message, self.hint, self.request_id, self.retry_after = message, hint, request_id, retry_after
        self.metadata = metadata or {}

    def __str__(self):
        return f"{self.message}\n  what to do: {self.hint}" if self.hint else self.message


class Cancelled(DLHubError):
    """The caller gave the operation up."""
    code = "CANCELLED"


class InvalidArgument(DLHubError, ValueError):
    """The request is wrong in itself; correct it."""
    code = "INVALID_ARGUMENT"


class DeadlineExceeded(DLHubError):
    """The work did not end in the time given to it."""
    code = "DEADLINE_EXCEEDED"
    retry = True


class NotFound(DLHubError, LookupError):
    """No such thing, or none that the caller may know of."""
    code = "NOT_FOUND"


class AlreadyExists(DLHubError):
    """The name is taken."""
    code = "ALREADY_EXISTS"


class PermissionDenied(DLHubError):
    """The caller may know of it but not do this."""
    code = "PERMISSION_DENIED"


class ResourceExhausted(DLHubError):
    """A limit was reached; the message names it."""
    code = "RESOURCE_EXHAUSTED"
    retry = True


class FailedPrecondition(DLHubError):
    """The state of the system must change first; the message says how."""
    code = "FAILED_PRECONDITION"


class Aborted(DLHubError):
    """Lost a race with another change."""
    code = "ABORTED"
    retry = True


class OutOfRange(DLHubError):
    """Larger than a limit allows; the message names the limit."""
    code = "OUT_OF_RANGE"


class Unimplemented(DLHubError, NotImplementedError):
    """This hub does not do that."""
    code = "UNIMPLEMENTED"


class InternalError(DLHubError):
    """A fault of the hub; report it."""
    code = "INTERNAL"


class Unavailable(DLHubError):
    """Not now; try again after the time given."""
    code = "UNAVAILABLE"
    retry = True


class DataLoss(DLHubError):
    """Stored content is damaged."""
    code = "DATA_LOSS"


class Unauthenticated(DLHubError):
    """The token is missing where one is needed, or is not valid."""
    code = "UNAUTHENTICATED"


BY_CODE = {error.code: error for error in (
    DLHubError, Cancelled, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
    ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented, InternalError, Unavailable, DataLoss,
    Unauthenticated)}

# For answers without a code in them (a proxy's).
BY_STATUS = {400: InvalidArgument, 401: Unauthenticated, 403: PermissionDenied, 404: NotFound, 409: AlreadyExists,
             412: FailedPrecondition, 413: OutOfRange, 429: ResourceExhausted, 501: Unimplemented, 502: Unavailable,
             503: Unavailable, 504: DeadlineExceeded}


def from_document(document, status=None, retry_after=None):
    """The exception of an error body {"error", "code", "hint"?, "request_id"?} (a task's says "message")."""
    kind = BY_CODE.get(document.get("code")) or BY_STATUS.get(status, DLHubError)
    message = document.get("error") or document.get("message") or f"the hub answered {status}"
    return kind(message, document.get("hint"), request_id=document.get("request_id"), retry_after=retry_after,
                metadata=document.get("metadata"))
