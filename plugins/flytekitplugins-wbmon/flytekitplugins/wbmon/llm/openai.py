"""Logging of the calls of an OpenAI client: tokens, time to first chunk, retries, rate limits.

The client returns the same answers and raises the same exceptions as before. Hooks on its HTTP
client count its internal retries, which it does not expose.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flytekitplugins.wbmon.errors import ConfigError, error_type
from flytekitplugins.wbmon.llm.openai_columns import answer_columns, content_of, request_columns
from flytekitplugins.wbmon.llm.retry_after import retry_after_s
from flytekitplugins.wbmon.monitor.llm.calls.row import Attempt, Row, Sink, emit, new_row
from flytekitplugins.wbmon.monitor.prediction_log.schema import INCOMPLETE

logger = logging.getLogger(__name__)

Client = TypeVar("Client")
_MARK = "_wbmon_log"
_TOO_MANY = 429
_ENDPOINTS = (
    ("chat.completions", "create", "chat"),
    ("chat.completions", "parse", "chat"),
    ("responses", "create", "responses"),
    ("embeddings", "create", "embeddings"),
)
_REQUESTS: ContextVar[list[Attempt] | None] = ContextVar("wbmon_requests", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CallOptions:
    """The arguments of `instrument_openai`."""

    sink: Sink
    capture_text: bool
    redact: Callable[[str], str] | None
    provider: str


def instrument_openai(
    client: Client,
    log: Sink,
    *,
    capture_text: bool = False,
    redact: Callable[[str], str] | None = None,
    provider: str = "openai",
) -> Client:
    """Log every chat, response and embedding call of a client.

    A streamed call is logged when its stream ends; one that ends without a finish reason broke off,
    and has the error `incomplete_response`. Its token counts are requested from the server,
    and the chunk that carries them is hidden from callers who did not request it.

    Args:
        client: An `openai.OpenAI`, `AsyncOpenAI` or a subclass. It is modified in place; clients
            derived from it with `with_options` are logged too. A second call has no effect.
        log: A `CallLog`, or any callable that takes a row.
        capture_text: Whether to log the text of requests and answers; off by default, since texts
            may hold personal data.
        redact: Applied to these texts; a text on which it raises is not logged.
        provider: Name of the provider, for the price table.

    Returns:
        The same client.

    Raises:
        ConfigError: If the client has no `chat.completions`.
    """
    # a second wrapper would log each call twice
    if getattr(client, _MARK, None) is not None:
        return client
    if not hasattr(client, "chat"):
        raise ConfigError(
            f"client must be an OpenAI client with chat.completions, got {type(client).__name__}"
        )
    how = _CallOptions(sink=log, capture_text=capture_text, redact=redact, provider=provider)
    setattr(client, _MARK, how)
    _count_requests(client)
    for path, method, operation in _ENDPOINTS:
        resource = _resource(client, path)
        original = getattr(resource, method, None)
        if original is not None:
            setattr(resource, method, _logged(original, operation, how))
    # these build a new client, which does not inherit the wrappers set on this one
    for name in ("copy", "with_options"):
        setattr(client, name, _copied(getattr(client, name), how))
    return client


def _resource(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name, None)
    return client


def _copied(original: Callable[..., Any], how: _CallOptions) -> Callable[..., Any]:
    @functools.wraps(original)
    def copy(*args: Any, **kwargs: Any) -> Any:
        return instrument_openai(
            original(*args, **kwargs),
            how.sink,
            capture_text=how.capture_text,
            redact=how.redact,
            provider=how.provider,
        )

    return copy


def _count_requests(client: Any) -> None:
    """Add hooks that record each HTTP request and response during a logged call."""
    http = getattr(client, "_client", None)
    # derived clients share the HTTP client, whose hooks must not be added twice
    if http is None or not hasattr(http, "event_hooks") or getattr(http, _MARK, False):
        return
    hooks = {name: list(functions) for name, functions in http.event_hooks.items()}
    # httpx awaits the hooks of its async client
    is_async = hasattr(http, "aclose")
    hooks.setdefault("request", []).append(_sent_async if is_async else _sent)
    hooks.setdefault("response", []).append(_answered_async if is_async else _answered)
    http.event_hooks = hooks
    setattr(http, _MARK, True)


def _sent(_: Any) -> None:
    requests = _REQUESTS.get()
    if requests is not None:
        # minus the start: adding the end gives the duration, and negative means no response yet
        requests.append(Attempt(duration_ms=-time.perf_counter() * 1e3))


def _answered(response: Any) -> None:
    requests = _REQUESTS.get()
    if requests:
        last = requests[-1]
        last.status = response.status_code
        last.duration_ms += time.perf_counter() * 1e3
        last.retry_after_s = retry_after_s(response.headers)


async def _sent_async(request: Any) -> None:
    _sent(request)


async def _answered_async(response: Any) -> None:
    _answered(response)


@dataclass(slots=True, kw_only=True)
class _OpenCall:
    """A logged call that has not ended."""

    how: _CallOptions
    row: Row
    requests: list[Attempt] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    texts: list[str] = field(default_factory=list)
    hides_usage: bool = False

    def passes(self, part: Any) -> bool:
        """Record a chunk of a stream; returns whether the caller may see it."""
        text = content_of(part)
        if text and "time_to_first_chunk_ms" not in self.row:
            self.row["time_to_first_chunk_ms"] = self._elapsed_ms()
        if text and self.how.capture_text:
            self.texts.append(text)
        self.row |= answer_columns(part)
        return not (self.hides_usage and _only_usage(part))

    def end(self, error: BaseException | None = None, answer: Any = None) -> None:
        """Log the call with its outcome; never raises."""
        try:
            self.row["latency_ms"] = self._elapsed_ms()
            if answer is not None:
                self.row |= answer_columns(answer)
                self.texts.append(content_of(answer) if self.how.capture_text else "")
            if error is not None:
                self.row["error_type"] = error_type(error)
                status = getattr(error, "status_code", None)
                if status is not None:
                    self.row["status_code"] = status
            self.note_text("output_text", "".join(self.texts))
            self._note_requests(error)
            emit(self.row, self.how.sink)
        except Exception:  # a monitor must never break what it monitors
            logger.warning("an LLM call could not be logged", exc_info=True)

    def note_text(self, column: str, text: str) -> None:
        """Log a text after redaction, if texts are captured."""
        if not self.how.capture_text or not text:
            return
        try:
            self.row[column] = self.how.redact(text) if self.how.redact else text
        except Exception:  # noqa: BLE001 - what cannot be made clean is not kept
            self.row.pop(column, None)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self.begun) * 1e3

    def _note_requests(self, error: BaseException | None) -> None:
        made = self.requests or [Attempt(status=self.row.get("status_code"))]
        for each in made:
            each.model = str(self.row.get("gen_ai_request_model") or "")
            if each.duration_ms < 0:
                each.duration_ms += time.perf_counter() * 1e3
            # no status means no response, unless the client has no hooks and the call succeeded
            if each.status is None and not (error is None and each is made[-1]):
                each.error_type = "APIConnectionError"
        if error is not None:
            made[-1].error_type = error_type(error)
        self.row["attempts"] = len(made)
        self.row["retries"] = len(made) - 1
        self.row["rate_limited"] = any(each.status == _TOO_MANY for each in made)
        self.row["attempt_log"] = [each.to_row() for each in made]


def _logged(original: Callable[..., Any], operation: str, how: _CallOptions) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(inspect.unwrap(original)):

        @functools.wraps(original)
        async def create_async(*args: Any, **kwargs: Any) -> Any:
            with _under_way(kwargs, operation, how) as call:
                answer = await original(*args, **kwargs)
            parsed = _parsed(answer)
            _hand_over(call, await parsed if inspect.isawaitable(parsed) else parsed, kwargs)
            return answer

        return create_async

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        with _under_way(kwargs, operation, how) as call:
            answer = original(*args, **kwargs)
        _hand_over(call, _parsed(answer), kwargs)
        return answer

    return create


@contextmanager
def _under_way(kwargs: dict[str, Any], operation: str, how: _CallOptions) -> Iterator[_OpenCall]:
    """Run a call up to its response; a failure is logged here."""
    call = _begin(kwargs, operation, how)
    token = _REQUESTS.set(call.requests)
    try:
        yield call
    except BaseException as error:
        call.end(error)
        raise
    finally:
        _REQUESTS.reset(token)


def _begin(kwargs: dict[str, Any], operation: str, how: _CallOptions) -> _OpenCall:
    row = new_row(gen_ai_provider_name=how.provider, **request_columns(operation, kwargs))
    call = _OpenCall(how=how, row=row)
    if operation == "chat" and kwargs.get("stream") is True:
        given = kwargs.get("stream_options")
        options = dict(given) if isinstance(given, Mapping) else {}
        # without this option a stream ends without any token counts
        call.hides_usage = "include_usage" not in options
        kwargs["stream_options"] = {"include_usage": True, **options}
    asked = kwargs.get("messages", kwargs.get("input"))
    if how.capture_text and asked is not None:
        call.note_text("input_text", asked if isinstance(asked, str) else _messages_text(asked))
    return call


def _messages_text(messages: Any) -> str:
    import json

    return json.dumps(messages, default=str, ensure_ascii=False)


def _parsed(answer: Any) -> Any:
    """The answer itself, also of a raw response, which keeps what it parsed for its caller.

    Parsing reads nothing of a stream.
    """
    is_raw = hasattr(answer, "http_response") and hasattr(answer, "parse")
    return answer.parse() if is_raw else answer


def _hand_over(call: _OpenCall, answer: Any, kwargs: Mapping[str, Any]) -> None:
    """Log a call, or watch its stream to the end."""
    if kwargs.get("stream") is not True:
        call.end(answer=answer)
    elif hasattr(answer, "_iterator"):
        is_async = hasattr(answer._iterator, "__anext__")  # noqa: SLF001 - no public way
        watch = _watch_async if is_async else _watch
        answer._iterator = watch(answer._iterator, call)  # noqa: SLF001 - no public way
    else:
        # not a stream of the client: log it now, for its end cannot be seen
        call.end()


def _watch(chunks: Iterator[Any], call: _OpenCall) -> Iterator[Any]:
    with _to_the_end(call):
        for chunk in chunks:
            if call.passes(chunk):
                yield chunk


async def _watch_async(chunks: AsyncIterator[Any], call: _OpenCall) -> AsyncIterator[Any]:
    with _to_the_end(call):
        async for chunk in chunks:
            if call.passes(chunk):
                yield chunk


@contextmanager
def _to_the_end(call: _OpenCall) -> Iterator[None]:
    """Log a streamed call when it ends, fails or is abandoned by its reader."""
    try:
        yield
    except GeneratorExit:
        # who reads up to the finish reason has the whole answer
        call.row.setdefault("finish_reason", "abandoned")
        call.end()
        raise
    except BaseException as error:
        call.end(error)
        raise
    else:
        # a server or proxy that dies ends a stream as if it were over, which no client notices
        if "finish_reason" not in call.row:
            call.row["error_type"] = INCOMPLETE
        call.end()


def _only_usage(chunk: Any) -> bool:
    # the usage chunk has an empty list of choices; an object without the field is no such chunk
    return not getattr(chunk, "choices", True) and getattr(chunk, "usage", None) is not None
