"""Where W&B is: the URLs of its API, its pages and its trace server, worked out here only.

An argument counts, then the environment of the process that asks, which in a pod is the pod's, then
W&B's cloud. Pages and traces follow from the API: links lead to where the run went, and a key is
sent to the server that it is for.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import SplitResult, urlsplit

from flytekitplugins.wbmon.errors import ConfigError

# never wandb's own default, which differs between its releases and from weave's
CLOUD = "https://api.wandb.ai"
_CLOUD_TRACES = "https://trace.wandb.ai"
# another address of the cloud, from wandb 0.31 on: of its API, of its pages
_FORGE_API, _FORGE = "api.forge.coreweave.com", "forge.coreweave.com"
_PORTS = {"http": 80, "https": 443}


def api_url(given: str | None = None) -> str:
    """URL of the W&B API, without a slash at its end.

    Args:
        given: The argument `api_host`; None if it was not given.

    >>> api_url("https://wandb.example.com/")
    'https://wandb.example.com'
    """
    url = (_variable("WANDB_BASE_URL") or CLOUD) if given is None else given
    return url.rstrip("/")


def require_api_url(given: Any = None) -> str:
    """As `api_url`, for one who is about to send the key there.

    Raises:
        ConfigError: If it is no URL, or holds a user or a password.
    """
    url = api_url(given) if given is None or isinstance(given, str) else ""
    # not the value, which may hold a password
    if not _is_url(url):
        raise ConfigError(
            f"api_host, or WANDB_BASE_URL, must be the URL of the W&B API, such as {CLOUD}, and "
            "begin with https:// or http://, without a user or a password"
        )
    return url


def named_api_url(given: str | None = None) -> str:
    """As `api_url`, but an empty text if nothing names a server, or names none that can be."""
    named = given if given is not None else _variable("WANDB_BASE_URL")
    return named.rstrip("/") if _is_url(named) else ""


def page_url(api: str, given: str | None = None) -> str:
    """URL of the pages that belong to an API, as wandb has it, without a slash at its end.

    WANDB_APP_URL applies to the API of WANDB_BASE_URL, which is the cloud if that is not set.

    Args:
        api: URL of the API.
        given: The argument `host`; None if it was not given.
    """
    if given is not None:
        return given.rstrip("/")
    named = _variable("WANDB_APP_URL")
    if _is_url(named) and _is_of_environment(api):
        return named.rstrip("/")
    parts = _parts(api)
    if parts.hostname in (_FORGE_API, _FORGE):
        return f"https://{_FORGE}/wandb"
    api = api.rstrip("/").replace(parts.netloc, parts.netloc.lower(), 1)
    pages = "://app." if "://api.wandb." not in api or "://api.wandb.test" in api else "://"
    return api.replace("://api.", pages, 1)


def trace_url(api: str, given: str = "") -> str:
    """URL of the trace server that belongs to an API, as weave has it.

    WF_TRACE_SERVER_URL applies to the API of WANDB_BASE_URL, which is the cloud if that is not set:
    the key is for the server of the API.

    Args:
        api: URL of the API.
        given: The argument `trace_host`; empty if it was not given.
    """
    if not given and _is_of_environment(api):
        given = _variable("WF_TRACE_SERVER_URL")
    if given:
        return given.rstrip("/")
    # a server of one's own serves traces below its own URL
    return _CLOUD_TRACES if is_same_server(api, CLOUD) else f"{api.rstrip('/')}/traces"


def is_same_server(one: str, other: str) -> bool:
    """Whether two URLs of an API are of one server.

    >>> is_same_server("https://wandb.example.com", "https://WANDB.example.com:443/")
    True
    """
    return server_of(one) == server_of(other)


def server_of(api: str) -> str:
    """The URL of a server, written in one way: lower case, without the port of its scheme.

    >>> server_of("HTTPS://WANDB.example.com:443/")
    'https://wandb.example.com'
    """
    parts = _parts(api)
    host = parts.hostname
    if host in (_FORGE_API, _FORGE):
        return CLOUD
    if not host:
        return api
    place = f"[{host}]" if ":" in host else host
    if parts.port not in (None, _PORTS.get(parts.scheme)):
        place += f":{parts.port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def login_names(api: str) -> tuple[str, ...]:
    """The names by which netrc may know the server of an API, in wandb's order.

    Args:
        api: URL of the API.
    """
    parts = _parts(api)
    # releases of wandb write the entry with the port and without
    names = [parts.netloc, parts.hostname or ""]
    if is_same_server(api, CLOUD):
        names += [_FORGE_API, urlsplit(CLOUD).netloc]
    return tuple(dict.fromkeys(filter(None, names)))


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _is_of_environment(api: str) -> bool:
    """Whether what the environment says of W&B is said of this server."""
    return is_same_server(api_url(), api)


def _is_url(text: str) -> bool:
    parts = _parts(text)
    # W&B is asked with its key, and no other
    return parts.scheme in _PORTS and bool(parts.hostname) and "@" not in parts.netloc


def _parts(url: str) -> SplitResult:
    """The parts of a URL; of one that cannot be, nothing."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        return urlsplit("")
    return parts
