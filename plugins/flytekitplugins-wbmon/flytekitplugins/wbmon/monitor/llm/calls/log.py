"""The LLM call log on disk: a row is written as soon as its call has ended.

It has the format of the prediction log, so both have the same readers. Rows that are written
survive the death of the process.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from threading import RLock
from time import time
from typing import Any

from flytekitplugins.wbmon.arguments import real_number
from flytekitplugins.wbmon.errors import error_type
from flytekitplugins.wbmon.monitor.llm.calls.row import Row
from flytekitplugins.wbmon.monitor.prediction_log.content import content_of
from flytekitplugins.wbmon.monitor.prediction_log.fit import utc
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    CONTENT_FIELDS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
)
from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.monitor.prediction_log.soundness import unsound
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor, require_redactor
from flytekitplugins.wbmon.storage.guard import require_known
from flytekitplugins.wbmon.storage.lifetime import close_with_child, follow_process, patiently
from flytekitplugins.wbmon.storage.segments.json_lines import to_line
from flytekitplugins.wbmon.storage.segments.layout import (
    require_instance,
    require_service,
    unique_instance,
)
from flytekitplugins.wbmon.storage.segments.log import SegmentLog
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)

PATTERNS = PatternRedactor()
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_AGE_S = 300.0
_SPAN = "span"  # the kind of a row that is a step and no call
_FEATURES = ("features", "cat_features")
# of a text; a prompt with all that was retrieved for it is shorter
_MAX_TEXT = 1 << 20
_FIELDS = {"kind": "string", **PREDICTION_COLUMNS, **CALL_COLUMNS, **CONTENT_FIELDS}


class CallLog:
    """Writes the calls of one service.

    Args:
        destination: Folder or fsspec URL of the log. A URL gets each segment when it is whole;
            until then it is in `spool`.
        service: The service that calls.
        segment_bytes: Size at which a segment is whole; it also is at midnight UTC and at the end.
        segment_age: Age in seconds at which it is.
        instance: Which copy of the service this is; the host's name by default.
        spool: Folder for segments on their way to a URL, for this log only; by default one below
            the folder for temporary files. What a killed process leaves there, the next one sends.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
        redactor: Hides personal data and keys in every text of a row, as in the prediction log;
            None keeps texts as they are. A text on which it raises is left out, the row stays.
        user_key: That of the prediction log, so that a session or tenant whose name must be hidden
            has one hash in both.

    Attributes:
        redactor: As given.
        n_rows: Rows that this process wrote.
        n_failed: Rows that it could not write.

    Raises:
        ConfigError: If the service cannot be a folder, the destination is a URL of a scheme that
            fsspec does not know, a number is not positive, or the redactor is none.
    """

    def __init__(  # noqa: PLR0913 - one keyword a matter
        self,
        destination: str | Path,
        service: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age: float = SEGMENT_AGE_S,
        instance: str = "",
        spool: str | None = None,
        filesystem: Any = None,
        redactor: Redactor | None = PATTERNS,
        user_key: bytes | str | None = None,
    ) -> None:
        require_service(service)
        require_instance(instance)
        real_number("segment_bytes", segment_bytes, above=0)
        real_number("segment_age", segment_age, above=0)
        require_redactor(redactor)
        if filesystem is None:
            require_known(str(destination))
        self.destination = str(destination)
        self.service = service
        self.redactor = redactor
        self._screen = Screen(
            redactor,
            user_key=user_key.encode() if isinstance(user_key, str) else user_key,
            max_text=_MAX_TEXT,
            note=self._note_unredacted,
        )
        self._instance, self._spool, self._filesystem = instance, spool, filesystem
        self._segment_bytes, self._segment_age = segment_bytes, segment_age
        self._warned: set[str] = set()
        self._segments: SegmentLog | None = None
        self._sending: SegmentLog | None = None
        self.begin_anew()
        follow_process(self)

    def log_call(self, row: Row) -> None:
        """Append a row; never raises. What does not fit its column is left out."""
        try:
            line = to_line(self._fitted(row) | {"service": self.service})
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._lose(error)
            return
        with self._lock:
            self._waiting.append(line)
            # a stream that the garbage collector ends is logged in the midst of another call
            if not self._is_writing:
                self._write_waiting()

    def close(self, timeout: float = 60.0) -> None:
        """Make the last segment whole, and send what is to be sent; a later call begins another.

        Args:
            timeout: Seconds; what is not sent by then stays in the spool for the next process.
        """
        with patiently(self._lock):
            # kept, for a call that a signal makes while this one sends
            self._sending, self._segments = self._segments or self._sending, None
            if self._sending is None:
                return
            try:
                self._sending.seal()
            except OSError as error:
                self._warn("open", f"a segment of calls stays open ({type(error).__name__})")
        self._sending.finish_sending(timeout)

    def begin_anew(self) -> None:
        """Leave the parent's segment to it; for a forked child."""
        if self._segments is not None:
            self._segments.abandon()
        self._segments = self._sending = None
        self._lock = RLock()
        self._waiting: deque[bytes] = deque()
        self._is_writing = False
        self.n_rows = self.n_failed = 0

    def __enter__(self) -> CallLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self) -> SegmentLog:
        if self._segments is None:
            self._segments = SegmentLog(
                self.destination,
                self.service,
                unique_instance(self._instance),
                max_bytes=self._segment_bytes,
                max_age_s=self._segment_age,
                spool=self._spool,
                filesystem=self._filesystem,
            )
            self._segments.send()
            close_with_child()
        return self._segments

    def _write_waiting(self) -> None:
        self._is_writing = True
        try:
            while self._waiting:
                self._begun().append(self._waiting.popleft(), time())
                self.n_rows += 1
        except Exception as error:  # noqa: BLE001 - as `log_call`
            self._lose(error)
        finally:
            self._is_writing = False

    def _lose(self, error: BaseException) -> None:
        with self._lock:
            self.n_failed += 1
        # the class only: a message may hold what a call said
        self._warn("lost", f"an LLM call could not be logged ({error_type(error)})")

    def _fitted(self, row: Mapping[str, Any]) -> Row:
        """A row as the contract has it; that of a step as it is."""
        if row.get("kind") == _SPAN:
            return dict(row)
        if not row.keys() <= _FIELDS.keys():
            unknown = sorted(str(name) for name in row.keys() - _FIELDS.keys())
            self._warn("columns", f"a call has no columns {', '.join(unknown)}; they are left out")
        given = {name: value for name, value in row.items() if name not in _FEATURES}
        content = content_of(self._screen, _FIELDS, given, _features(row))
        if unsound("prediction", content):
            # a weight that cannot be, for which no reader would count the call
            del content["sample_weight"]
        fitted = self._screen.row("prediction", content)
        if "timestamp" not in fitted:
            fitted["timestamp"] = utc(datetime.now(timezone.utc))
        return fitted | {"kind": "prediction", "schema_version": SCHEMA_VERSION}

    def _note_unredacted(self, error: BaseException) -> None:
        self._warn("texts", f"texts that cannot be redacted are left out ({error_type(error)})")

    def _warn(self, matter: str, words: str) -> None:
        """Log a warning once for each kind of problem, so that failures do not flood the log."""
        if matter not in self._warned:
            self._warned.add(matter)
            warn(logger, "%s", words)


def _features(row: Mapping[str, Any]) -> dict[Any, Any]:
    """The features of a row, which may have come apart into numbers and texts before."""
    found = (row.get(column) for column in _FEATURES)
    return {
        name: value for each in found if isinstance(each, Mapping) for name, value in each.items()
    }
