"""From a spool to the Weave server: in order, each record once, nothing forgotten unconfirmed.

Standard library only. Calls go in batches of finished ones; objects, tables and files, which calls
refer to, go first. What the server refuses for good is put aside and said, and does not hold up
the rest.
"""

from __future__ import annotations

import json
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
        on_progress: Called whenever it was noted in the spool what the server confirmed or refused,
            before more is sent; what it raises ends the round.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_key: str,
        trace_url: str = "",
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        target = read_target(folder)
        self._target = replace(target, trace_url=trace_url) if trace_url else target
        self._authorization = basic_authorization(api_key)
        self._pending = PendingRecords(folder=folder)
        self._on_progress = on_progress

    def run(self, *, deadline_s: float, is_over: bool = True) -> DrainResult:
        """Send what came since the last round and what is not confirmed yet.

        Args:
            deadline_s: Longest time.
            is_over: Whether the writer is gone.
        """
        self._pending.refresh()
        ends_at = time.monotonic() + deadline_s
        api = TraceApi(target=self._target, authorization=self._authorization, ends_at=ends_at)
        for batch in self._pending.batches(is_over=is_over):
            reason = self._send(api, batch)
            if reason:
                return self._pending.result(reason)
        return self._pending.result("")

    def _send(self, api: TraceApi, batch: Batch) -> str:
        """Send a request and note what became of it; why to stop here, if so.

        Of a batch that is refused, each call is sent alone: one of them is the reason.
        """
        try:
            api.send_patiently(batch)
            self._pending.confirm(batch)
        except OutageError as error:
            return str(error)
        except RefusedError as error:
            if batch.kind == "calls" and len(batch.body) > 1:
                singles = (self._send(api, single) for single in self._pending.split(batch))
                return next((reason for reason in singles if reason), "")
            self._pending.reject(batch, str(error))
        self._on_progress()
        return ""


def read_target(folder: Path) -> Target:
    """Where a spool's records go."""
    return Target(**json.loads((folder / TARGET).read_text(encoding="utf-8")))
