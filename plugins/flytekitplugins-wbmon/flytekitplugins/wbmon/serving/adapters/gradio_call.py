"""One call of the function of a Gradio event, as a request of the prediction log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.serving.adapters.gradio_event import (
    EventFunction,
    said_values,
    shown_values,
)
from flytekitplugins.wbmon.serving.adapters.shown import (
    Shown,
    ShownPredictions,
    answer_text,
    chat_before,
)
from flytekitplugins.wbmon.serving.adapters.summarise import answer_columns
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger

Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], "EventCall"]


class EventCall:
    """One call of an event's function, logged as one request.

    Args:
        logger: The prediction log.
        request: The request.
        inputs: The function's inputs.
        shown: Remembers what the page is shown.
        counts: Whether somebody asked; of a call that only fills a cache nothing is logged.

    Attributes:
        unit: The unit of an experiment that it is made for.
    """

    def __init__(
        self,
        logger: PredictionLogger,
        request: Request,
        inputs: tuple[Any, ...],
        *,
        shown: ShownPredictions | None,
        counts: bool,
    ) -> None:
        self._logger, self.request, self.inputs, self._shown = logger, request, inputs, shown
        self._answer: dict[str, Any] = {}
        self._note: Shown | None = None
        self._counts = counts
        self.unit: str | None = None
        if counts:
            logger.enter(request)

    def step(self, work: Callable[[], Any]) -> Any:
        """Run a part of the function as part of the request.

        Gradio may run each step of a generator in another thread, so the context variable is set
        and reset around each step.
        """
        token = CURRENT.set(self.request)
        try:
            return work()
        finally:
            restore(CURRENT, token)

    async def step_later(self, work: Callable[[], Any]) -> Any:
        """As `step`, of a coroutine."""
        token = CURRENT.set(self.request)
        try:
            return await work()
        finally:
            restore(CURRENT, token)

    def output(self, given: Any) -> Any:
        """The outputs of the event: the function's own, and without `shown` the prediction's id."""
        own: Any = self.request.request_id if self._counts else None
        try:
            values = shown_values(given)
            if values:
                value = values[0] if len(values) == 1 else values
                self._answer = answer_columns(value)
                self._show(said_values(given))
            else:  # the page goes on showing what it did, and that is what a rating is of
                own = {"__type__": "update"}
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        if self._shown is not None:
            return given
        return (*(given if isinstance(given, tuple) else (given,)), own)

    def chunk(self, given: Any) -> Any:
        """The outputs of the event after one step of a generator."""
        if self.request.first_chunk_ms is None:
            self.request.first_chunk_ms = self.request.elapsed_ms()
        return self.output(given)

    def end(self, error: BaseException | None = None) -> None:
        """Finish the request, with the exception that ended it if there was one."""
        request = self.request
        if not self._counts:
            return
        # Gradio closes a generator, or cancels a coroutine, when the user leaves the page or
        # cancels the event
        if isinstance(error, GeneratorExit | asyncio.CancelledError):
            request.abandon()
        elif error is not None:
            request.fail(error)
        # columns that the function set by itself are better than those guessed from its outputs
        own = request.columns or {}
        request.set(**{name: value for name, value in self._answer.items() if name not in own})
        request.latency_ms = request.elapsed_ms()
        self._logger.leave(request)
        self._logger.finish(request)

    def _show(self, said: list[Any]) -> None:
        """Note what the page is shown, once; a stream goes on changing the text."""
        session = self.request.session_id
        if self._shown is None or session is None:
            return
        if self._note is None:
            self._note = Shown(
                request_id=self.request.request_id,
                unit=self.unit,
                tenant=self.request.tenant,
                before=chat_before(self.inputs),
            )
            self._shown.add(session, self._note)
        self._note.text, self._note.n_messages = answer_text(said), len(said)


def logged(event: EventFunction, begin: Begin) -> Callable[..., Any]:
    """The function of its own kind that begins a call, runs it and ends it."""
    fn = event.call
    if event.kind == "async generator":
        return _logged_async_generator(fn, begin)
    if event.kind == "generator":
        return _logged_generator(fn, begin)
    if event.kind == "coroutine":

        async def awaited(*given: Any, **named: Any) -> Any:
            call = begin(given, named)
            try:
                outputs = call.output(await call.step_later(lambda: fn(*call.inputs, **named)))
            except BaseException as error:
                call.end(error)
                raise
            call.end()
            return outputs

        return awaited

    def called(*given: Any, **named: Any) -> Any:
        call = begin(given, named)
        try:
            outputs = call.output(call.step(lambda: fn(*call.inputs, **named)))
        except BaseException as error:
            call.end(error)
            raise
        call.end()
        return outputs

    return called


def _logged_generator(fn: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def streamed(*given: Any, **named: Any) -> Iterator[Any]:
        call = begin(given, named)
        done = object()
        try:
            # here, as wrong arguments are a failure too
            steps = fn(*call.inputs, **named)
            try:
                # a sentinel, as `StopIteration` raised within a generator becomes a RuntimeError
                while (value := call.step(lambda: next(steps, done))) is not done:
                    yield call.chunk(value)
            finally:
                call.step(steps.close)
        except BaseException as error:
            call.end(error)
            raise
        call.end()

    return streamed


def _logged_async_generator(fn: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def streamed(*given: Any, **named: Any) -> AsyncIterator[Any]:
        call = begin(given, named)
        done = object()
        try:
            steps = fn(*call.inputs, **named)
            try:
                while (value := await call.step_later(lambda: anext(steps, done))) is not done:
                    yield call.chunk(value)
            finally:
                await call.step_later(steps.aclose)
        except BaseException as error:
            call.end(error)
            raise
        call.end()

    return streamed
