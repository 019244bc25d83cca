"""HTTP to one hub: one kept connection, errors as exceptions, GETs tried again where the hub asks for it."""

import time
import urllib.parse

import requests

from . import errors

TRIES = 4
RETRY_AFTER_MAX_S = 30
TIMEOUT_S = 60


class _Bearer(requests.auth.AuthBase):
    """Set even without a token: otherwise `requests` would take a password of that host from ~/.netrc."""

    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Transport:
    def __init__(self, endpoint, token):
        self.endpoint = endpoint
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers["User-Agent"] = "dlhub-python"
        if urllib.parse.urlsplit(endpoint).hostname in ("127.0.0.1", "::1", "localhost"):
            self._session.headers["Accept-Encoding"] = "identity"  # compressing costs more there than it saves

    def close(self):
        self._session.close()

    def call(self, method, path, *, timeout=TIMEOUT_S, **options):
        """The reply of status 2xx. Only a GET is ever sent twice."""
        for left in reversed(range(TRIES if method == "GET" else 1)):
            try:
                reply = self._session.request(method, self.endpoint + path, timeout=(10, timeout),
                                              allow_redirects=False, **options)
            except requests.exceptions.ReadTimeout as error:
                raise errors.DeadlineExceeded(f"{self.endpoint} did not answer within {timeout} s") from error
            except requests.exceptions.RequestException as error:
                if left and isinstance(error, requests.exceptions.ConnectionError) and "RemoteDisconnected" in repr(error):
                    continue
                raise errors.Unavailable(f"{self.endpoint} cannot be reached: {_reason(error)}",
                                         "start a hub with `dlhub serve`, or name another: DLHUB_ENDPOINT") from error
            if 200 <= reply.status_code < 300:
                return reply
            problem = self._error(reply)
            wait = problem.retry_after or 1
            if not left or not isinstance(problem, (errors.Unavailable, errors.ResourceExhausted)) or \
                    wait > RETRY_AFTER_MAX_S:
                raise problem
            time.sleep(wait)
        raise AssertionError("unreachable")

    def json(self, method, path, **options):
        reply = self.call(method, path, **options)
        return self.document(reply) if reply.content else None

    def document(self, reply):
        try:
            return reply.json()
        except ValueError as error:
            raise errors.InternalError(f"{self.endpoint} answered {reply.request.path_url} with something that is not "
                                       "JSON: is it a hub?") from error

    def _error(self, reply):
        try:
            document = reply.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            document = {"error": f"{self.endpoint} answered {reply.status_code} {reply.reason}; is it a hub?"}
        after = reply.headers.get("Retry-After", "")
        document.setdefault("request_id", reply.headers.get("X-Request-Id"))
        return errors.from_document(document, reply.status_code, int(after) if after.isdigit() else None)


def _reason(error):
    """The innermost cause, in the words of the operating system."""
    seen = error
    while True:
        inner = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
