"""From a spool to the Weave server: in order, each record once, nothing forgotten unconfirmed.

Standard library only. Calls go in batches of finished ones; objects, tables and files, which calls
refer to, go first. What the server refuses for good is put aside and said, and does not hold up
the rest.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from flytekitplugins.wbmon.run.prompt_alias import newest_digest
from flytekitplugins.wbmon.run.weave_spool import CONFIRMED, RECORDS, REJECTED, TARGET, Target

logger = logging.getLogger(__name__)

BATCH_CALLS = 200
_REQUEST_S = 10.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_HOPELESS = (401, 403, 404)
_PATHS = {
    "obj_create": "/obj/create",
    "table_create": "/table/create",
    "table_create_from_digests": "/table/create_from_digests",
    "file_create": "/file/create",
    "call_update": "/call/update",
    "feedback_create": "/feedback/create",
    "cost_create": "/cost/create",
    "obj_set_aliases": "/objs/{object_id}/aliases",
}
_FIRST = ("file_create", "obj_create", "table_create", "table_create_from_digests")


class DrainResult(NamedTuple):
    """What became of a spool.

    Attributes:
        n_sent: Records confirmed, now or before.
        n_left: Records that are still to be sent.
        n_rejected: Records that the server refuses for good.
        reason: Why something is left; empty otherwise.
    """

    n_sent: int
    n_left: int
    n_rejected: int = 0
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the server has everything that it will take."""
        return self.n_left == 0


class _OutageError(Exception):
    """The server does not take anything now; status 0 if it did not even answer."""

    def __init__(self, message: str, *, may_pass: bool, status: int = 0) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.status = status


class _RefusedError(Exception):
    """The server will never take this."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def drain_spool(
    folder: Path,
    *,
    api_key: str,
    deadline_s: float = 30.0,
    is_over: bool = True,
    trace_url: str = "",
) -> DrainResult:
    """Send what is not confirmed yet.

    Args:
        folder: Of the spool.
        api_key: Of W&B.
        deadline_s: Longest time; an outage is waited out as far as it allows.
        is_over: Whether the writer is gone: a call that it never ended is then ended for it.
        trace_url: Send there instead of to the spool's own target.
    """
    drain = SpoolDrain(folder, api_key=api_key, trace_url=trace_url)
    return drain.run(deadline_s=deadline_s, is_over=is_over)


class SpoolDrain:
    """Sends a spool in several rounds, while it is still written.

    Args:
        folder: Of the spool.
        api_key: Of W&B.
        trace_url: Send there instead of to the spool's own target.
    """

    def __init__(self, folder: Path, *, api_key: str, trace_url: str = "") -> None:
        target = read_target(folder)
        self._target = replace(target, trace_url=trace_url) if trace_url else target
        self._authorization = _basic(api_key)
        self._work = _Work(folder=folder)

    def run(self, *, deadline_s: float, is_over: bool = True) -> DrainResult:
        """Send what came since the last round and what is not confirmed yet.

        Args:
            deadline_s: Longest time.
            is_over: Whether the writer is gone.
        """
        self._work.refresh()
        ends_at = time.monotonic() + deadline_s
        line = _Line(target=self._target, authorization=self._authorization, ends_at=ends_at)
        for unit in self._work.units(is_over=is_over):
            reason = _settle(line, self._work, unit)
            if reason:
                return self._work.result(reason)
        return self._work.result("")


def count_confirmed(folder: Path) -> int:
    """How many records of a spool a server has."""
    return len({n for noted in _lines(folder / CONFIRMED) for n in noted["lines"]})


def read_target(folder: Path) -> Target:
    """Where a spool's records go."""
    return Target(**json.loads((folder / TARGET).read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class _Unit:
    """One request, and the lines it covers."""

    kind: str
    body: Any
    lines: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class _Work:
    """The records of a spool and what is known of them; settled ones are no longer held.

    Attributes:
        waiting: By line, in order.
        n_lines: Whole lines read so far.
        done: Lines that the server confirmed.
        rejected: Lines that the server refuses for good.
        offset: Bytes read so far.
    """

    folder: Path
    waiting: dict[int, dict[str, Any]] = field(default_factory=dict)
    n_lines: int = 0
    done: set[int] = field(init=False)
    rejected: set[int] = field(init=False)
    offset: int = 0

    def __post_init__(self) -> None:
        self.done = {n for noted in _lines(self.folder / CONFIRMED) for n in noted["lines"]}
        self.rejected = {n for noted in _lines(self.folder / REJECTED) for n in noted["lines"]}

    def refresh(self) -> None:
        """Read the lines that came since; a torn last one is left for later."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            if self.n_lines not in self.done and self.n_lines not in self.rejected:
                self.waiting[self.n_lines] = json.loads(line)
            self.n_lines += 1

    def units(self, *, is_over: bool) -> Iterator[_Unit]:
        """What is to be sent, in order."""
        waiting = list(self.waiting.items())
        for number, record in waiting:
            if record["type"] in _FIRST:
                yield _Unit(record["type"], record["req"], (number,))
        yield from self._call_batches(is_over=is_over)
        for number, record in waiting:
            if record["type"] in _PATHS and record["type"] not in _FIRST:
                yield _Unit(record["type"], record["req"], (number,))

    def confirm(self, unit: _Unit) -> None:
        """The server has it."""
        self.done.update(unit.lines)
        self._forget(unit.lines)
        _append(self.folder / CONFIRMED, {"lines": unit.lines})

    def reject(self, unit: _Unit, reason: str) -> None:
        """The server will never have it."""
        logger.warning("Weave refuses a %s for good: %s", unit.kind, reason)
        self.rejected.update(unit.lines)
        self._forget(unit.lines)
        _append(self.folder / REJECTED, {"lines": unit.lines, "reason": reason})

    def result(self, reason: str) -> DrainResult:
        """How far it came."""
        n_left = len(self.waiting)
        return DrainResult(len(self.done), n_left, len(self.rejected), reason if n_left else "")

    def split(self, unit: _Unit) -> list[_Unit]:
        """The calls of a batch, one by one."""
        lines: dict[str, list[int]] = {}
        for number in unit.lines:
            record = self.waiting[number]
            part = record["req"]["start" if record["type"] == "call_start" else "end"]
            lines.setdefault(part["id"], []).append(number)
        return [_Unit("calls", [call], tuple(lines[call["id"]])) for call in unit.body]

    def _forget(self, lines: Sequence[int]) -> None:
        for number in lines:
            self.waiting.pop(number, None)

    def _call_batches(self, *, is_over: bool) -> Iterator[_Unit]:
        batch: list[dict[str, Any]] = []
        lines: list[int] = []
        for call, numbers in list(self._calls(is_over=is_over)):
            batch.append(call)
            lines += numbers
            if len(batch) == BATCH_CALLS:
                yield _Unit("calls", batch, tuple(lines))
                batch, lines = [], []
        if batch:
            yield _Unit("calls", batch, tuple(lines))

    def _calls(self, *, is_over: bool) -> Iterator[tuple[dict[str, Any], list[int]]]:
        begun: dict[str, tuple[int, dict[str, Any]]] = {}
        last = ""
        for number, record in self.waiting.items():
            if record["type"] == "call_start":
                start = record["req"]["start"]
                begun[start["id"]] = (number, start)
                last = start["started_at"]
            elif record["type"] == "call_end":
                end = record["req"]["end"]
                last = end["ended_at"]
                first = begun.pop(end["id"], None)
                if first is not None:
                    yield _complete(first[1], end), [first[0], number]
        if is_over:
            for number, start in begun.values():
                yield _complete(start, _cut_off(last)), [number]


def _complete(start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    names = ("ended_at", "exception", "output", "summary", "wb_run_step_end")
    return {**start, **{name: end.get(name) for name in names}}


def _cut_off(at: str) -> dict[str, Any]:
    exception = {"type": "Interrupted", "message": "the process ended before the call did"}
    return {"ended_at": at, "exception": json.dumps(exception), "output": None, "summary": {}}


@dataclass(slots=True, kw_only=True)
class _Line:
    """The line to the server, as long as there is time."""

    target: Target
    authorization: str
    ends_at: float

    def send_patiently(self, unit: _Unit) -> None:
        """Send, and wait out an outage as far as time allows.

        Raises:
            _OutageError: If the server did not take it in time.
            _RefusedError: If it never will.
        """
        wait = _FIRST_WAIT_S
        while not self._is_sent(unit, may_wait=time.monotonic() + wait < self.ends_at):
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _is_sent(self, unit: _Unit, *, may_wait: bool) -> bool:
        try:
            self._send(unit)
        except _OutageError as error:
            if not (error.may_pass and may_wait):
                raise
            return False
        return True

    def _send(self, unit: _Unit) -> None:
        target = self.target
        if unit.kind == "calls":
            path = f"/v2/{target.entity}/{target.project}/calls/complete"
            self._post(path, json.dumps({"batch": unit.body}).encode())
        elif unit.kind == "file_create":
            self._post(_PATHS[unit.kind], *_multipart(unit.body))
        elif unit.kind == "obj_set_aliases":
            self._send_alias(unit.body)
        else:
            self._post(_PATHS[unit.kind], json.dumps(unit.body).encode())

    def _send_alias(self, body: dict[str, Any]) -> None:
        path = _PATHS["obj_set_aliases"].format(object_id=quote(body["object_id"], safe=""))
        told = {name: body[name] for name in ("project_id", "aliases")}
        told["digest"] = newest_digest(body)
        try:
            self._post(path, json.dumps(told).encode(), method="PUT")
        except (_OutageError, _RefusedError) as error:
            if error.status not in (404, 405):
                raise
            # a server from before there were aliases; the object beside the prompt tells the same
            logger.warning("this Weave server knows no aliases: %s", error)

    def _post(
        self, path: str, body: bytes, kind: str = "application/json", *, method: str = "POST"
    ) -> None:
        headers = {"Content-Type": kind, "Authorization": self.authorization}
        # S310: the URL is the user's own setting, always http(s)
        request = urllib.request.Request(  # noqa: S310
            f"{self.target.trace_url}{path}", data=body, headers=headers, method=method
        )
        left = max(0.1, min(_REQUEST_S, self.ends_at - time.monotonic()))
        try:
            with urllib.request.urlopen(request, timeout=left) as answer:  # noqa: S310
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(300).decode(errors="replace")
            _judge(error.code, f"{path} answered {error.code}: {text}")
        except (OSError, http.client.HTTPException) as error:
            raise _OutageError(f"{self.target.trace_url}: {error}", may_pass=True) from error


def _judge(status: int, message: str) -> None:
    if status in _HOPELESS:
        raise _OutageError(message, may_pass=False, status=status)
    if status in (408, 429) or status >= 500:  # noqa: PLR2004 - HTTP
        raise _OutageError(message, may_pass=True, status=status)
    raise _RefusedError(message, status=status)


def _settle(line: _Line, work: _Work, unit: _Unit) -> str:
    """Send a request and note what became of it; why to stop here, if so.

    Of a batch that is refused, each call is sent alone: one of them is the reason.
    """
    try:
        line.send_patiently(unit)
        work.confirm(unit)
    except _OutageError as error:
        return str(error)
    except _RefusedError as error:
        if unit.kind != "calls" or len(unit.body) == 1:
            work.reject(unit, str(error))
            return ""
        singles = (_settle(line, work, single) for single in work.split(unit))
        return next((reason for reason in singles if reason), "")
    return ""


def _multipart(body: dict[str, Any]) -> tuple[bytes, str]:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="project_id"\r\n\r\n'
    name = str(body["name"]).replace('"', "")
    file = (
        f'\r\n--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    content = base64.b64decode(body["data"])
    parts = (head.encode(), str(body["project_id"]).encode(), file.encode(), content)
    return b"".join(parts) + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _basic(api_key: str) -> str:
    return "Basic " + base64.b64encode(f"api:{api_key}".encode()).decode()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; a torn last one is left out."""
    with suppress(FileNotFoundError):
        text = path.read_bytes()
        for line in text[: text.rfind(b"\n") + 1].splitlines():
            yield json.loads(line)


def _append(path: Path, noted: dict[str, Any] | Sequence[Any]) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(noted).encode() + b"\n")
