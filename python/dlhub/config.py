"""Which hub, and who one is: the same rules as the `dlhub` command's.

The endpoint: the argument, else DLHUB_ENDPOINT, else the configuration file's, else http://127.0.0.1:8000. The
token: the argument, else DLHUB_TOKEN, else the file's where it was stored for that endpoint. The file is
$XDG_CONFIG_HOME/dlhub/config.json (or ~/.config/dlhub/config.json), which `dlhub login` writes.
"""

import json
import os
import pathlib
from urllib.parse import urlsplit

from .errors import InvalidArgument

ENDPOINT_DEFAULT = "http://127.0.0.1:8000"


def path():
    home = os.environ.get("XDG_CONFIG_HOME")
    folder = pathlib.Path(home) if home else pathlib.Path.home() / ".config"
    return folder / "dlhub" / "config.json"


def stored():
    """The configuration file's object; {} where there is none."""
    file = path()
    try:
        document = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{file}: {error}", "`dlhub login` writes it anew") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{file}: not a JSON object", "`dlhub login` writes it anew")
    return document


def endpoint_normal(text):
    """scheme://host[:port][/path], http:// where no scheme is given, without a slash at the end."""
    full = text if "://" in text else f"http://{text}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InvalidArgument(f"'{text}' is no address of a hub", f"write it as {ENDPOINT_DEFAULT}")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def endpoint_and_token(endpoint=None, token=None):
    """Both in force, for what the caller gave; the token may be None."""
    file = {}
    if endpoint is None or token is None:
        file = stored()
    of_file = endpoint_normal(file.get("endpoint") or ENDPOINT_DEFAULT)
    chosen = endpoint or os.environ.get("DLHUB_ENDPOINT")
    chosen = endpoint_normal(chosen) if chosen else of_file
    if token is None:
        token = os.environ.get("DLHUB_TOKEN") or None
    if token is None and chosen == of_file:  # a stored token is shown to its own hub only
        token = file.get("token")
    token = token.strip() if token else None
    if token and any(c <= " " or c == "\x7f" for c in token):
        raise InvalidArgument("the token holds a space or control character")
    return chosen, token
