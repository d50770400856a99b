"""One request to a W&B server and its answer, of which nothing is taken for granted.

What answers may be a proxy, a captive portal or a server that is falling over. So the time limit is
for all of the exchange, not for each read of the socket; nothing is sent on to another address, as
that would hand it the key; and whatever comes back is JSON or a `PublishError`.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from flytekitplugins.wbmon.delivery.no_redirection import NoRedirection
from flytekitplugins.wbmon.delivery.runs.answers import parse_json
from flytekitplugins.wbmon.errors import PublishError
from flytekitplugins.wbmon.storage.guard import without_secrets

# a page of 200 runs with large summaries has a few MiB
_MAX_BYTES = 64 * 1024 * 1024
_SHOWN = 200


class UnreachableError(PublishError):
    """Nobody answers at the address of the server, or not in time."""


class StatusError(PublishError):
    """The server answered with an HTTP status other than success.

    Attributes:
        status: The status.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def post_json(
    url: str, body: Mapping[str, Any], *, what: str, headers: Mapping[str, str], timeout_s: float
) -> Any:
    """Send JSON and return the JSON that is answered.

    Args:
        url: The address.
        body: What is sent.
        what: What is asked for, in words, for messages.
        headers: Headers of the request.
        timeout_s: Time limit in seconds, from the connection to the last byte of the answer.

    Raises:
        StatusError: If the status of the answer is not one of success; also for a redirection.
        UnreachableError: If there is no connection, or no whole answer in time.
        PublishError: If the answer is not JSON.
    """
    place = f"W&B at {without_secrets(url)}"
    cut_off = _CutOff(timeout_s)
    try:
        request = urllib.request.Request(  # noqa: S310 - the user's own W&B host
            url, json.dumps(body).encode(), dict(headers)
        )
        with cut_off, _opener(cut_off).open(request, timeout=timeout_s) as answer:
            content = answer.read(_MAX_BYTES + 1)
        cut_off.check()  # an answer of unknown length that was cut looks whole
    except urllib.error.HTTPError as error:
        error.close()
        raise StatusError(f"{place} answered {error.code} to {what}", error.code) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if cut_off.is_over or isinstance(error, TimeoutError):
            error = TimeoutError(f"no whole answer to {what} within {timeout_s:g} s")
        kind = UnreachableError if _is_of_connection(error) else PublishError
        raise kind(f"{place} cannot be reached: {_shown(error)}") from None
    return _parsed(content, f"{place} must answer {what} with JSON")


def _parsed(content: bytes, must: str) -> Any:
    if len(content) > _MAX_BYTES:
        raise PublishError(f"{must}, and answered more than {_MAX_BYTES} bytes")
    try:
        return parse_json(content)
    except (ValueError, RecursionError) as error:
        raise PublishError(f"{must}, and answered something else: {_shown(error)}") from None


def _is_of_connection(error: Exception) -> bool:
    # `URLError` is raised until the request is sent, other errors by the answer
    return isinstance(error, (urllib.error.URLError, TimeoutError))


def _shown(error: Exception) -> str:
    return without_secrets(f"{error}"[:_SHOWN]) or type(error).__name__


class _CutOff:
    """Cuts the connections of a request when its time is over.

    The time limit of a socket is for one read, and a server that sends a byte now and then would
    never meet it.
    """

    def __init__(self, timeout_s: float) -> None:
        self.is_over = False
        self._made: list[http.client.HTTPConnection] = []
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True

    def connection(self, kind: Any, *args: Any, **kwargs: Any) -> http.client.HTTPConnection:
        """A connection whose socket is watched."""
        made: http.client.HTTPConnection = kind(*args, **kwargs)
        connect = made.connect

        def watched() -> None:
            self._made.append(made)
            connect()
            # kept apart, because the connection forgets it when the answer begins
            self._sockets.append(made.sock)
            self.check()  # looking up the name may have taken all of the time

        made.connect = watched  # type: ignore[method-assign]
        return made

    def check(self) -> None:
        """Raise if the time is over.

        Raises:
            TimeoutError: If it is.
        """
        if self.is_over:
            raise TimeoutError

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.is_over = True
        for each in (*self._sockets, *(made.sock for made in self._made)):
            # not the method of a TLS socket, which another thread is reading
            with suppress(OSError, AttributeError, TypeError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, cut_off: _CutOff) -> None:
        super().__init__()
        self._cut_off = cut_off

    def do_open(self, http_class: Any, req: Any, **kwargs: Any) -> Any:
        return super().do_open(partial(self._cut_off.connection, http_class), req, **kwargs)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, cut_off: _CutOff) -> None:
        super().__init__()
        self._cut_off = cut_off

    def do_open(self, http_class: Any, req: Any, **kwargs: Any) -> Any:
        return super().do_open(partial(self._cut_off.connection, http_class), req, **kwargs)


def _opener(cut_off: _CutOff) -> urllib.request.OpenerDirector:
    # with the proxies of the environment, as every opener
    return urllib.request.build_opener(
        _PlainHandler(cut_off), _SecureHandler(cut_off), NoRedirection()
    )
