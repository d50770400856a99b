"""The prediction log in a Gradio app: each call of an event's function is a request of a session.

The prediction's id is one more output, for a `gr.State`. Gradio keeps states on the server, so
feedback belongs to the prediction that the user saw, and nobody can rate those of other users.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError, MissingExtraError
from flytekitplugins.wbmon.serving.adapters.summarise import answer_columns, outline
from flytekitplugins.wbmon.serving.log.feedback import FeedbackSource
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.log.assignment import Experiment
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger

_PARAMETER = "wbmon_request"


def monitor_gradio(
    fn: Callable[..., Any],
    logger: PredictionLogger,
    *,
    route: str | None = None,
    tenant: str | None = None,
    experiment: Experiment | None = None,
    unit: Callable[[Any], str] | None = None,
) -> Callable[..., Any]:
    """Wrap the function of a Gradio event: calls are logged, and return the prediction's id too.

    Functions, coroutine functions, generators and asynchronous generators are wrapped by their own
    kind. An exception is recorded and raised again, so Gradio shows it; one in the middle of a
    stream is a failure too. A user who leaves or cancels the event is none. Images and arrays are
    logged as their shape.

    Args:
        fn: The event's function; returns one value or a tuple, as many as the event has outputs.
        logger: The prediction log.
        route: Name of the function in the log; its own name by default.
        tenant: The tenant of the app.
        experiment: An experiment, whose variant is logged with the prediction.
        unit: Gives the unit of the experiment for a `gr.Request`; by default the user who is logged
            in, otherwise the session of the page.

    Returns:
        The wrapped function, for `outputs=[…, gr.State()]`.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    name = route or str(getattr(fn, "__name__", type(fn).__name__))
    names = list(inspect.signature(fn).parameters)

    def begin(page: Any, inputs: tuple[Any, ...]) -> _EventCall:
        request = Request(route=name)
        call = _EventCall(logger, request)
        try:
            request.tenant = tenant
            request.session_id = getattr(page, "session_hash", None)
            request.user = getattr(page, "username", None)
            request.set(input_text=outline(dict(zip(names, inputs, strict=False))))
            if experiment is not None:
                who = unit(page) if unit is not None else request.user or request.session_id
                request.set(variant=logger.assign(experiment, str(who), tenant=tenant))
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            logger.count_failure()
        return call

    return _with_page(_logged(fn, begin), fn)


def gradio_feedback(
    logger: PredictionLogger,
    name: str = "thumbs",
    *,
    score: float | None = None,
    source: FeedbackSource = "user",
) -> Callable[..., None]:
    """Make the function of a button or slider that logs feedback on a prediction.

    Its inputs are the `gr.State` with the prediction's id, then optionally the rating (a number is
    a score, a text is a label) and a comment. Later feedback replaces earlier feedback. If there is
    no prediction yet, or the rating is invalid, the user sees a warning and nothing is logged.

    Args:
        logger: The prediction log.
        name: Kind of feedback, such as `thumbs` or `stars`.
        score: Fixed score of a button, such as 1.0 for thumbs up; None to use the rating input.
        source: Who gives the feedback.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """

    def feedback(
        page: Any, request_id: str | None, rating: Any = None, comment: str | None = None
    ) -> None:
        gr = _gradio()
        if not request_id:
            gr.Warning("There is nothing to rate yet.")
            return
        is_label = isinstance(rating, str)
        try:
            logger.log_feedback(
                request_id,
                name,
                score=score if score is not None or is_label else rating,
                label=rating if is_label else None,
                comment=comment,
                source=source,
                session_id=getattr(page, "session_hash", None),
            )
        except (DataError, TypeError) as error:
            gr.Warning(str(error))
            return
        gr.Info("Thank you.")

    return _with_page(feedback, feedback, skip=1)


class _EventCall:
    """One call of an event's function, logged as one request."""

    def __init__(self, logger: PredictionLogger, request: Request) -> None:
        self._logger, self.request = logger, request
        self._answer: dict[str, Any] = {}
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

    def output(self, given: Any) -> tuple[Any, ...]:
        """The outputs of the event: the function's own, then the prediction's id."""
        values = given if isinstance(given, tuple) else (given,)
        try:
            self._answer = answer_columns(values[0] if len(values) == 1 else list(values))
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        return (*values, self.request.request_id)

    def chunk(self, given: Any) -> tuple[Any, ...]:
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


def _logged(
    fn: Callable[..., Any], begin: Callable[[Any, tuple[Any, ...]], _EventCall]
) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(fn):
        return _logged_async_generator(fn, begin)
    if inspect.isgeneratorfunction(fn):
        return _logged_generator(fn, begin)
    if inspect.iscoroutinefunction(fn):

        async def awaited(page: Any, *inputs: Any) -> Any:
            call = begin(page, inputs)
            token = CURRENT.set(call.request)
            try:
                given = call.output(await fn(*inputs))
            except BaseException as error:
                call.end(error)
                raise
            finally:
                CURRENT.reset(token)
            call.end()
            return given

        return awaited

    def called(page: Any, *inputs: Any) -> Any:
        call = begin(page, inputs)
        try:
            given = call.output(call.step(lambda: fn(*inputs)))
        except BaseException as error:
            call.end(error)
            raise
        call.end()
        return given

    return called


def _logged_generator(
    fn: Callable[..., Any], begin: Callable[[Any, tuple[Any, ...]], _EventCall]
) -> Callable[..., Any]:
    def streamed(page: Any, *inputs: Any) -> Iterator[Any]:
        call = begin(page, inputs)
        done = object()
        try:
            # here, as wrong arguments are a failure too
            steps = fn(*inputs)
            # a sentinel, because `StopIteration` raised within a generator becomes a RuntimeError
            while (given := call.step(lambda: next(steps, done))) is not done:
                yield call.chunk(given)
        except BaseException as error:
            call.end(error)
            raise
        call.end()

    return streamed


def _logged_async_generator(
    fn: Callable[..., Any], begin: Callable[[Any, tuple[Any, ...]], _EventCall]
) -> Callable[..., Any]:
    async def streamed(page: Any, *inputs: Any) -> AsyncIterator[Any]:
        call = begin(page, inputs)
        try:
            async for given in fn(*inputs):
                yield call.chunk(given)
        except BaseException as error:
            call.end(error)
            raise
        call.end()

    return streamed


def _with_page(
    wrapped: Callable[..., Any], fn: Callable[..., Any], *, skip: int = 0
) -> Callable[..., Any]:
    """Give `wrapped` the signature of `fn` with a `gr.Request` before its parameters.

    Gradio reads the signature and the annotations to decide what it passes.
    """
    gr = _gradio()
    own = inspect.signature(fn)
    page = inspect.Parameter(
        _PARAMETER, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request
    )
    parameters = [page, *list(own.parameters.values())[skip:]]
    hints = {name: hint for name, hint in fn.__annotations__.items() if name != "page"}
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(wrapped, name, getattr(fn, name, None))
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**hints, _PARAMETER: gr.Request}
    return wrapped


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise MissingExtraError.for_feature("Watching a Gradio app", extra="gradio") from error
    return gradio
