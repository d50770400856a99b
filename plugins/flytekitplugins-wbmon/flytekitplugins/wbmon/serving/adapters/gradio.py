"""The prediction log in a Gradio app: each call of an event's function is a request of a session.

A rating must find its prediction. Either the prediction's id is one more output of the event, for a
`gr.State`, or the process remembers what each page was shown (`ShownPredictions`). Both stay on the
server, so feedback belongs to what the user saw, and nobody can rate the predictions of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.serving.adapters.gradio_event import (
    EventFunction,
    current_page,
    gradio,
    liked,
    shown_values,
    unit_of,
    user_of,
)
from flytekitplugins.wbmon.serving.adapters.shown import (
    Shown,
    ShownPredictions,
    answer_text,
    chat_place,
)
from flytekitplugins.wbmon.serving.adapters.summarise import answer_columns, outline
from flytekitplugins.wbmon.serving.log.feedback import FeedbackSource
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.log.assignment import Experiment
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger

_Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], "_EventCall"]


def monitor_gradio(
    fn: Callable[..., Any],
    logger: PredictionLogger,
    *,
    route: str | None = None,
    tenant: str | None = None,
    experiment: Experiment | None = None,
    unit: Callable[[Any], str] | None = None,
    shown: ShownPredictions | None = None,
) -> Callable[..., Any]:
    """Wrap the function of a Gradio event: each call is logged as a request of its page.

    Functions, coroutine functions, generators and asynchronous generators are wrapped by their own
    kind, also as methods, partials and objects with `__call__`. An exception is recorded and raised
    again, so Gradio shows it; one in the middle of a stream is a failure too. A user who leaves or
    cancels the event is none. Images and arrays are logged as their shape.

    With `shown` the wrapper takes and gives what the function does, as `gr.Interface` and
    `gr.ChatInterface` need it, and events with any outputs. Without, it gives the prediction's id
    as one more output.

    Args:
        fn: The event's function. Without `shown` it returns one value or a tuple, as many as the
            event has outputs.
        logger: The prediction log.
        route: Name of the function in the log; its own name by default.
        tenant: The tenant of the app.
        experiment: An experiment, whose variant is logged with the prediction.
        unit: Gives the unit of the experiment for a `gr.Request`; by default the user who is logged
            in, otherwise the session of the page. Give `gradio_feedback` the same.
        shown: Remembers the predictions of each page for `gradio_feedback`, which is given the same
            object.

    Returns:
        The wrapped function; without `shown` it is for `outputs=[…, gr.State()]`.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    event = EventFunction(fn)

    def begin(given: tuple[Any, ...], named: Mapping[str, Any]) -> _EventCall:
        page, inputs = (given[0], given[1:]) if shown is None else (current_page(), given)
        request = Request(route=route or event.name)
        call = _EventCall(logger, request, inputs, shown)
        try:
            request.tenant = tenant
            request.session_id = getattr(page, "session_hash", None)
            request.user = user_of(page)
            request.set(input_text=outline(event.inputs(inputs, named)))
            call.unit = unit_of(page, unit)
            if experiment is not None and call.unit is not None:
                variant = logger.assign(
                    experiment, call.unit, session_id=request.session_id, tenant=tenant
                )
                request.set(variant=variant)
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            logger.count_failure()
        return call

    return event.dress(_logged(event, begin), takes_page=shown is None)


def gradio_feedback(
    logger: PredictionLogger,
    name: str = "thumbs",
    *,
    score: float | None = None,
    source: FeedbackSource = "user",
    unit: Callable[[Any], str] | None = None,
    shown: ShownPredictions | None = None,
) -> Callable[..., None]:
    """Make the function of a button, a slider or a chat's thumbs that logs feedback.

    Its inputs are the `gr.State` with the prediction's id (not with `shown`), then optionally the
    rating (a number is a score, a text is a label) and a comment. Later feedback replaces earlier
    feedback. If there is no prediction yet, or the rating is invalid, the user sees a warning and
    nothing is logged.

    With `shown` it rates the last prediction that the page was shown, and as `chatbot.like(…)` the
    one that answered with the message: 1 for a like, 0 for a dislike, a label for any other option.

    Args:
        logger: The prediction log.
        name: Kind of feedback, such as `thumbs` or `stars`.
        score: Fixed score of a button, such as 1.0 for thumbs up; None to use the rating input.
        source: Who gives the feedback.
        unit: Gives the unit of an experiment for a `gr.Request`, as for `monitor_gradio`.
        shown: What the pages were shown, as for `monitor_gradio`.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    gr = gradio()

    def rater(page: Any) -> str | None:
        try:
            return unit_of(page, unit)
        except Exception:  # noqa: BLE001 - a rating is worth more than its unit
            logger.count_failure()
            return None

    def rate(page: Any, about: Shown | None, rating: Any, comment: str | None) -> None:
        if about is None:
            gr.Warning("There is nothing to rate yet.")
            return
        is_label = isinstance(rating, str)
        try:
            logger.log_feedback(
                about.request_id,
                name,
                score=score if score is not None or is_label else rating,
                label=rating if is_label else None,
                comment=comment,
                source=source,
                session_id=getattr(page, "session_hash", None),
                unit=about.unit or rater(page),
            )
        except (DataError, TypeError) as error:
            gr.Warning(str(error))
            return
        gr.Info("Thank you.")

    def feedback(
        page: Any, request_id: str | None, rating: Any = None, comment: str | None = None
    ) -> None:
        rate(page, Shown(request_id=request_id) if request_id else None, rating, comment)

    def feedback_of_page(
        page: Any, rating: Any = None, comment: str | None = None, event: Any = None
    ) -> None:
        session = getattr(page, "session_hash", None)
        message = liked(event)
        if message is None:
            rate(page, shown.last(session) if shown else None, rating, comment)
        elif (answer := message.get("liked", True)) != "":  # of a thumb that is taken back
            about = shown.message(session, message["index"], message["value"]) if shown else None
            rate(page, about, float(answer) if isinstance(answer, bool) else answer, comment)

    # Gradio reads the annotations to decide what it passes
    feedback.__annotations__ = {"page": gr.Request}
    feedback_of_page.__annotations__ = {"page": gr.Request, "event": gr.EventData}
    feedback_of_page.__name__ = feedback.__name__  # of the event in the app's API
    return feedback if shown is None else feedback_of_page


class _EventCall:
    """One call of an event's function, logged as one request."""

    def __init__(
        self,
        logger: PredictionLogger,
        request: Request,
        inputs: tuple[Any, ...],
        shown: ShownPredictions | None,
    ) -> None:
        self._logger, self.request, self.inputs, self._shown = logger, request, inputs, shown
        self._answer: dict[str, Any] = {}
        self._note: Shown | None = None
        self.unit: str | None = None
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
            CURRENT.reset(token)

    async def step_later(self, work: Callable[[], Any]) -> Any:
        """As `step`, of a coroutine."""
        token = CURRENT.set(self.request)
        try:
            return await work()
        finally:
            CURRENT.reset(token)

    def output(self, given: Any) -> Any:
        """The outputs of the event: the function's own, and without `shown` the prediction's id."""
        try:
            values = shown_values(given)
            if values:
                value = values[0] if len(values) == 1 else values
                self._answer = answer_columns(value)
                self._show(value)
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        if self._shown is not None:
            return given
        return (*(given if isinstance(given, tuple) else (given,)), self.request.request_id)

    def chunk(self, given: Any) -> Any:
        """The outputs of the event after one step of a generator."""
        if self.request.first_chunk_ms is None:
            self.request.first_chunk_ms = self.request.elapsed_ms()
        return self.output(given)

    def end(self, error: BaseException | None = None) -> None:
        """Finish the request, with the exception that ended it if there was one."""
        request = self.request
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

    def _show(self, value: Any) -> None:
        """Note what the page is shown, once; a stream goes on changing the text."""
        session = self.request.session_id
        if self._shown is None or session is None:
            return
        if self._note is None:
            self._note = Shown(
                request_id=self.request.request_id,
                unit=self.unit,
                place=chat_place(self.inputs),
            )
            self._shown.add(session, self._note)
        self._note.text = answer_text(value)


def _logged(event: EventFunction, begin: _Begin) -> Callable[..., Any]:
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


def _logged_generator(fn: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
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


def _logged_async_generator(fn: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
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
