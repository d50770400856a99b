"""A call of an OpenAI client while it lasts: its row, its requests, and its stream."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from flytekitplugins.wbmon.errors import error_type
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import (
    answer_columns,
    content_of,
    is_generated,
    whole_answer_columns,
)
from flytekitplugins.wbmon.monitor.llm.calls.row import Attempt, CallScope, Chain, Row, Sink, emit
from flytekitplugins.wbmon.monitor.prediction_log.schema import INCOMPLETE
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)

_TOO_MANY = 429
REQUESTS: ContextVar[list[Attempt] | None] = ContextVar("wbmon_requests", default=None)
"""The HTTP requests of the call under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How calls are logged.

    Attributes:
        sink: Where rows go.
        clean: Makes of a text what a row keeps; None keeps no texts.
        provider: Name of the provider.
    """

    sink: Sink
    clean: Callable[[Any], Any] | None
    provider: str


@dataclass(slots=True, kw_only=True)
class OpenCall:
    """A logged call that has not ended."""

    how: CallOptions
    row: Row
    is_stream: bool = False
    requests: list[Attempt] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    texts: list[str] = field(default_factory=list)
    hides_usage: bool = False
    _scope: CallScope | None = None
    _repeated: Chain = field(default_factory=list)
    _process: int = field(default_factory=os.getpid)
    _is_over: bool = False

    def begin(self, scope: CallScope | None) -> None:
        """Make this a request of a call that may take several."""
        self._scope = scope
        if scope is not None:
            self._repeated = scope.begin(self.row.get("gen_ai_operation_name"))

    def passes(self, part: Any) -> bool:
        """Record a chunk of a stream; returns whether the caller may see it."""
        is_usage = _only_usage(part)
        try:
            if "time_to_first_chunk_ms" not in self.row and is_generated(part):
                self.row["time_to_first_chunk_ms"] = self._elapsed_ms()
            if self.how.clean is not None:
                self.texts.append(content_of(part))
            self.row |= answer_columns(part)
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            warn(logger, "a part of an LLM call could not be logged", exc_info=True)
        if is_usage and "finish_reason" in self.row:
            self.end()
        return not (is_usage and self.hides_usage)

    @property
    def awaits_usage(self) -> bool:
        """Whether all of a stream was seen but the counts that its caller did not ask for."""
        is_whole = self.hides_usage and "finish_reason" in self.row
        return is_whole and "gen_ai_usage_input_tokens" not in self.row

    def note_answer(self, answer: Any) -> None:
        """Record a whole answer; the last one counts."""
        try:
            self.row |= whole_answer_columns(answer)
            self.texts = [content_of(answer)]
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            warn(logger, "the answer of an LLM call could not be logged", exc_info=True)

    def abandon(self) -> None:
        """Log a stream that its reader left; one that was read to its end is logged already."""
        # who reads up to the finish reason has the whole answer
        self.row.setdefault("finish_reason", "abandoned")
        self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Log the call with its outcome, once; never raises."""
        # of a stream that a fork left open in two processes, the row is its opener's
        if self._is_over or self._process != os.getpid():
            return
        self._is_over = True
        try:
            self.row["latency_ms"] = self._elapsed_ms()
            if error is not None:
                self.row["error_type"] = error_type(error)
                status = getattr(error, "status_code", None)
                if status is not None:
                    self.row["status_code"] = status
            self.note_text("output_text", "".join(self.texts))
            self._note_requests()
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            warn(logger, "an LLM call could not be logged in whole", exc_info=True)
        emit(self.row, self.how.sink, self._scope, self._repeated)

    def note_text(self, column: str, text: Any) -> None:
        """Log a text or messages after redaction, if texts are captured."""
        if self.how.clean is None or not text:
            return
        try:
            self.row[column] = self.how.clean(text)
        except Exception:  # noqa: BLE001 - what cannot be made clean is not kept
            self.row.pop(column, None)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self.begun) * 1e3

    def _note_requests(self) -> None:
        made = self.requests or [Attempt(status=self.row.get("status_code"))]
        for each in made:
            each.model = str(self.row.get("gen_ai_request_model") or "")
        # also of an error that came with status 200
        made[-1].error_type = self.row.get("error_type", "")
        self.row["attempts"] = len(made)
        self.row["retries"] = len(made) - 1
        self.row["rate_limited"] = any(each.status == _TOO_MANY for each in made)
        self.row["attempt_log"] = [each.to_row() for each in made]


def watch(stream: Any, call: OpenCall) -> None:
    """Log a call when its stream ends, fails, is closed, or is dropped by its reader."""
    chunks = stream._iterator  # noqa: SLF001 - no public way
    is_async = hasattr(chunks, "__anext__")
    stream._iterator = (_AsyncChunks if is_async else _Chunks)(chunks, call)  # noqa: SLF001
    # weak, so that a stream that nobody reads any more is not kept by itself
    stream.close = _closing(weakref.ref(stream), call, is_async=is_async)


def _closing(stream: weakref.ref[Any], call: OpenCall, *, is_async: bool) -> Callable[[], Any]:
    def close() -> None:
        call.abandon()
        found: Any = stream()
        type(found).close(found)

    async def close_async() -> None:
        call.abandon()
        found: Any = stream()
        await type(found).close(found)

    return close_async if is_async else close


class _Chunks:
    """The chunks of a stream. No generator, which does not notice that nobody ever read it."""

    def __init__(self, chunks: Iterator[Any], call: OpenCall) -> None:
        self._shown, self._call = _shown(chunks, call), call

    def __iter__(self) -> _Chunks:
        return self

    def __next__(self) -> Any:
        with _ToTheEnd(self._call):
            return next(self._shown)

    def close(self) -> None:
        self._call.abandon()
        self._shown.close()

    def __del__(self) -> None:
        self._call.abandon()


class _AsyncChunks:
    """The same of an asynchronous stream."""

    def __init__(self, chunks: AsyncIterator[Any], call: OpenCall) -> None:
        self._shown, self._call = _shown_async(chunks, call), call

    def __aiter__(self) -> _AsyncChunks:
        return self

    async def __anext__(self) -> Any:
        with _ToTheEnd(self._call):
            return await self._shown.__anext__()

    async def aclose(self) -> None:
        self._call.abandon()
        await self._shown.aclose()

    def __del__(self) -> None:
        self._call.abandon()


def _shown(chunks: Iterator[Any], call: OpenCall) -> Generator[Any, None, None]:
    """The chunks that the caller sees.

    The last one is kept until the counts that follow it were read: many callers leave there.
    """
    last: list[Any] = []
    try:
        for chunk in chunks:
            if not call.passes(chunk):
                continue
            yield from last
            last = [chunk] if call.awaits_usage else []
            if not last:
                yield chunk
    except Exception:
        yield from last
        raise
    yield from last


async def _shown_async(chunks: AsyncIterator[Any], call: OpenCall) -> AsyncGenerator[Any, None]:
    last: list[Any] = []
    try:
        async for chunk in chunks:
            if not call.passes(chunk):
                continue
            for each in last:
                yield each
            last = [chunk] if call.awaits_usage else []
            if not last:
                yield chunk
    except Exception:
        for each in last:
            yield each
        raise
    for each in last:
        yield each


@dataclass(slots=True)
class _ToTheEnd:
    """Logs the call of a stream when its next chunk is its end, or fails."""

    call: OpenCall

    def __enter__(self) -> None:
        """Wait for the next chunk."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if isinstance(error, StopIteration | StopAsyncIteration):
            # a server or proxy that dies ends a stream as if it were over, unnoticed by any client
            if not self.call.row.keys() & {"finish_reason", "error_type"}:
                self.call.row["error_type"] = INCOMPLETE
            self.call.end()
        elif error is not None:
            self.call.end(error)


def _only_usage(chunk: Any) -> bool:
    # the usage chunk has an empty list of choices; an object without the field is no such chunk
    return not getattr(chunk, "choices", True) and getattr(chunk, "usage", None) is not None
