"""What the prediction log holds beside predictions: ratings, labels, events, and experiments."""

from __future__ import annotations

import logging
import sys
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.snapshot import snapshot
from flytekitplugins.wbmon.serving.log.assignment import Experiment, Exposures, unit_hash
from flytekitplugins.wbmon.serving.log.feedback import (
    FeedbackSource,
    exposure_row,
    feedback_id_of,
    feedback_row,
)
from flytekitplugins.wbmon.serving.log.process import ProcessLog
from flytekitplugins.wbmon.serving.log.request import current_request
from flytekitplugins.wbmon.storage.segments.json_lines import text_of, text_or_none
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)


class FeedbackLog:
    """The part of a prediction log that takes feedback and assigns variants.

    Args:
        process: The log of this process.
        user_key: Key of the HMAC that is written in place of a unit.
    """

    def __init__(self, process: ProcessLog, user_key: bytes | None) -> None:
        self._process, self._user_key = process, user_key
        self._exposures = Exposures()
        self._warned: set[str] = set()

    def log_feedback(  # noqa: PLR0913 - one keyword a column
        self,
        request_id: str | None,
        name: str,
        *,
        score: float | None = None,
        label: Any = None,
        comment: str | None = None,
        source: FeedbackSource = "user",
        session_id: str | None = None,
        unit: str | None = None,
        tenant: str | None = None,
        feedback_id: str | None = None,
    ) -> str:
        """Log a rating of a prediction, or its true label.

        Args:
            request_id: The prediction's id; None for feedback on a session or a unit.
            name: Kind of feedback, such as `thumbs`, `stars` or `label`.
            score: A finite number.
            label: The true class or value, as `prediction` takes it; at most 200 characters long.
            comment: Free text; redacted.
            source: `user`, `annotator`, `llm_judge` or `code`.
            session_id: The session.
            unit: Who is in an experiment, as `assign` was given; by default the session, also for
                an empty text. Only a keyed hash is written.
            tenant: The tenant, as `assign` was given.
            feedback_id: Feedback with the same id replaces earlier feedback; by default one id for
                each combination of prediction (or tenant, session and unit), source and name.

        Returns:
            The feedback's id.

        Raises:
            DataError: If the name is empty, the score no finite number, the label a text that is
                too long, the source unknown, or there is no request, session or unit. With any
                other label that cannot be one, the feedback is counted as lost.
        """
        self._process.begin()
        request_id, session_id = _given(request_id), _given(session_id)
        tenant, feedback_id = _given(tenant), _given(feedback_id)
        name, unit = text_of(name), _given(unit)
        unit = None if unit == session_id else unit
        who = unit or session_id
        # of two users of one session, neither replaces what the other said
        people = [self._hashed(each, tenant) for each in (session_id, unit) if each]
        subject = request_id or ":".join(people)
        feedback_id = feedback_id or feedback_id_of(subject, source, name)
        try:
            row = feedback_row(
                request_id=request_id,
                session_id=session_id,
                unit=who and self._hashed(who),
                tenant=tenant,
                feedback_id=feedback_id,
                source=source,
                name=name,
                score=score,
                label=label,
                comment=snapshot(comment),
            )
        except DataError:
            raise
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._process.buffer.lose_feedback()
            self.count_failure()
        else:
            self._process.buffer.add_feedback(row)
        return feedback_id

    def log_event(
        self,
        name: str,
        *,
        session_id: str,
        label: str | None = None,
        unit: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Log an event of a session, such as an opened page or a pressed button.

        Args:
            name: Kind of event, such as `page_view` or `interaction`.
            session_id: The session.
            label: The page or button.
            unit: Who is in an experiment; by default the session.
            tenant: The tenant.
        """
        self.log_feedback(
            None,
            name,
            label=label,
            source="code",
            session_id=session_id,
            unit=unit,
            tenant=tenant,
            # an id of its own, so that a repeated event does not replace the one before
            feedback_id=new_request_id(),
        )

    def assign(
        self,
        experiment: Experiment,
        unit: str,
        *,
        session_id: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """The variant of a unit; its first exposure in this process is logged.

        Args:
            experiment: The experiment.
            unit: A session or user id that stays the same for the whole experiment; only a keyed
                hash is written. What is no text counts as its text, so 17 is `"17"`.
            session_id: The session in which the unit is seen; by default that of the request.
            tenant: The tenant of the unit: users of one name in two tenants are two units. Their
                variant is the same, as it depends on the experiment and the unit only.

        Raises:
            DataError: If the unit is None or empty.
        """
        # a text as it is, also one that is not well formed: its variant must not change
        unit = unit if type(unit) is str else text_or_none(unit) or ""
        if not unit:
            raise DataError(
                f"the unit of experiment {experiment.name!r} must be a user or session id, got "
                "none; give the session of who is not logged in"
            )
        tenant = _given(tenant)
        variant = experiment.variant(unit)
        request = current_request()
        if request is not None:
            request.set(variant=variant)
            session_id = session_id or request.session_id
        if self._exposures.is_first(experiment.name, unit, tenant):
            row = exposure_row(
                experiment.name,
                self._hashed(unit),
                variant,
                tenant=tenant,
                session_id=session_id,
                subject=self._hashed(unit, tenant),
            )
            self._process.begin()
            self._process.buffer.add_feedback(row)
        return variant

    def count_failure(self) -> None:
        """Count an error inside monitoring that the caller does not see; the first one is logged.

        Must be called while the exception is handled.
        """
        self._process.buffer.count_failure()
        self.warn_once("failed", f"an error of its own ({sys.exc_info()[0]}); serving goes on")

    def warn_once(self, matter: str, words: str) -> None:
        """Log a warning, once for each matter."""
        if matter not in self._warned:
            self._warned.add(matter)
            warn(logger, "prediction log: %s", words)

    def _hashed(self, unit: str, tenant: str | None = None) -> str:
        """What is written of a unit; with its tenant, as part of an id."""
        return unit_hash(unit if tenant is None else f"{tenant}\0{unit}", self._user_key)


def _given(value: Any) -> str | None:
    """The text of what was given; None of nothing, and of an empty text."""
    return text_or_none(value) or None
