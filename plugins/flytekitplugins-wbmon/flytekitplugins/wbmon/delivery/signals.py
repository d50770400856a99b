"""The worker's side of its standard input: one JSON object a line from the task's process.

    {"key": "…", "timeout_s": 30, …}    who delivers; at once
    {"folder": "…"}                     what, as soon as it is there
    {"timeout_s": 12.5}                 the task is done, and so much time is left

The end of the input means that the task's process is gone; what it left is delivered all the same.
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
    """What the task's process has sent so far.

    Args:
        source: The lines; the first is read at once.

    Attributes:
        key: The W&B key.
        settings: What else the first line says.
    """

    def __init__(self, source: Iterable[str]) -> None:
        self._lines: Iterator[dict[str, Any]] = (json.loads(line) for line in source)
        self.settings = next(self._lines)
        self.key = ApiKey(self.settings.pop("key"))
        self._until = float("inf")
        self._done = threading.Event()

    def wait_for_folder(self) -> Path | None:
        """What is to be delivered; None if the task's process went before it said so.

        From then on the end of the task is noted in a thread.
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

    def wait_until_done(self, seconds: float) -> bool:
        """Wait for the end of the task, at most so long; whether it is there."""
        return self._done.wait(seconds)

    def until(self) -> float:
        """When to give up, by `time.monotonic()`."""
        return self._until

    def _listen(self) -> None:
        timeout_s = self.settings["timeout_s"]
        for line in self._lines:
            if "timeout_s" in line:
                timeout_s = line["timeout_s"]
                break
        self._until = time.monotonic() + timeout_s
        self._done.set()
