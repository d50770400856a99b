"""The prediction log in a Streamlit app: one session a browser tab, however often the script runs.

Streamlit runs the script again at every click, so everything here is safe to call again: a page is
opened once, a rating is written when it changes.
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


def streamlit_session(
    logger: PredictionLogger, *, tenant: str | None = None, user: str | None = None
) -> StreamlitSession:
    """The session of the browser tab that the script runs for.

    Args:
        logger: The prediction log; one for each process, so make it in a function under
            `st.cache_resource`.
        tenant: Whose session it is.
        user: Who is logged in; only a keyed hash is written.

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
    """A session: its pages, predictions, ratings and variants.

    Args:
        logger: The prediction log.
        state: What the session remembers from run to run of the script.
        tenant: Whose session it is.
        user: Who is logged in.
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
        """Note that a page was opened; once, until another one is.

        Args:
            name: The page.
        """
        if self._state.get("page") != name:
            self._state["page"] = name
            self._event("page_view", name)

    def interaction(self, name: str) -> None:
        """Note that something was pressed; call it where the widget says so.

        Args:
            name: What was pressed.
        """
        self._event("interaction", name)

    @contextmanager
    def request(self, route: str, **inputs: Any) -> Iterator[Request]:
        """Log what happens in the block as one prediction of this session.

        Args:
            route: What is asked for.
            inputs: What was asked, by name; images and arrays are written as their shape.
        """
        columns = {"tenant": self._tenant, "user": self._user, "session_id": self.id}
        with self._logger.request(route, **columns) as request:
            self._state["last_request_id"] = request.request_id
            for name in self._state.get("experiments", ()):
                request.set(variant=self._state["experiments"][name])
            if inputs:
                request.set(input_text=outline(inputs))
            yield request

    def variant(self, experiment: Experiment) -> str:
        """The variant that this session sees; also written beside its predictions from now on.

        Args:
            experiment: The experiment; its unit is the user who is logged in, else the session.
        """
        variant = self._logger.assign(experiment, self._user or self.id, tenant=self._tenant)
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
        """Note what a widget says of a prediction; nothing if it says nothing, or nothing new.

        Args:
            name: What is said: `thumbs`, `stars`.
            score: A number, such as `st.feedback` gives; None before it is used.
            label: A short text.
            comment: Free text; redacted.
            request_id: The prediction's id; the last one's by default.
        """
        subject = request_id or self.last_request_id
        said = (score, label, comment)
        known = self._state.setdefault("feedback", {})
        if subject is None or not any(part is not None for part in said):
            return
        if known.get((subject, name)) == said:
            return
        known[subject, name] = said
        self._logger.log_feedback(
            subject,
            name,
            score=score,
            label=label,
            comment=comment,
            session_id=self.id,
            tenant=self._tenant,
        )

    def _event(self, name: str, label: str) -> None:
        self._logger.log_event(name, session_id=self.id, label=label, tenant=self._tenant)
