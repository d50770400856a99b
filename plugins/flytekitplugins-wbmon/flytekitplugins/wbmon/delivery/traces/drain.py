"""Sends a spool to the Weave server: each record once, and again until the server confirms it.

Uses the standard library only. Calls are sent in batches, when they have ended; objects, tables and
files are sent first, because calls refer to them. Records that the server rejects for good are
noted and logged, and the rest is still sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flytekitplugins.wbmon.delivery.traces.api import (
    OutageError,
    RefusedError,
    TraceApi,
    basic_authorization,
)
from flytekitplugins.wbmon.delivery.traces.pending import Batch, DrainResult, PendingRecords
from flytekitplugins.wbmon.delivery.traces.spool import TARGET, Target
from flytekitplugins.wbmon.storage.json_text import read_json


def drain_spool(
    folder: Path,
    *,
    api_key: str,
    deadline_s: float = 30.0,
    is_over: bool = True,
    trace_url: str = "",
) -> DrainResult:
    """Send all records that are not confirmed yet.

    Args:
        folder: Folder of the spool.
        api_key: The W&B key.
        deadline_s: Time limit in seconds, retries during an outage included.
        is_over: Whether the writer is gone. Then calls without an end are sent as interrupted.
        trace_url: Trace server to send to; the spool's own target if empty.

    Returns:
        Counts of the records, and the reason if some are left.
    """
    drain = SpoolDrain(folder, api_key=api_key, trace_url=trace_url)
    return drain.run(deadline_s=deadline_s, is_over=is_over)


class SpoolDrain:
    """Sends a spool in several rounds, while it is still being written.

    Args:
        folder: Folder of the spool.
        api_key: The W&B key.
        trace_url: Trace server to send to; the spool's own target if empty.
        on_progress: Called each time after a confirmation or rejection was saved in the spool,
            before more is sent. An exception that it raises ends the round.
        until: Returns the time on the clock of `time.monotonic()` at which nothing more may be
            sent, whatever time a round is given.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_key: str,
        trace_url: str = "",
        on_progress: Callable[[], None] = lambda: None,
        until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        target = read_target(folder)
        self._target = replace(target, trace_url=trace_url) if trace_url else target
        self._authorization = basic_authorization(api_key)
        self._pending = PendingRecords(folder=folder)
        self._on_progress = on_progress
        self._until = until

    def run(self, *, deadline_s: float, is_over: bool = True) -> DrainResult:
        """Send all records that are not confirmed yet, new ones included.

        Args:
            deadline_s: Time limit in seconds.
            is_over: Whether the writer is gone. Then calls without an end are sent as interrupted.
        """
        self._pending.refresh()
        ends_at = time.monotonic() + deadline_s
        api = TraceApi(
            target=self._target,
            authorization=self._authorization,
            until=lambda: min(ends_at, self._until()),
        )
        for batch in self._pending.batches(is_over=is_over):
            reason = self._send(api, batch)
            if reason:
                return self._pending.result(reason)
        return self._pending.result("")

    def _send(self, api: TraceApi, batch: Batch) -> str:
        """Send a batch and save the result; returns why to stop the round, or empty.

        If a batch of calls is rejected, each call is sent alone, to find those that cause it.
        """
        try:
            api.send_patiently(batch)
            self._pending.confirm(batch)
        except OutageError as error:  # the next batch would fail too
            return str(error)
        except RefusedError as error:
            if batch.kind == "calls" and len(batch.body) > 1:
                # lazily, so that nothing is sent after an outage
                singles = (self._send(api, single) for single in self._pending.split(batch))
                return next((reason for reason in singles if reason), "")
            self._pending.reject(batch, str(error))
        self._on_progress()
        return ""


def read_target(folder: Path) -> Target:
    """Server, entity and project that a spool's records go to."""
    return Target(**read_json((folder / TARGET).read_text(encoding="utf-8")))
