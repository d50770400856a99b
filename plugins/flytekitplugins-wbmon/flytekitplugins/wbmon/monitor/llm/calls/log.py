"""The LLM call log on disk: a row is written as soon as its call has ended.

It has the format of the prediction log, so both have the same readers. Rows that are written
survive the death of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from threading import RLock
from time import time
from typing import Any, cast

from flytekitplugins.wbmon.errors import ConfigError, error_type
from flytekitplugins.wbmon.monitor.llm.calls.row import Row
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit_row, utc
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    CONTENT_FIELDS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
)
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor, redact_value
from flytekitplugins.wbmon.storage.lifetime import follow_process, patiently
from flytekitplugins.wbmon.storage.segments.json_lines import to_line
from flytekitplugins.wbmon.storage.segments.layout import require_service, unique_instance
from flytekitplugins.wbmon.storage.segments.log import SegmentLog

logger = logging.getLogger(__name__)

PATTERNS = PatternRedactor()
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_AGE_S = 300.0
_TEXTS = {"input_text", "output_text", "error_text", "prediction", "cat_features"}
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

    Attributes:
        redactor: As given.
        n_rows: Rows that this process wrote.
        n_failed: Rows that it could not write.

    Raises:
        ConfigError: If the service cannot be a folder, or a number is not positive.
    """

    def __init__(
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
    ) -> None:
        require_service(service)
        for name, number in {"segment_bytes": segment_bytes, "segment_age": segment_age}.items():
            if not number > 0:
                raise ConfigError(f"{name} must be positive, got {number}")
        self.destination = str(destination)
        self.service = service
        self.redactor = redactor
        self._instance, self._spool, self._filesystem = instance, spool, filesystem
        self._segment_bytes, self._segment_age = segment_bytes, segment_age
        self._warned: set[str] = set()
        self._segments: SegmentLog | None = None
        self.begin_anew()
        follow_process(self)

    def log_call(self, row: Row) -> None:
        """Append a row; never raises. What does not fit its column is left out."""
        try:
            line = to_line(self._fitted(row) | {"service": self.service})
            with self._lock:
                self._begun().append(line, time())
                self.n_rows += 1
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            with self._lock:
                self.n_failed += 1
            # the class only: a message may hold what a call said
            self._warn("lost", f"an LLM call could not be logged ({type(error).__name__})")

    def close(self, timeout: float = 60.0) -> None:
        """Make the last segment whole, and send what is to be sent; a later call begins another.

        Args:
            timeout: Seconds; what is not sent by then stays in the spool for the next process.
        """
        with patiently(self._lock):
            segments, self._segments = self._segments, None
            if segments is None:
                return
            try:
                segments.seal()
            except OSError as error:
                self._warn("open", f"a segment of calls stays open ({type(error).__name__})")
        segments.finish_sending(timeout)

    def begin_anew(self) -> None:
        """Leave the parent's segment to it; for a forked child."""
        if self._segments is not None:
            self._segments.abandon()
        self._segments = None
        self._lock = RLock()
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
        return self._segments

    def _fitted(self, row: Mapping[str, Any]) -> Row:
        """A row as the contract has it; one of another kind, such as a step, as it is."""
        if row.get("kind", "prediction") != "prediction":
            return dict(row)
        if not row.keys() <= _FIELDS.keys():
            unknown = sorted(str(name) for name in row.keys() - _FIELDS.keys())
            self._warn("columns", f"a call has no columns {', '.join(unknown)}; they are left out")
        fitted = fit_row(_FIELDS, self._redacted(row))
        if "timestamp" not in fitted:
            fitted["timestamp"] = utc(datetime.now(timezone.utc))
        return fitted | {"kind": "prediction", "schema_version": SCHEMA_VERSION}

    def _redacted(self, row: Mapping[str, Any]) -> Row:
        """A copy of a row with its texts redacted."""
        if self.redactor is None:
            return dict(row)
        clean = {name: self._clean(name, row[name]) for name in _TEXTS & row.keys()}
        n = sum(found for _, found in clean.values())
        counted = {"redactions": n + int(row.get("redactions") or 0)} if clean else {}
        return {**row, **{name: text for name, (text, _) in clean.items()}, **counted}

    def _clean(self, name: str, value: Any) -> tuple[Any, int]:
        try:
            # with its name, because a value under a secret's name is hidden whatever it is
            found = redact_value(cast("Redactor", self.redactor), {name: value})
        except Exception as error:  # noqa: BLE001 - a redactor is anybody's code
            self._warn("texts", f"texts that cannot be redacted are left out ({error_type(error)})")
            return None, 0
        return found.value[name], found.n

    def _warn(self, matter: str, words: str) -> None:
        """Log a warning once for each kind of problem, so that failures do not flood the log."""
        if matter not in self._warned:
            self._warned.add(matter)
            logger.warning("%s", words)
