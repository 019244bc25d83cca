"""DLHub from Python: publish models, find them, run them where they are.

    from dlhub import Hub
    hub = Hub()                                         # the hub of DLHUB_ENDPOINT, or of `dlhub login`
    hub.publish("model.onnx", "denoiser", "Denoiser for STEM images")
    hub.search("denoiser")
    clean = hub.run("alice/denoiser", image)            # numpy in, numpy out
"""

from .errors import (Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, DLHubError, FailedPrecondition,
                     InternalError, InvalidArgument, NotFound, OutOfRange, PermissionDenied, ResourceExhausted,
                     Unauthenticated, Unavailable, Unimplemented)
from .hub import Hub
from .memory import SharedMemory
from .tasks import RunTask
from .views import Blob, Description, Found, Task, Version

__version__ = "0.1.0"
__all__ = ["Hub", "Blob", "Description", "Found", "RunTask", "SharedMemory", "Task", "Version", "DLHubError", "Aborted", "AlreadyExists", "Cancelled",
           "DataLoss", "DeadlineExceeded", "FailedPrecondition", "InternalError", "InvalidArgument", "NotFound",
           "OutOfRange", "PermissionDenied", "ResourceExhausted", "Unauthenticated", "Unavailable", "Unimplemented"]
