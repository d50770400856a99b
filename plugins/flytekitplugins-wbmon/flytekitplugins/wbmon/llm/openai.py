"""Logging of the calls of an OpenAI client: tokens, time to first chunk, retries, rate limits.

The client returns the same answers and raises the same exceptions as before. All its methods send
their requests through `client.request`, so that alone is wrapped. Hooks on its HTTP client count
its internal retries, which it does not expose.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm.open_call import REQUESTS, CallOptions, OpenCall, watch
from flytekitplugins.wbmon.llm.retry_after import retry_after_s
from flytekitplugins.wbmon.llm.text_cleaning import TextRedactor, cleaning
from flytekitplugins.wbmon.monitor.llm.calls.claims import claim
from flytekitplugins.wbmon.monitor.llm.calls.log import PATTERNS
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import request_columns
from flytekitplugins.wbmon.monitor.llm.calls.row import (
    Attempt,
    Sink,
    current_scope,
    new_row,
    require_sink,
)
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)

Client = TypeVar("Client")
_MARK = "_wbmon_log"
# the ends of their addresses; the longer ones first
_ENDPOINTS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/responses/compact": "responses",
    "/embeddings": "embeddings",
}
_WITH_USAGE = ("chat", "completions")


def instrument_openai(
    client: Client,
    log: Sink,
    *,
    capture_text: bool = False,
    redact: TextRedactor | None = PATTERNS,
    provider: str = "openai",
) -> Client:
    """Log every chat, completion, response and embedding call of a client.

    A streamed call is logged when its stream ends; one that ends without a finish reason broke off,
    and has the error `incomplete_response`; one that is closed or dropped before is `abandoned`.
    Its token counts are requested from the server, and the chunk that carries them is hidden from
    callers who did not request it.

    A call that `weave_init(call_log=…)` traces to the same log gets one row, this one.

    Args:
        client: An `openai.OpenAI`, `AsyncOpenAI` or a subclass. It is modified in place; clients
            derived from it with `with_options` are logged too. A second call has no effect.
        log: A `CallLog`, or any callable that takes a row.
        capture_text: Whether to log the text of requests and answers; off by default, since texts
            may hold personal data.
        redact: Hides what must not be kept in these texts: a `Redactor`, or a function from a text
            to a text. A text on which it raises is not logged. By default the redactor of the
            `CallLog`, and for a callable a `PatternRedactor`; a `CallLog` always applies its own
            as well. None for no other.
        provider: Name of the provider, for the price table.

    Returns:
        The same client.

    Raises:
        ConfigError: If the client is none of OpenAI's, or `log` neither a log nor callable.
    """
    # a second wrapper would log each call twice
    if getattr(client, _MARK, None) is not None:
        return client
    if isinstance(client, type) or not hasattr(client, "chat") or not hasattr(client, "request"):
        found = (
            f"the class {client.__name__}" if isinstance(client, type) else type(client).__name__
        )
        raise ConfigError(
            f"client must be an OpenAI client with chat.completions, got {found}; give an object "
            "such as openai.OpenAI()"
        )
    require_sink(log)
    if redact is PATTERNS and hasattr(log, "redactor"):
        redact = None
    clean = cleaning(redact, keeps_containers=hasattr(log, "redactor"))
    how = CallOptions(sink=log, clean=clean if capture_text else None, provider=provider)
    again = functools.partial(
        instrument_openai, log=log, capture_text=capture_text, redact=redact, provider=provider
    )
    setattr(client, _MARK, how)
    _count_requests(client)
    setattr(client, "request", _logged(client.request, how))  # noqa: B010 - of any type
    # these build a new client, which does not inherit the wrapper set on this one
    for name in ("copy", "with_options"):
        setattr(client, name, _copied(getattr(client, name), again))
    return client


def _copied(original: Callable[..., Any], again: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def copy(*args: Any, **kwargs: Any) -> Any:
        return again(original(*args, **kwargs))

    return copy


def _count_requests(client: Any) -> None:
    """Record each HTTP request of a logged call, with its answer or its failure."""
    http = getattr(client, "_client", None)
    # derived clients share the HTTP client, whose requests must not be counted twice
    if not hasattr(http, "send") or getattr(http, _MARK, False):
        return
    setattr(http, "send", _counted(http.send))  # type: ignore[union-attr]  # noqa: B010
    setattr(http, _MARK, True)


def _counted(send: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(inspect.unwrap(send)):

        @functools.wraps(send)
        async def send_async(*args: Any, **kwargs: Any) -> Any:
            with _Sent(REQUESTS.get()) as sent:
                return sent.answered(await send(*args, **kwargs))

        return send_async

    @functools.wraps(send)
    def send_sync(*args: Any, **kwargs: Any) -> Any:
        with _Sent(REQUESTS.get()) as sent:
            return sent.answered(send(*args, **kwargs))

    return send_sync


class _Sent:
    """Measures one HTTP request of a logged call; of any other, nothing."""

    def __init__(self, requests: list[Attempt] | None) -> None:
        self._attempt, self._begun = Attempt(), time.perf_counter()
        if requests is not None:
            requests.append(self._attempt)

    def __enter__(self) -> _Sent:
        return self

    def answered(self, response: Any) -> Any:
        self._attempt.status = response.status_code
        self._attempt.retry_after_s = retry_after_s(response.headers)
        return response

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        self._attempt.duration_ms = (time.perf_counter() - self._begun) * 1e3
        if error is not None:
            # the client's names for what its HTTP library raises
            is_late = any(each.__name__ == "TimeoutException" for each in type(error).__mro__)
            self._attempt.error_type = "APITimeoutError" if is_late else "APIConnectionError"


def _logged(request: Callable[..., Any], how: CallOptions) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(inspect.unwrap(request)):

        @functools.wraps(request)
        async def request_async(cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
            call = _begin(options, how, is_stream=bool(kwargs.get("stream")))
            with _under_way(call):
                answer = await request(cast_to, options, *args, **kwargs)
            if call is not None:
                with _parsing(call, answer):
                    parsed = _parsed(answer)
                    _hand_over(call, await parsed if inspect.isawaitable(parsed) else parsed)
            return answer

        return request_async

    @functools.wraps(request)
    def request_sync(cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(options, how, is_stream=bool(kwargs.get("stream")))
        with _under_way(call):
            answer = request(cast_to, options, *args, **kwargs)
        if call is not None:
            with _parsing(call, answer):
                _hand_over(call, _parsed(answer))
        return answer

    return request_sync


@contextmanager
def _under_way(call: OpenCall | None) -> Iterator[None]:
    """Run a call up to its response; a failure is logged here."""
    if call is None:
        yield
        return
    token = REQUESTS.set(call.requests)
    try:
        yield
    except BaseException as error:
        call.end(error)
        raise
    finally:
        restore(REQUESTS, token)


def _begin(options: Any, how: CallOptions, *, is_stream: bool) -> OpenCall | None:
    """The call that a request is; None if it is of no kind that is logged."""
    operation = _operation(options)
    if operation is None:
        return None
    try:
        given, extra = (
            each if isinstance(each, Mapping) else {}
            for each in (options.json_data, getattr(options, "extra_json", None))
        )
        body = {**given, **extra}  # as the client sends it
        known = {**claim(how.sink), **request_columns(operation, body)}
        row = new_row(gen_ai_provider_name=how.provider, **known)
        call = OpenCall(how=how, row=row, is_stream=is_stream)
        if is_stream and operation in _WITH_USAGE:
            named = body.get("stream_options")
            chosen = dict(named) if isinstance(named, Mapping) else {}
            # without this option a stream ends without any token counts
            call.hides_usage = "include_usage" not in chosen
            options.json_data = {**given, "stream_options": {"include_usage": True, **chosen}}
        if callable(options.post_parser):
            options.post_parser = _seen_before(options.post_parser, call)
        asked = (body.get(name) for name in ("messages", "input", "prompt"))
        call.note_text("input_text", next((each for each in asked if each is not None), None))
        call.begin(current_scope())
    except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
        warn(logger, "an LLM call could not be logged", exc_info=True)
        return None
    return call


def _operation(options: Any) -> str | None:
    if str(getattr(options, "method", "")).lower() != "post":
        return None
    address = f"/{str(getattr(options, 'url', '')).partition('?')[0].strip('/')}"
    return next((name for end, name in _ENDPOINTS.items() if address.endswith(end)), None)


def _seen_before(parse: Callable[[Any], Any], call: OpenCall) -> Callable[[Any], Any]:
    """A parser of answers that notes an answer first: one that it refuses is paid as well."""

    def parse_seen(answer: Any) -> Any:
        call.note_answer(answer)
        return parse(answer)

    return parse_seen


@contextmanager
def _parsing(call: OpenCall, answer: Any) -> Iterator[None]:
    """Let a failure to parse a raw response be that of its caller, who may not parse it at all."""
    response = getattr(answer, "http_response", None)
    was_read = response is None or response.is_closed
    try:
        yield
    except BaseException as error:
        call.end(error)
        # what has been read of a response cannot be read again
        if not was_read or not isinstance(error, Exception):
            raise


def _parsed(answer: Any) -> Any | Awaitable[Any]:
    """The answer itself, also of a raw response, which keeps what it parsed for its caller.

    Parsing reads nothing of a stream.
    """
    is_raw = hasattr(answer, "http_response") and hasattr(answer, "parse")
    return answer.parse() if is_raw else answer


def _hand_over(call: OpenCall, answer: Any) -> None:
    """Log a call, or watch its stream to the end."""
    if not call.is_stream:
        call.note_answer(_decoded(answer))
        call.end()
    elif hasattr(answer, "_iterator"):
        watch(answer, call)
    else:
        # not a stream of the client: log it now, for its end cannot be seen
        call.end()


def _decoded(answer: Any) -> Any:
    """The answer itself; of a response or text that was asked for, what its JSON says."""
    text = answer
    if hasattr(answer, "is_stream_consumed") and answer.is_closed:
        text = answer.text
    if not isinstance(text, str):
        return answer
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return answer
