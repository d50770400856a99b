"""What a worker reads from its standard input: one JSON object per line, from the task's process.

    {"key": "…", "timeout_s": 30, …}    key and settings; sent at once
    {"folder": "…"}                     the folder to deliver; sent as soon as it exists
    {"timeout_s": 12.5, …}              the task is done, and this much time is left; and what else
                                        the task tells of its end

The end of the input means that the task's process is gone; the worker still delivers its folder.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey


class ParentSignals:
    """The messages that the task's process has sent so far.

    Args:
        source: The lines; the first is read at once.

    Attributes:
        key: The W&B key.
        settings: Content of the first line, without the key.
    """

    def __init__(self, source: Iterable[str]) -> None:
        self._lines: Iterator[dict[str, Any]] = (json.loads(line) for line in source)
        self.settings = next(self._lines)
        self.key = ApiKey(self.settings.pop("key"))
        # no limit while the task runs
        self._until = float("inf")
        self._done = threading.Event()
        self._is_orphaned = False
        self._told: dict[str, Any] = {}

    def wait_for_folder(self) -> Path | None:
        """Wait for the folder to deliver, then start a thread that waits for the end of the task.

        Returns:
            None if the task's process ended before it sent a folder.
        """
        line = next(self._lines, None)
        if line is None:
            return None
        threading.Thread(target=self._listen, daemon=True).start()
        return Path(line["folder"])

    @property
    def is_done(self) -> bool:
        """Whether the task is done, or its process gone."""
        return self._done.is_set()

    @property
    def is_orphaned(self) -> bool:
        """Whether the task's process is gone without a last word."""
        return self._is_orphaned

    def wait_until_done(self, seconds: float) -> bool:
        """Wait for the end of the task, at most `seconds`; whether the task has ended."""
        return self._done.wait(seconds)

    def wait_for_end(self, seconds: float) -> dict[str, Any]:
        """What the task told with its end, apart from the time that is left.

        Args:
            seconds: Time limit for the wait.

        Returns:
            Nothing if the task's process has died, or tells nothing in time.
        """
        self._done.wait(seconds)
        return self._told

    def until(self) -> float:
        """Time on the clock of `time.monotonic()` at which to give up; infinity during the task."""
        return self._until

    def _listen(self) -> None:
        # the default holds if the input ends without a last message: the task's process was killed
        timeout_s = self.settings["timeout_s"]
        for line in self._lines:
            if "timeout_s" in line:
                timeout_s = line.pop("timeout_s")
                self._told = line
                break
        else:
            self._is_orphaned = True
        # before the event: whoever sees the end of the task must also see the limit
        self._until = time.monotonic() + timeout_s
        self._done.set()
