"""The prediction log in a Gradio app: each call of an event's function is a request of a session.

A rating must find its prediction. Either the prediction's id is one more output of the event, for a
`gr.State`, or the process remembers what each page was shown (`ShownPredictions`). Both stay on the
server, so feedback belongs to what the user saw, and nobody can rate the predictions of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError, MissingExtraError
from flytekitplugins.wbmon.serving.adapters.gradio_call import EventCall, logged
from flytekitplugins.wbmon.serving.adapters.gradio_event import (
    EventFunction,
    liked,
    unit_of,
    user_of,
)
from flytekitplugins.wbmon.serving.adapters.shown import Shown, ShownPredictions, is_chat
from flytekitplugins.wbmon.serving.adapters.summarise import outline
from flytekitplugins.wbmon.serving.log.feedback import FeedbackSource
from flytekitplugins.wbmon.serving.log.request import Request

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.log.assignment import Experiment
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger


def monitor_gradio(
    fn: Callable[..., Any],
    logger: PredictionLogger,
    *,
    route: str | None = None,
    tenant: str | None = None,
    experiment: Experiment | None = None,
    unit: Callable[[Any], str | None] | None = None,
    shown: ShownPredictions | None = None,
) -> Callable[..., Any]:
    """Wrap the function of a Gradio event: each call is logged as a request of its page.

    Functions, coroutine functions, generators and asynchronous generators are wrapped by their own
    kind, also as methods, partials and objects with `__call__`. An exception is recorded and raised
    again, so Gradio shows it; one in the middle of a stream is a failure too. A user who leaves or
    cancels the event is none. Images and arrays are logged as their shape. A call that Gradio makes
    for no page, to cache examples, is no request.

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
        unit: Gives the unit of the experiment for a `gr.Request`; by default, and where it gives
            None or an empty text, the user who is logged in, otherwise the session of the page.
            Give `gradio_feedback` the same.
        shown: Remembers the predictions of each page for `gradio_feedback`, which is given the same
            object.

    Returns:
        The wrapped function; without `shown` it is for `outputs=[…, gr.State()]`.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    event = EventFunction(fn, gradio())

    def begin(given: tuple[Any, ...], named: Mapping[str, Any]) -> EventCall:
        page, inputs = (given[0], given[1:]) if shown is None else (_page(), given)
        request = Request(route=route or event.name)
        counts = page is not None or not _is_in_event()
        call = EventCall(logger, request, inputs, shown=shown, counts=counts)
        if not counts:
            return call
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

    return event.dress(logged(event, begin), takes_page=shown is None)


def gradio_feedback(
    logger: PredictionLogger,
    name: str = "thumbs",
    *,
    score: float | None = None,
    source: FeedbackSource = "user",
    unit: Callable[[Any], str | None] | None = None,
    shown: ShownPredictions | None = None,
    tenant: str | None = None,
) -> Callable[..., None]:
    """Make the function of a button, a slider or a chat's thumbs that logs feedback.

    Its inputs are the `gr.State` with the prediction's id (not with `shown`), then optionally the
    rating (a number is a score, a text is a label) and a comment. Later feedback replaces earlier
    feedback. If there is no prediction yet, nothing was chosen or written, or the rating is
    invalid, the user sees a warning and nothing is logged.

    With `shown` it rates the last prediction that the page was shown, and as
    `chatbot.like(…, chatbot, None)` the one that answered with the message: 1 for a like, 0 for a
    dislike, a label for any other option. The chatbot is the input that tells equal answers of
    several conversations apart; without it the user is told that they cannot be.

    Args:
        logger: The prediction log.
        name: Kind of feedback, such as `thumbs` or `stars`.
        score: Fixed score of a button, such as 1.0 for thumbs up; None to use the rating input.
        source: Who gives the feedback.
        unit: Gives the unit of an experiment for a `gr.Request`, as for `monitor_gradio`.
        shown: What the pages were shown, as for `monitor_gradio`.
        tenant: The tenant of the app, as for `monitor_gradio`; with `shown` that of the prediction.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    gr = gradio()

    rate = _Ratings(gr, logger, name, score=score, source=source, unit=unit, tenant=tenant).rate

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
            chat = rating if is_chat(rating) else None
            place, content = message["index"], message["value"]
            about = shown.message(session, place, content, chat) if shown else None
            if about is None:
                gr.Warning("Nothing was noted: it cannot be told which answer this is.")
            else:
                rate(page, about, float(answer) if isinstance(answer, bool) else answer, comment)

    # Gradio reads the annotations to decide what it passes
    feedback.__annotations__ = {"page": gr.Request}
    feedback_of_page.__annotations__ = {"page": gr.Request, "event": gr.EventData}
    feedback_of_page.__name__ = feedback.__name__  # of the event in the app's API
    return feedback if shown is None else feedback_of_page


class _Ratings:
    """Logs the ratings of a button or widget, and tells the user what became of them."""

    def __init__(
        self,
        gr: Any,
        logger: PredictionLogger,
        name: str,
        *,
        score: float | None,
        source: FeedbackSource,
        unit: Callable[[Any], str | None] | None,
        tenant: str | None,
    ) -> None:
        self._gr, self._logger, self._name = gr, logger, name
        self._score, self._source = score, source
        self._unit, self._tenant = unit, tenant

    def rate(self, page: Any, about: Shown | None, rating: Any, comment: str | None) -> None:
        if about is None:
            self._gr.Warning("There is nothing to rate yet.")
            return
        rating, comment = (None if _is_empty(each) else each for each in (rating, comment))
        if self._score is None and rating is None and comment is None:
            self._gr.Warning("Give a rating first.")
            return
        is_label = isinstance(rating, str)
        try:
            self._logger.log_feedback(
                about.request_id,
                self._name,
                score=self._score if self._score is not None or is_label else rating,
                label=rating if is_label else None,
                comment=comment,
                source=self._source,
                session_id=getattr(page, "session_hash", None),
                unit=about.unit or self._rater(page),
                tenant=about.tenant or self._tenant,
            )
        except (DataError, TypeError) as error:
            self._gr.Warning(str(error))
            return
        self._gr.Info("Thank you.")

    def _rater(self, page: Any) -> str | None:
        try:
            return unit_of(page, self._unit)
        except Exception:  # noqa: BLE001 - a rating is worth more than its unit
            self._logger.count_failure()
            return None


def gradio() -> Any:
    """Gradio itself.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise MissingExtraError.for_feature("Watching a Gradio app", extra="gradio") from error
    return gradio


def _page() -> Any:
    """The `gr.Request` of the event that Gradio runs now; None outside of one."""
    with suppress(ImportError, AttributeError, LookupError):
        from gradio.context import LocalContext

        return LocalContext.request.get()
    return None


def _is_in_event() -> bool:
    """Whether Gradio runs the function as an event; without a page it then fills a cache."""
    with suppress(ImportError, AttributeError):
        from gradio.context import LocalContext

        return bool(LocalContext.in_event_listener.get(False))
    return False


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
