"""The prediction log in a Streamlit app: one session for each browser tab.

Streamlit runs the whole script again at every interaction, so every function here may be called
again: a page view is logged once, a rating is logged when it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import MissingExtraError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.serving.adapters.summarise import outline

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.log.assignment import Experiment
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger
    from flytekitplugins.wbmon.serving.log.request import Request

_STATE = "wbmon_session"
# with these Streamlit ends a script; by name, since they are no public classes
_ENDED = ("StopException", "RerunException")


def streamlit_session(
    logger: PredictionLogger, *, tenant: str | None = None, user: str | None = None
) -> StreamlitSession:
    """The session of the browser tab that the script runs for.

    Args:
        logger: The prediction log; one for each process, so make it in a function decorated with
            `st.cache_resource`.
        tenant: The tenant of the session.
        user: The user who is logged in, such as `st.user.get("email")`; only a keyed hash is
            written.

    Raises:
        MissingExtraError: If Streamlit is not installed.
    """
    try:
        import streamlit
    except ImportError as error:
        raise MissingExtraError.for_feature("streamlit_session", extra="streamlit") from error
    state: MutableMapping[str, Any] = streamlit.session_state.setdefault(_STATE, {})
    return StreamlitSession(logger, state, tenant=tenant, user=user)


class StreamlitSession:
    """Logs the page views, predictions, ratings and variants of one session.

    Args:
        logger: The prediction log.
        state: State of the session, kept between runs of the script.
        tenant: The tenant of the session.
        user: The user who is logged in.
    """

    def __init__(
        self,
        logger: PredictionLogger,
        state: MutableMapping[str, Any],
        *,
        tenant: str | None = None,
        user: str | None = None,
    ) -> None:
        self._logger, self._state = logger, state
        self._tenant, self._user = tenant, user
        self.id: str = state.setdefault("id", new_request_id())

    @property
    def last_request_id(self) -> str | None:
        """The id of the last prediction; None before the first."""
        return self._state.get("last_request_id")

    def page(self, name: str) -> None:
        """Log that a page was opened; calls for the same page again do nothing.

        Args:
            name: Name of the page.
        """
        if self._state.get("page") != name:
            self._state["page"] = name
            self._event("page_view", name)

    def interaction(self, name: str) -> None:
        """Log an interaction; call it where the widget reports one (`if st.button(…):`).

        Args:
            name: Name of the widget.
        """
        self._event("interaction", name)

    @contextmanager
    def request(self, route: str, **inputs: Any) -> Iterator[Request]:
        """Log the block as one prediction of this session; an exception is a failure.

        A script that Streamlit ends within the block, since the user did something else or the app
        called `st.stop` or `st.rerun`, is not: it counts as a caller who left.

        Args:
            route: Name of the function or model.
            inputs: Inputs by name; images and arrays are logged as their shape.
        """
        columns = {"tenant": self._tenant, "user": self._user, "session_id": self.id}
        with self._logger.request(route, **columns) as request:
            self._state["last_request_id"] = request.request_id
            # a rating may come after the user has logged in, and is of what was shown before
            self._state.setdefault("units", {})[request.request_id] = self._unit, self._tenant
            # a row has one variant: with several experiments, the one assigned last
            for name in self._state.get("experiments", ()):
                request.set(variant=self._state["experiments"][name])
            if inputs:
                request.set(input_text=outline(inputs))
            try:
                yield request
            except BaseException as error:
                if type(error).__name__ in _ENDED:
                    request.abandon()
                raise

    def variant(self, experiment: Experiment) -> str:
        """The variant of this session, which is also logged with its further predictions.

        Args:
            experiment: The experiment; its unit is the user who is logged in, or else the session.
        """
        variant = self._logger.assign(
            experiment, self._unit, session_id=self.id, tenant=self._tenant
        )
        self._state.setdefault("experiments", {})[experiment.name] = variant
        return variant

    def feedback(
        self,
        name: str = "thumbs",
        *,
        score: float | None = None,
        label: str | None = None,
        comment: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Log the feedback of a widget, if there is any and it has changed.

        A widget keeps its value when there is a new prediction. So without `request_id` a value
        counts only if it is another than when the script ran last. Where a user may say the same
        again, give each prediction a widget of its own: a `key` with the prediction's id in it, and
        that id as `request_id`. In a form, give `request_id` too.

        Args:
            name: Kind of feedback, such as `thumbs` or `stars`.
            score: A number, such as the value of `st.feedback`; None before the widget is used.
                Streamlit counts stars and faces from 0 to 4: `AnalyzeFeedback` reads them by
                `scales={"stars": RatingScale(low=0, high=4, good_from=3)}`.
            label: A short text.
            comment: Free text; redacted.
            request_id: The prediction's id; that of the last prediction by default.
        """
        subject = request_id or self.last_request_id
        given = (score, label, comment)
        if request_id is None and not self._has_changed(name, given):
            return
        known = self._state.setdefault("feedback", {})
        if subject is None or not any(part is not None for part in given):
            return
        # a widget keeps its value, and the script runs again with it at every interaction
        if known.get((subject, name)) == given:
            return
        known[subject, name] = given
        units = self._state.get("units", {})
        unit, tenant = units.get(subject, (self._unit, self._tenant))
        self._logger.log_feedback(
            subject,
            name,
            score=score,
            label=label,
            comment=comment,
            session_id=self.id,
            unit=unit,
            tenant=tenant,
        )

    def _has_changed(self, name: str, given: tuple[Any, ...]) -> bool:
        """Whether a widget says something else than when the script ran last."""
        seen = self._state.setdefault("seen", {})
        before, seen[name] = seen.get(name), given
        return bool(before != given)

    @property
    def _unit(self) -> str:
        """The unit of experiments: the user who is logged in, or else the session."""
        return self._user or self.id

    def _event(self, name: str, label: str) -> None:
        self._logger.log_event(
            name, session_id=self.id, label=label, unit=self._unit, tenant=self._tenant
        )
