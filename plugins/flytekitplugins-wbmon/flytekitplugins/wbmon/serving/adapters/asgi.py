"""The prediction log as ASGI middleware, for FastAPI, Starlette, Litestar or any other framework.

It is plain ASGI, which takes microseconds per request; a middleware built on tasks and streams
takes hundreds. Errors inside the middleware are counted and not raised; exceptions of the app are
recorded and raised unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from time import perf_counter, time
from typing import Any, Literal

from flytekitplugins.wbmon.context import leave
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import is_acceptable, new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.schema import INCOMPLETE
from flytekitplugins.wbmon.serving.adapters.bodies import Bodies, Body, header, header_text
from flytekitplugins.wbmon.serving.adapters.routes import route_template
from flytekitplugins.wbmon.serving.log.logger import PredictionLogger
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request

AsgiScope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]
Extractor = Callable[[AsgiScope], str | None]

# nginx's status for a client that closed the connection; no framework sends it
_STATUS_DISCONNECTED = 499
# by name, so that no framework and no server has to be imported
_GONE = ("ClientDisconnect", "ClientDisconnected")
# servers that offer it send a file for the app
_PARTS = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
# for requests that the server has cancelled, whose threads still do a step
_GRACE_S = 1.0
_N_LOOKS = 100


class PredictionLoggingMiddleware:
    """Logs each HTTP request, and closes the log when the server shuts down.

    Each request has an id: its own `x-request-id` if that is acceptable, a new one otherwise. The
    response carries the id in the same header, and feedback refers to it. Where the request had
    none and the app answers with an acceptable one of its own, that becomes the id: it is what the
    caller has. The latency ends with the last byte of the response, so it does not include
    background tasks. Websockets are not logged.

    Around an app and again around one within it, as one that is mounted, the outermost middleware
    of a log logs the request, and the others pass it on.

    When the server shuts down, requests that it has cancelled have a second to end; those that go
    on, as in a thread, are counted as cancelled, because the process may end next.

    A response that does not come to its end is a failure of the server, also if its status 200 was
    sent long before: the app raised, was cancelled, or ended without a last message. It is none if
    the server had said by then that the caller had left.

    A response is a stream if its body comes in more than one part before the last message, or it is
    `text/event-stream`; one with a `content-length` is none. So the whole answers that Starlette's
    `BaseHTTPMiddleware` sends on in two messages are none.

    A tenant, user or session that the handler logs, as it knows them from authentication, is
    believed more than what a header says.

    Args:
        app: The ASGI app.
        logger: The prediction log.
        capture: `bodies` also keeps the text of requests and responses; `metadata` does not.
        max_body: Number of bytes kept of each body.
        tenant: Name of a header, or a function of the ASGI scope (called after routing).
        user: The same for the user; only a hash with the logger's `user_key` is written.
        session: The same for the session.
        exclude: Paths that are not logged, such as `/health`.

    Raises:
        ConfigError: If `user` is given and the logger has no `user_key`, or `capture` is unknown.
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
        self._open: dict[Exchange, AsgiScope] = {}
        self._exclude = frozenset(exclude)
        # in the scope, which those around an app and its parts share; one for each log
        self._mark = f"wbmon.{id(logger):x}"
        self._max_body = max_body if capture == "bodies" else 0
        extractors = {"tenant": tenant, "user": user, "session_id": session}
        self._extractors = [
            (name, _header_of(how) if isinstance(how, str) else how)
            for name, how in extractors.items()
            if how is not None
        ]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve a request through the app."""
        if scope["type"] != "http" or scope["path"] in self._exclude:
            if scope["type"] == "lifespan":
                send = self._closing(send)
            await self.app(scope, receive, send)
            return
        served: Request | None = scope.get(self._mark)
        if served is not None and not served.is_over:
            await self.app(scope, receive, send)
            return
        exchange = scope[self._mark] = Exchange(self.logger, scope, send)
        if self._max_body:
            exchange.keep_bodies(self._max_body)
        self._open[exchange] = scope
        token = CURRENT.set(exchange)
        try:
            await self.app(scope, exchange.watching(receive), exchange.send)
        except BaseException as error:
            exchange.note(error)
            raise
        finally:
            leave(CURRENT, token, exchange)
            del self._open[exchange]
            if not exchange.is_over:
                # after the app: authentication and routing write what they found into the scope
                if self._extractors:
                    self._extract(scope, exchange)
                exchange.end()

    def _extract(self, scope: AsgiScope, request: Request) -> None:
        for name, extract in self._extractors:
            # what the handler logged it knows from authentication; a header anybody can send
            if getattr(request, name) is not None:
                continue
            try:
                value = extract(scope)
                setattr(request, name, None if value is None else str(value))
            except Exception:  # noqa: BLE001 - an extractor is anybody's code
                self.logger.count_failure()

    def _closing(self, send: Send) -> Send:
        async def close_then_send(message: Message) -> None:
            # before the message goes out, because the server may end the process on receiving it;
            # in a thread, because closing waits for the disk
            if message["type"].startswith("lifespan.shutdown."):
                await self._end_open()
                await asyncio.get_running_loop().run_in_executor(None, self.logger.close)
            await send(message)

        return close_then_send

    async def _end_open(self) -> None:
        """Wait a while for the requests that are still served, and count the rest as cancelled."""
        for _ in range(_N_LOOKS):
            if not (self._open or self.logger.n_in_flight):
                return
            await asyncio.sleep(_GRACE_S / _N_LOOKS)
        error = asyncio.CancelledError()
        for exchange, scope in list(self._open.items()):
            self._extract(scope, exchange)
            exchange.break_off(error)
        self.logger.break_off(error)


class Exchange(Request):
    """One HTTP request and its response, observed message by message.

    Args:
        logger: The prediction log.
        scope: The ASGI scope.
        send: The server's function to send a message.
    """

    _is_started = _is_sent = _is_stream = _has_length = _is_named = False
    _content_type = _content_encoding = _parent = b""
    _incoming: Body | None = None
    _outgoing: Body | None = None

    # runs for every request: it sets the attributes itself, which is faster than
    # `super().__init__`, and takes both headers in one pass
    def __init__(self, logger: PredictionLogger, scope: AsgiScope, send: Send) -> None:
        self.began_at = time()
        self.begin = perf_counter()
        self.method = scope["method"]
        self._logger = logger
        self._scope = scope
        self._deliver = send
        # kept, because mounted apps change it in place while they route
        self._root_path = scope.get("root_path", "")
        request_id = ""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value.decode("latin-1")
            elif name == b"traceparent":
                self._parent = value
        if request_id and is_acceptable(request_id):
            self.request_id, self._is_named = request_id, True
        else:
            self.request_id = new_request_id()
        logger.enter(self)

    def keep_bodies(self, limit: int) -> None:
        """Capture both bodies.

        Args:
            limit: Bytes kept of each body.
        """
        self._incoming, self._outgoing = Body(limit), Body(limit)

    def watching(self, receive: Receive) -> Receive:
        """The function that the app must receive messages with.

        Args:
            receive: The server's function to receive a message.
        """
        # the server's function is held here only: a request that waits in the queue must not keep
        # the server's objects, and the app may go on to receive when it is done

        async def look() -> Message:
            message = await receive()
            kind = message["type"]
            if kind == "http.disconnect":
                # after the response it says nothing: servers send it to whoever still asks
                self.is_alone = not self._is_sent
            elif self._incoming is not None and kind == "http.request":
                self._incoming.add(message.get("body", b""))
            return message

        return look

    def send(self, message: Message) -> Awaitable[None]:
        """Observe a message of the app, and pass it on to the server."""
        kind = message["type"]
        if kind == "http.response.start":
            self._is_started = True
            self.status = message["status"]
            message = self._with_id(message)
        elif kind in _PARTS:
            if self._outgoing is not None:
                self._outgoing.add(message.get("body", b""))
            if not message.get("more_body", False):
                # here and not in `end`: the app goes on with background tasks
                self.latency_ms = (perf_counter() - self.begin) * 1e3
                self._is_sent = True
                # of a caller who left after the first part nobody knows how many would have come
                if not (self._is_stream or self.is_alone):
                    self.first_chunk_ms = None
                self._logger.leave(self)
            elif self.first_chunk_ms is not None:
                self._is_stream = True
            elif message.get("body") and not self._has_length:
                self.first_chunk_ms = self.elapsed_ms()
        return self._deliver(message)

    def note(self, error: BaseException) -> None:
        """Record an exception of the app, unless it only says that the caller has left."""
        own = None
        if type(error).__name__ in _GONE and (own := _raised_by_body(error)) is None:
            self.is_alone = True
            self.abandon()
            # what the framework made of it, such as a 500, reached nobody
            if not self._is_started or self.status >= _SERVER_ERROR:
                self.status = _STATUS_DISCONNECTED
            return
        if isinstance(error, asyncio.CancelledError) and self.is_alone:
            return
        status = self.status
        self.fail(own or error)
        # the client has seen this status, whatever happened afterwards
        if self._is_started:
            self.status = status

    def end(self) -> None:
        """Complete the request's data and give it to the log."""
        try:
            self.route = route_template(self._scope, self._root_path)
            if not self._is_sent or self.is_alone or self.status >= _CLIENT_ERROR:
                self._judge()
            if self._parent:
                # W3C Trace Context: version-traceid-parentid-flags
                parts = self._parent.decode("latin-1").split("-")
                self.trace_id = parts[1] if len(parts) > 1 else None
            if self._incoming is not None and self._outgoing is not None:
                sent = self._scope["headers"]
                sent_as = header(sent, b"content-type"), header(sent, b"content-encoding")
                answered_as = self._content_type, self._content_encoding
                self.bodies = Bodies(self._incoming, sent_as, self._outgoing, answered_as)
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        # the request waits in a queue, and would keep the scope and the server's objects alive
        del self._scope, self._deliver
        self._logger.finish(self)

    def break_off(self, error: BaseException) -> None:
        """Count it as what it is now, because the process may end before its app does."""
        kept = self._scope, self._deliver
        if not self._is_sent:
            self.note(error)
        self.end()
        # the app may go on to send
        self._scope, self._deliver = kept

    def _judge(self) -> None:
        """Set the outcome of a request that was not answered, or to nobody, or with an error."""
        if not self._is_sent:
            self.latency_ms = self.elapsed_ms()
            self._logger.leave(self)
            if self.error_type is None:
                self._judge_unsent()
        elif self.error_type is None and self.status < _CLIENT_ERROR:
            # a middleware around the app ends the response for an app that has stopped
            self.abandon()
        elif self.error_type is None:
            self.error_type = f"http_{self.status}"
            self.is_failure = self.status >= _SERVER_ERROR

    def _judge_unsent(self) -> None:
        """Set the outcome of a request whose app ended without an exception and without the end."""
        if self.is_alone:
            self.abandon()
        else:
            self.error_type, self.is_failure = INCOMPLETE, True
        if not self._is_started:
            self.status = _STATUS_DISCONNECTED if self.is_alone else _SERVER_ERROR

    def _with_id(self, message: Message) -> Message:
        """The start of the response with the request's id.

        If the app has set one itself, that is what the caller gets, and feedback refers to.
        """
        # a new list: the app may send the same one again
        headers = [*message.get("headers", ())]
        own: bytes | None = None
        for name, value in headers:
            if name == b"content-length":
                self._has_length = True
            elif name == b"content-type":
                self._content_type = value
                self._is_stream = value.startswith(b"text/event-stream")
            elif name == b"content-encoding":
                self._content_encoding = value
            elif name == b"x-request-id":
                own = value
        if own is None:
            headers.append((b"x-request-id", self.request_id.encode()))
            message["headers"] = headers
        elif not self._is_named:
            self._take_id(own.decode("latin-1"))
        return message

    def _take_id(self, request_id: str) -> None:
        """Take an id that the app has set, unless it is that of one of the predictions."""
        is_taken = any(each.request_id == request_id for each in self.further or ())
        if is_acceptable(request_id) and not is_taken:
            self.request_id = request_id


def _raised_by_body(error: BaseException) -> BaseException | None:
    """The exception of the app's own generator that an exception says the caller has left for.

    Starlette takes every `OSError` for one of the server's `send`, also the lost connection of the
    app to its model.
    """
    first = error.__context__
    step = first.__traceback__ if isinstance(first, OSError) else None
    while step is not None:
        if step.tb_frame.f_code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
            return first
        step = step.tb_next
    return None


def _header_of(name: str) -> Extractor:
    wanted = name.lower().encode("latin-1")

    def extract(scope: AsgiScope) -> str | None:
        found = header(scope["headers"], wanted)
        return header_text(found) or None

    return extract
