"""The prediction log as ASGI middleware: FastAPI, Starlette, Litestar, or any other framework.

It is plain ASGI, so it costs microseconds where a middleware of tasks and streams costs hundreds.
Whatever goes wrong in it is counted and goes no further; whatever goes wrong in the app is noted
and raised as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving.bodies import Body, header
from flytekitplugins.wbmon.serving.identifiers import is_acceptable
from flytekitplugins.wbmon.serving.prediction_log import PredictionLogger
from flytekitplugins.wbmon.serving.request import CURRENT, Request
from flytekitplugins.wbmon.serving.routes import route_template

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Extractor = Callable[[Scope], str | None]

DISCONNECTED = "client_disconnect"
# what nginx calls it; no framework sends it
_STATUS_DISCONNECTED = 499
_SERVER_ERROR = 500
_CLIENT_ERROR = 400


class PredictionLoggingMiddleware:
    """Logs each HTTP request, and closes the log when the server shuts down.

    Requests get an id (theirs, if they bring an acceptable `x-request-id`), which is sent back and
    is what feedback is given for. Latency ends with the last byte of the response, so background
    tasks are not part of it. Websockets pass through.

    Args:
        app: The ASGI app.
        logger: The prediction log.
        capture: `bodies` to keep the text of requests and responses too.
        max_body: Bytes of a body that are looked at.
        tenant: Name of a header, or a function of the ASGI scope (after routing).
        user: The same; what is written is a hash with the logger's `user_key`.
        session: The same.
        exclude: Paths that are not logged, such as `/health`.

    Raises:
        ConfigError: If users are to be told apart and the logger has no `user_key`.
    """

    def __init__(
        self,
        app: App,
        logger: PredictionLogger,
        *,
        capture: Literal["metadata", "bodies"] = "metadata",
        max_body: int = 8_192,
        tenant: str | Extractor | None = None,
        user: str | Extractor | None = None,
        session: str | Extractor | None = None,
        exclude: tuple[str, ...] = (),
    ) -> None:
        if user is not None and not logger.has_user_key:
            raise ConfigError(
                "users are written as a keyed hash; give PredictionLogger a secret user_key, or "
                "leave `user` out"
            )
        if capture not in ("metadata", "bodies"):
            raise ConfigError(f"capture must be 'metadata' or 'bodies', got {capture!r}")
        self.app = app
        self.logger = logger
        self._exclude = frozenset(exclude)
        self._max_body = max_body if capture == "bodies" else 0
        extractors = {"tenant": tenant, "user": user, "session_id": session}
        self._extractors = [
            (name, _header_of(how) if isinstance(how, str) else how)
            for name, how in extractors.items()
            if how is not None
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request through the app."""
        kind = scope["type"]
        if kind == "http" and scope["path"] not in self._exclude:
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            await self.app(scope, receive, self._closing(send))
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self.logger, scope, receive, send, self._max_body)
        token = CURRENT.set(exchange.request)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            CURRENT.reset(token)
            try:
                for name, extract in self._extractors:
                    setattr(exchange.request, name, extract(scope))
            except Exception:  # noqa: BLE001 - an extractor is anybody's code
                self.logger.count_failure()
            exchange.end()

    def _closing(self, send: Send) -> Send:
        async def close_then_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await asyncio.get_running_loop().run_in_executor(None, self.logger.close)
            await send(message)

        return close_then_send


class Exchange:
    """One request and its response, as their messages flow by.

    Args:
        logger: The prediction log.
        scope: The ASGI scope.
        receive: The server's.
        send: The server's.
        max_body: Bytes kept of each body; 0 to look at none.
    """

    __slots__ = (
        "_accept", "_content_type", "_deliver", "_incoming", "_is_disconnected", "_is_sent",
        "_is_started", "_logger", "_outgoing", "_root_path", "_scope", "request",
    )  # fmt: skip

    def __init__(
        self,
        logger: PredictionLogger,
        scope: Scope,
        receive: Receive,
        send: Send,
        max_body: int,
    ) -> None:
        self._logger, self._scope = logger, scope
        self._accept, self._deliver = receive, send
        self._root_path = str(scope.get("root_path", ""))
        self._is_started = self._is_sent = self._is_disconnected = False
        self._content_type = b""
        self._incoming = Body(max_body) if max_body else None
        self._outgoing = Body(max_body) if max_body else None
        given = header(scope["headers"], b"x-request-id").decode("latin-1")
        self.request = Request(
            given if given and is_acceptable(given) else None, method=scope["method"]
        )
        logger.enter()

    async def receive(self) -> Message:
        """The server's next message, looked at."""
        message = await self._accept()
        if message["type"] == "http.disconnect":
            self._is_disconnected = not self._is_sent
        elif self._incoming is not None:
            self._incoming.add(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """The app's next message on its way, looked at."""
        kind = message["type"]
        if kind == "http.response.body":
            self._look_at_body(message)
        elif kind == "http.response.start":
            self._is_started = True
            self.request.status = message["status"]
            headers = list(message.get("headers", ()))
            if self._outgoing is not None:
                self._content_type = header(headers, b"content-type")
            if not header(headers, b"x-request-id"):
                headers.append((b"x-request-id", self.request.request_id.encode()))
                message = {**message, "headers": headers}
        return self._deliver(message)

    def fail(self, error: BaseException) -> None:
        """Note what the app raised."""
        if self._is_gone(error):
            self._is_disconnected = not self._is_sent
            return
        status = self.request.status
        self.request.fail(error)
        if self._is_started:
            self.request.status = status

    def end(self) -> None:
        """Hand the request over to the log."""
        try:
            self._complete()
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        self._logger.finish(self.request)

    def _complete(self) -> None:
        request = self.request
        if not self._is_sent:
            self._finish_response()
        request.route = route_template(self._scope, self._root_path)
        parent = header(self._scope["headers"], b"traceparent")
        if parent:
            request.trace_id = parent.decode("latin-1").partition("-")[2].partition("-")[0] or None
        if self._is_disconnected and request.error_type is None:
            request.error_type = DISCONNECTED
            request.status = request.status if self._is_started else _STATUS_DISCONNECTED
        elif request.status >= _CLIENT_ERROR and request.error_type is None:
            request.error_type = f"http_{request.status}"
            request.is_failure = request.status >= _SERVER_ERROR
        if self._incoming is not None and self._outgoing is not None:
            self._keep_bodies(self._incoming, self._outgoing)

    def _keep_bodies(self, incoming: Body, outgoing: Body) -> None:
        own = self.request.columns or {}
        content_type = header(self._scope["headers"], b"content-type")
        texts = {
            "input_text": incoming.text(content_type),
            "output_text": outgoing.text(self._content_type),
        }
        # what the handler said of them is better than the raw bytes
        self.request.set(
            **{name: text for name, text in texts.items() if name not in own},
            truncated=(incoming.is_cut or outgoing.is_cut) or None,
        )

    def _look_at_body(self, message: Message) -> None:
        body = message.get("body", b"")
        if self.request.first_chunk_ms is None and body and message.get("more_body", False):
            self.request.first_chunk_ms = self.request.elapsed_ms()
        if self._outgoing is not None:
            self._outgoing.add(body)
        if not message.get("more_body", False):
            self._finish_response()

    def _finish_response(self) -> None:
        self._is_sent = True
        self.request.latency_ms = self.request.elapsed_ms()
        self._logger.leave()

    def _is_gone(self, error: BaseException) -> bool:
        return (
            self._is_disconnected
            or isinstance(error, asyncio.CancelledError)
            or type(error).__name__ == "ClientDisconnect"
        )


def _header_of(name: str) -> Extractor:
    wanted = name.lower().encode("latin-1")

    def extract(scope: Scope) -> str | None:
        found = header(scope["headers"], wanted)
        return found.decode("latin-1") or None

    return extract
