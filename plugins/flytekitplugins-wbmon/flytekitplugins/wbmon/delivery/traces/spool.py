"""Write-ahead log of traces: each request that Weave would send, redacted, as a line on disk.

The folder of a spool holds the lines (`records.jsonl`), the server and project they go to
(`target.json`, without a key), the numbers of the lines that the server confirmed
(`confirmed.jsonl`) and of those that it rejected (`rejected.jsonl`). It does not depend on the
process that wrote it and can be moved.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.privacy.containers import redact_containers
from flytekitplugins.wbmon.storage.json_text import read_json
from flytekitplugins.wbmon.storage.room import append_whole

logger = logging.getLogger(__name__)

RECORDS = "records.jsonl"
TARGET = "target.json"
CONFIRMED = "confirmed.jsonl"
REJECTED = "rejected.jsonl"
RESULT = "result.json"

_LEVELS = 100  # messages of agents hold each other; JSON cannot hold itself
_WITHHELD = "[not recorded: it could not be redacted]"
# base64 of `# the source is not recorded`; a file must be there, because the op refers to it
_NO_CODE = "IyB0aGUgc291cmNlIGlzIG5vdCByZWNvcmRlZAo="
# for each kind: the key of the nested object, if any, and the fields in it that may hold user data
_TEXTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "call_start": ("start", ("inputs", "attributes", "display_name")),
    "call_end": ("end", ("output", "exception")),
    "feedback_create": ("", ("payload",)),
}

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Server, entity and project of the traces, and the state of the spool.

    Attributes:
        entity: W&B user or team.
        project: W&B project.
        trace_url: Base URL of the trace server.
        n_records: Number of lines of the finished spool; -1 while it is being written.
        begun_at: Start time of the spool, in seconds since 1970 (UTC).
    """

    entity: str
    project: str
    trace_url: str
    n_records: int = -1
    begun_at: float = 0.0


class Spool:
    """Writes a spool; threads may share it.

    Args:
        root: Folder in which the folder of this spool is created.
        target: Server, entity and project of the traces.
        redact: Applied to every text of inputs, outputs, attributes, exceptions and feedback. If it
            fails, the whole field is withheld.
        capture_code: Whether the source code of ops may be recorded.
    """

    def __init__(
        self, root: Path, target: Target, *, redact: Redact, capture_code: bool = False
    ) -> None:
        self.folder = root / f"weave-{uuid.uuid4().hex[:12]}"
        # inputs and outputs of tasks: for nobody else of the machine
        self.folder.mkdir(mode=0o700, parents=True)
        self.target = replace(target, begun_at=time.time())
        self.n_records = 0
        self.n_lost = 0
        self.why_lost = ""
        self._redact = redact
        self._capture_code = capture_code
        self._lock = threading.Lock()
        self._write_target(-1)
        # unbuffered: a killed process loses no line, and the worker reads each at once
        self._file = (self.folder / RECORDS).open("ab", buffering=0)

    def write(self, kind: str, req: Mapping[str, Any]) -> None:
        """Append a request; if the disk is full, this is logged and counted, and nothing raised."""
        # outside of the lock, as redaction is the slow part
        line = json.dumps({"type": kind, "req": self._clean(kind, req)}).encode() + b"\n"
        with self._lock:
            try:
                append_whole(self._file, line)
                self.n_records += 1
            except (OSError, ValueError) as error:
                self.n_lost += 1
                self.why_lost = str(error)
                if self.n_lost == 1:
                    logger.warning("a trace could not be written: %s", error)

    def close(self) -> None:
        """Close the spool and save the number of its lines; a second call does nothing."""
        with self._lock:
            if not self._file.closed:
                self._file.close()
                try:
                    self._write_target(self.n_records)
                except OSError as error:
                    # it stays as it was: that of a spool whose number of lines is not known
                    logger.warning("the end of the traces could not be written: %s", error)

    def _write_target(self, n_records: int) -> None:
        described = asdict(self.target) | {"n_records": n_records}
        path = self.folder / TARGET
        # a full disk must not leave half of it
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(described), encoding="utf-8")
        temporary.replace(path)

    def _clean(self, kind: str, req: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "file_create" and req.get("name") == "obj.py" and not self._capture_code:
            return {**req, "data": _NO_CODE}
        if kind not in _TEXTS:  # no user data
            return dict(req)
        place, names = _TEXTS[kind]
        body = dict(req[place] if place else req)
        for name in names:
            if name == "exception":
                body[name] = self._clean_exception(body.get(name))
            elif name in body:
                body[name] = self._redacted(body[name])
        return {place: body} if place else body

    def _clean_exception(self, exception: str | None) -> str | None:
        """Redact an exception, which Weave writes as JSON with the source line of every frame.

        The error of a replayed call is any text, which may read like JSON, such as a status.
        """
        if exception is None:
            return None
        try:
            told = read_json(exception)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            return str(self._redacted(exception))
        frames = told.get("traceback")
        for frame in frames if isinstance(frames, list) else ():
            if isinstance(frame, dict) and not self._capture_code:
                frame.pop("text", None)
        return json.dumps(self._redacted(told))

    def _count(self, text: str) -> tuple[str, int]:
        found = self._redact(text)
        return found, int(found != text)

    def _redacted(self, value: Any) -> Any:
        try:
            return redact_containers(value, self._count, levels=_LEVELS).value
        except Exception:  # noqa: BLE001 - whatever it raises: what is not clean is not kept
            return {"withheld": _WITHHELD} if isinstance(value, dict) else _WITHHELD
