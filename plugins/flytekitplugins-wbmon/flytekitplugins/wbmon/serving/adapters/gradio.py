"""The prediction log in a Gradio app: each call of a function is a request of a session.

The id of a prediction is an output for a `gr.State`, which stays on the server: feedback joins the
prediction that the user saw, and nobody can rate somebody else's.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError, MissingExtraError
from flytekitplugins.wbmon.serving.adapters.asgi import DISCONNECTED
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
    """A function of a Gradio event that is logged, with the prediction's id as one more output.

    Functions, coroutine functions and generators of either kind stay what they are. An exception is
    noted and raised, so Gradio shows it. Images and arrays are written as their shape.

    Args:
        fn: What the event called; gives one value or a tuple, as many as the event has outputs.
        logger: The prediction log.
        route: What the function is called in the log; its name by default.
        tenant: Whose app it is.
        experiment: The variant that the unit sees is written beside the prediction.
        unit: The unit of the experiment, from the `gr.Request`: by default the user who is logged
            in, else the session of the page.

    Returns:
        The function for `outputs=[…, gr.State()]`.

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
    """A function for a button, slider or like: it writes down what is said of a prediction.

    Its inputs are the `gr.State` with the prediction's id, then, if given, the rating (a number is
    a score, a text a label) and a comment. The last word counts. Without a prediction, or with a
    rating that is none, the user is told and nothing is written.

    Args:
        logger: The prediction log.
        name: What is said: `thumbs`, `stars`.
        score: The score of a button, such as 1.0 for a thumb up; the rating input's otherwise.
        source: Who says it.

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
    """One call: what it gives belongs to a request, step by step if it is a generator."""

    def __init__(self, logger: PredictionLogger, request: Request) -> None:
        self._logger, self.request = logger, request
        self._answer: dict[str, Any] = {}
        logger.enter(request)

    def step(self, work: Callable[[], Any]) -> Any:
        """Do some of the work as part of the request; each step may be on another thread."""
        token = CURRENT.set(self.request)
        try:
            return work()
        finally:
            CURRENT.reset(token)

    def output(self, given: Any) -> tuple[Any, ...]:
        """The outputs of the event: what the function gave, and the prediction's id."""
        values = given if isinstance(given, tuple) else (given,)
        try:
            self._answer = answer_columns(values[0] if len(values) == 1 else list(values))
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._logger.count_failure()
        return (*values, self.request.request_id)

    def chunk(self, given: Any) -> tuple[Any, ...]:
        """The same of one step of a stream."""
        if self.request.first_chunk_ms is None:
            self.request.first_chunk_ms = self.request.elapsed_ms()
        return self.output(given)

    def end(self, error: BaseException | None = None) -> None:
        """Count the request as done."""
        request = self.request
        if isinstance(error, GeneratorExit):
            request.error_type = DISCONNECTED
        elif error is not None:
            request.fail(error)
        # what the function said of itself is better than what its outputs look like
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
        steps = fn(*inputs)
        done = object()
        try:
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
    """Tell Gradio the inputs of `fn`, and that the first thing we want is its `gr.Request`."""
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
