"""A monitor's memory on disk: one small JSON file that many runs may read and change.

Beside it is the page of the last nights, `….html` for `….json`.

A change is a function from the memory to the next one. It is applied to what is read, and written
back only if nobody else wrote in between; otherwise it is applied anew to what they wrote.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

_ATTEMPTS = 40
_LONGEST_WAIT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedMemory:
    """What was written, and what was wrong with what was read; empty if nothing was."""

    memory: AlertMemory
    finding: str = ""


class MemoryFile:
    """The state file of a monitor.

    Args:
        uri: Where it is: a path, or any URL that fsspec knows.
        filesystem: How to reach it; by the URL's protocol if None.
    """

    def __init__(self, uri: str, filesystem: AbstractFileSystem | None = None) -> None:
        self.uri = uri
        self.filesystem, _ = open_filesystem(uri, filesystem=filesystem)

    def read(self) -> AlertMemory:
        """The memory; a new one if there is no file.

        Raises:
            DataError: If the file is not a memory's.
        """
        data, _ = read_file(self.filesystem, self.uri)
        return AlertMemory() if data is None else _parsed(data, self.uri)

    def update(self, change: Callable[[AlertMemory], AlertMemory]) -> UpdatedMemory:
        """Change the memory; safe beside other writers as far as `publish.compare_and_swap` says.

        A file that cannot be read is put aside under another name, and the memory starts afresh.

        Args:
            change: Called again if another writer came first, so it must do nothing else.

        Raises:
            PublishError: If others kept coming first.
        """
        finding = ""
        for attempt in range(_ATTEMPTS):
            data, version = read_file(self.filesystem, self.uri)
            try:
                memory = AlertMemory() if data is None else _parsed(data, self.uri)
            except DataError as error:
                finding = self._put_aside(data or b"", version, error)
                memory = AlertMemory()
            after = dataclasses.replace(change(memory), revision=memory.revision + 1)
            if replace_file(self.filesystem, self.uri, _written(after), version):
                return UpdatedMemory(memory=after, finding=finding)
            # S311: to spread writers out, not to keep a secret
            time.sleep(random.uniform(0, min(0.01 * 2**attempt, _LONGEST_WAIT_S)))  # noqa: S311
        raise PublishError(
            f"the alert memory {self.uri} must be free for a moment, but other writers came first "
            f"{_ATTEMPTS} times; give each monitor a state_uri of its own"
        )

    def write_index(self, nights: Sequence[WindowSummary]) -> None:
        """Write the page of the nights; one that cannot be written costs the monitor nothing."""
        if not nights:
            return
        uri = index_uri(self.uri)
        try:
            html = history_page(PurePosixPath(uri).stem, nights)
            self.filesystem.pipe_file(uri, html.encode())
        except Exception:  # a monitor must never break what it monitors
            logger.warning("the index page %s could not be written", uri, exc_info=True)

    def _put_aside(self, data: bytes, version: Version, error: DataError) -> str:
        aside = f"{self.uri}.broken-{version.digest[:12]}"
        self.filesystem.pipe_file(aside, data)
        now = datetime.now(timezone.utc)
        logger.error("%s; it is kept as %s and the memory starts afresh", error, aside)
        return (
            f"the alert memory could not be read at {now:%Y-%m-%d %H:%M} UTC and starts afresh, so "
            f"alerts that were firing are told again; the broken file is kept as {aside}"
        )


def index_uri(state_uri: str) -> str:
    """Where the page of a state file is: `….json` becomes `….html`."""
    return f"{state_uri.removesuffix('.json')}.html"


def _written(memory: AlertMemory) -> bytes:
    # a line each, for who has to look at it or mend it by hand
    return json.dumps(json.loads(record_to_json(memory)), indent=1).encode()


def _parsed(data: bytes, uri: str) -> AlertMemory:
    try:
        memory = record_from_json(AlertMemory, _upgraded(data))
    except (DataError, ValueError) as error:
        raise DataError(f"{uri} is not a readable alert memory: {error}") from error
    if memory.version != AlertMemory().version:
        raise DataError(
            f"{uri} must have version 1 or {AlertMemory().version}, got {memory.version}; use a "
            "newer package"
        )
    return memory


def _upgraded(data: bytes) -> bytes:
    """Version 1, of releases up to 0.2, as version 2, which has other names for the same."""
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
