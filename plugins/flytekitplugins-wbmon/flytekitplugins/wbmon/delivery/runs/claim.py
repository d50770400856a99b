"""The claim on a run that several processes may write; it lets one of them send at a time.

W&B appends a row at a line number that the sender has chosen, so two senders overwrite each other's
rows. The claim is an entry of the run's config, the one place that all who write a run share:
`{"flyte": {"writer": {"id": …, "at": …}}}`. A process writes it, waits, and sends only if the entry
is still its own (Fischer's algorithm; Lamport, A Fast Mutual Exclusion Algorithm, 1987, section 2).
The claim of a process that died is over two minutes after the server has last heard of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from flytekitplugins.wbmon.delivery.runs.api import RunTarget, ServedRun, WandbApi
from flytekitplugins.wbmon.errors import PublishError

logger = logging.getLogger(__name__)

FLYTE_BLOCK, ENTRY = "flyte", "writer"
# longer than two requests to W&B take: whoever saw no claim before has written its own by then
_SETTLE_S = 2.0
# wandb tells the server every 30 s that a run lives; the clocks of two pods may differ as well
_OVER_S = 120.0
# a run that nobody has claimed and that has no row: whoever made it has died, or claims it by then
_MADE_S = 10.0


class BusyRunError(PublishError):
    """Another process writes the run now."""


class Taken(NamedTuple):
    """A run that nobody else writes now.

    Attributes:
        served: The run as the server has it; None if it has not.
        was_open: Whether others may have written to it since this writer did.
    """

    served: ServedRun | None
    was_open: bool = False


class RunClaim:
    """The claim of one writer on its run; a writer without a name needs none.

    Args:
        api: The server.
        writer: Name of the writer, different for every log; empty if nobody else writes its run.
        until: Returns the time on the clock of `time.monotonic()` at which to give up.
    """

    def __init__(self, api: WandbApi, writer: str, *, until: Callable[[], float]) -> None:
        self._api = api
        self._writer = writer
        self._until = until
        self._is_taken = False

    def is_lost(self, served: ServedRun) -> bool:
        """Whether another process has taken the run since this one took it."""
        return self._is_taken and not self.holds(served)

    def holds(self, served: ServedRun) -> bool:
        """Whether nobody else has taken the run."""
        return not self._writer or _writer_of(served.config) == self._writer

    def take(self, target: RunTarget) -> Taken:
        """Take the run, unless another process writes it.

        Raises:
            BusyRunError: If another process writes the run.
            PublishError: If the server does not answer.
        """
        self._is_taken = False
        taken = self._try_take(target)
        self._is_taken = True
        return taken

    def release(self, served: ServedRun) -> None:
        """Let others write the run; if the server does not answer, they wait two minutes."""
        self._is_taken = False
        if not self._writer or not self.holds(served):
            return
        try:
            self._api.write_config(served, without_writer(served.config))
        except PublishError as error:
            logger.debug("the claim of %s is not released: %s", served.run_id, error)

    def to_config(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """The `flyte` block of the run's config with the claim in it."""
        entry = {"id": self._writer, "at": time.time()}
        return {**block, ENTRY: entry} if self._writer else dict(block)

    def _try_take(self, target: RunTarget) -> Taken:
        served = self._api.find_run(target)
        if served is not None and self.holds(served):
            return Taken(served)
        if not self._writer:
            return Taken(None)
        if served is None:
            # the one request of which the server tells exactly one process that it was the first
            created = self._api.create_run(target)
            if created is None:
                raise BusyRunError("another process has just made the run")
            self._write(created)
            return Taken(None)
        if _is_written(served):
            raise BusyRunError("another process writes the run now")
        self._write(served)
        time.sleep(max(0.0, min(_SETTLE_S, self._until() - time.monotonic())))
        now = self._api.find_run(target)
        if now is None or not self.holds(now) or time.monotonic() > self._until():
            raise BusyRunError("another process has taken the run at the same moment")
        return Taken(now, was_open=True)

    def _write(self, served: ServedRun) -> None:
        claimed = {"value": self.to_config(_block(served.config))}
        self._api.write_config(served, {**served.config, FLYTE_BLOCK: claimed})


def writer_of(block: Any) -> str:
    """Name of the writer in the `flyte` block of a config; empty if there is none."""
    entry = block.get(ENTRY) if isinstance(block, Mapping) else None
    return str((entry.get("id") if isinstance(entry, Mapping) else entry) or "")


def without_writer(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as the server has it, without the claim."""
    block = {name: value for name, value in _block(config).items() if name != ENTRY}
    others = {name: item for name, item in config.items() if name != FLYTE_BLOCK}
    return {**others, FLYTE_BLOCK: {"value": block}} if block else others


def _block(config: Mapping[str, Any]) -> Mapping[str, Any]:
    item = config.get(FLYTE_BLOCK)
    block = item.get("value") if isinstance(item, Mapping) else None
    return block if isinstance(block, Mapping) else {}


def _writer_of(config: Mapping[str, Any]) -> str:
    return writer_of(_block(config))


def _is_written(served: ServedRun) -> bool:
    """Whether a process that was heard of in the last two minutes writes the run.

    One that knows of no claim, or has just made the run, is told by the run's state.
    """
    entry = _block(served.config).get(ENTRY)
    if not entry and served.state != "running":
        return False
    at = entry.get("at") if isinstance(entry, Mapping) else None
    heard = [float(at)] if isinstance(at, int | float) else []
    if served.heartbeat_at is not None:
        heard.append(served.heartbeat_at.timestamp())
    over_s = _OVER_S if entry or served.n_rows else _MADE_S
    now = datetime.now(timezone.utc).timestamp()
    # both ways: a clock that is a day ahead must not hold the run for a day
    return any(abs(now - one) < over_s for one in heard)
