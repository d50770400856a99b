"""Stores the alert memory of a monitor: one small JSON file that several runs may read and change.

The page of the last windows is stored beside it, as `….html` for `….json`.

A change is a function that returns the new memory, given the current one. Its result is written
only if no other writer has changed the file since it was read. Otherwise the file is read again and
the function is called with the newer memory.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.monitor.alerts.history_page import history_page
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

# with the waits below about ten seconds in total
_ATTEMPTS = 40
_LONGEST_WAIT_S = 0.5


class MemoryFile:
    """The state file of a monitor.

    Args:
        uri: Path of the file, or a URL of any protocol that fsspec knows.
        filesystem: The file system of the file; None to open one from the URL.

    Attributes:
        finding: What was wrong with the file that an update has read; empty if nothing was.
    """

    def __init__(self, uri: str, filesystem: AbstractFileSystem | None = None) -> None:
        self.uri = uri
        self.finding = ""
        self.filesystem, _ = open_filesystem(uri, filesystem=filesystem)

    def read(self) -> AlertMemory:
        """Read the memory; an empty one if there is no file.

        Raises:
            DataError: If the file does not contain an alert memory that this release can read.
        """
        data, _ = read_file(self.filesystem, self.uri)
        _require_known_version(data or b"", self.uri)
        return AlertMemory() if data is None else _parsed(data, self.uri)

    def update(self, change: Callable[[AlertMemory], AlertMemory]) -> AlertMemory:
        """Change the memory, with the guarantee of `storage.compare_and_swap` about other writers.

        A file that cannot be parsed is copied to another name, and the memory starts empty. One
        that a newer release has written is left as it is.

        Args:
            change: Returns the new memory, given the current one. It is called again if another
                writer was faster, so it must have no lasting side effects.

        Returns:
            The memory that was written.

        Raises:
            DataError: If a newer release has written the file.
            PublishError: If other writers were faster in every attempt.
        """
        self.finding = ""
        for attempt in range(_ATTEMPTS):
            data, version = read_file(self.filesystem, self.uri)
            _require_known_version(data or b"", self.uri)
            try:
                memory = AlertMemory() if data is None else _parsed(data, self.uri)
            except DataError as error:
                self.finding = self._put_aside(data or b"", version, error)
                memory = AlertMemory()
            after = dataclasses.replace(change(memory), revision=memory.revision + 1)
            if replace_file(self.filesystem, self.uri, _written(after), version):
                return after
            # random, so that writers which collided do not collide again
            # S311: no secret depends on it
            time.sleep(random.uniform(0, min(0.01 * 2**attempt, _LONGEST_WAIT_S)))  # noqa: S311
        raise PublishError(
            f"the alert memory {self.uri} must be free for a moment, but other writers came first "
            f"{_ATTEMPTS} times; give each monitor a state_uri of its own"
        )

    def write_index(self, nights: Sequence[WindowSummary]) -> None:
        """Write the page of the windows; an error is only logged.

        Args:
            nights: Summaries of the last windows; if there are none, nothing is written.
        """
        if not nights:
            return
        uri = index_uri(self.uri)
        try:
            # replaced without a comparison: every later window writes the whole page again
            now = datetime.now(timezone.utc)
            html = history_page(PurePosixPath(uri).stem, nights, now=now)
            self.filesystem.pipe_file(uri, html.encode())
        except Exception:  # a monitor must never break what it monitors
            logger.warning("the index page %s could not be written", uri, exc_info=True)

    def _put_aside(self, data: bytes, version: Version, error: DataError) -> str:
        # named by its content: further attempts write the same copy again, not more copies
        aside = f"{self.uri}.broken-{version.digest[:12]}"
        self.filesystem.pipe_file(aside, data)
        now = datetime.now(timezone.utc)
        logger.error("%s; it is kept as %s and the memory starts afresh", error, aside)
        return (
            f"the alert memory could not be read at {now:%Y-%m-%d %H:%M} UTC and starts afresh, so "
            f"alerts that were firing are told again; the broken file is kept as {aside}"
        )


def index_uri(state_uri: str) -> str:
    """URL of the page for a state file: `….json` becomes `….html`."""
    return f"{state_uri.removesuffix('.json')}.html"


def _written(memory: AlertMemory) -> bytes:
    # one value per line, for people who have to read or repair it by hand
    return json.dumps(json.loads(record_to_json(memory)), indent=1).encode()


def _parsed(data: bytes, uri: str) -> AlertMemory:
    try:
        memory = record_from_json(AlertMemory, _upgraded(data))
    except (DataError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{uri} is not a readable alert memory: {error}") from error
    if memory.version != AlertMemory().version:
        raise DataError(f"{uri} is not a readable alert memory: version {memory.version}")
    return memory


def _require_known_version(data: bytes, uri: str) -> None:
    """Refuse the file of a newer release, which may have given the same fields another meaning."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return
    version = content.get("version") if isinstance(content, dict) else None
    known = AlertMemory().version
    if isinstance(version, int) and version > known:
        raise DataError(
            f"{uri} must have version 1 or {known}, got {version}, of a newer release: it is left "
            "as it is; use that release here too, or give this monitor a state_uri of its own"
        )


def _upgraded(data: bytes) -> bytes:
    """Convert version 1 (releases up to 0.2) to version 2, which only renames fields."""
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("version") != 1:
        return data
    for name, earlier in (("notified", "told"), ("history", "nights")):
        if earlier in content:
            content[name] = content.pop(earlier)
    state = content.get("state", {})
    for rule in (*state.get("rules", {}).values(), *state.get("before", {}).values()):
        if "is_told" in rule:
            rule["is_notified"] = rule.pop("is_told")
    return json.dumps({**content, "version": 2}).encode()
