"""Serving windows in W&B: one run per day, one row per minute.

A separate thread writes the windows to an offline run, which another process delivers. The server
therefore never waits for W&B, neither during an outage nor on a slow network. The prediction log
holds all windows in any case.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.service.outcomes import failed_requests, merged
from flytekitplugins.wbmon.storage.lifetime import close_first
from flytekitplugins.wbmon.warn import warn

if TYPE_CHECKING:
    import wandb
    from flytekitplugins.wbmon.run.spooled import SpooledRun

logger = logging.getLogger(__name__)

_MAX_WAITING = 1_000
_POLL_S = 0.5
# routes and error classes that get metrics of their own; bounds the number of metric names
_MAX_GROUPS = 20
_PERCENTILES = (50, 95, 99)
_CLOSE_S = 5.0
# of these; the rest is for the offline store, before whoever closes the sink ends the process
_DELIVER_S = 3.0


class WandbSink:
    """Shows serving windows in W&B while the service runs; it begins a new run every day (UTC).

    Metrics are `serving/n_requests`, `serving/throughput_per_s`, `serving/error_rate`,
    `serving/latency_ms/p99` and their like, also by route (`serving/n_requests/route/…`) and error
    class (`serving/errors/…`); their number is bounded. The run is called
    `{service}-{day}-{instance}`, in the group `{service}-{day}`.

    Args:
        service: Name of the service.
        project: W&B project.
        entity: W&B team or user.
        secret: A callable that returns the W&B key. None uses W&B's own login; if there is none,
            the runs are kept on disk.
        every_s: Seconds between rows; the windows in between are summed up.
        folder: Local folder that runs are written to.
        offline_store: fsspec URL for runs that could not be delivered; `SyncOfflineRuns` delivers
            them later. Without it they stay in `folder`.
        instance: Name of this process; by default host, process id and six random hex digits, so
            that no process continues the run of another. A forked process appends its process id.
        host: URL of the W&B pages, as for `wandb_init`.
        api_host: URL of the W&B API; None for WANDB_BASE_URL, or https://api.wandb.ai.

    Raises:
        ConfigError: If `every_s` is not positive, or the project or entity is not valid in W&B.
    """

    _waiting: deque[tuple[float, Sequence[dict[str, Any]]]]
    _thread: threading.Thread | None
    _day: _DayRun | None
    _store_at: float

    def __init__(  # noqa: PLR0913 - one keyword a matter
        self,
        service: str,
        *,
        project: str,
        entity: str,
        secret: Callable[[], str] | None = None,
        every_s: float = 60.0,
        folder: str = "wandb-serving",
        offline_store: str | None = None,
        instance: str | None = None,
        host: str | None = None,
        api_host: str | None = None,
    ) -> None:
        from flytekitplugins.wbmon.run.settings import RunSettings

        if not every_s > 0:
            raise ConfigError(f"every_s must be positive, got {every_s}")
        self._service = service
        self._settings = RunSettings(
            project=project,
            entity=entity,
            host=host,
            api_host=api_host,
            offline_store=offline_store,
            delivery_timeout_s=2 * _CLOSE_S,
        )
        self._secret = secret
        self._every_s, self._folder = every_s, folder
        self._named, self._maker = instance, os.getpid()
        self._prepare()
        # weak, because a callback cannot be unregistered and would keep the sink alive
        again = weakref.WeakMethod(self._prepare)
        os.register_at_fork(after_in_child=lambda: (alive := again()) and alive())

    def write_windows(self, rows: Sequence[dict[str, Any]], now: float) -> None:
        """Queue the windows that ended; returns at once.

        Args:
            rows: Rows of the windows; empty if there was no traffic, which is shown as zero.
            now: End of the windows; seconds since 1970.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wbmon-wandb", daemon=True)
            self._thread.start()
        self._waiting.append((now, rows))

    def close(self) -> None:
        """Write the last row and end the run, waiting at most five seconds for it.

        A run that W&B has not confirmed after three of them goes to the offline store, if there is
        one.
        """
        self._store_at = min(self._store_at, monotonic() + _DELIVER_S)
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _prepare(self) -> None:
        """Set up the state that belongs to one process; called again in a forked child."""
        pid = os.getpid()
        if self._named is None:
            self._instance = f"{socket.gethostname()}-{pid}-{uuid4().hex[:6]}"
        else:
            self._instance = self._named if pid == self._maker else f"{self._named}-{pid}"
        self._waiting = deque(maxlen=_MAX_WAITING)
        self._stop = threading.Event()
        self._store_at = inf
        self._thread = None
        self._day = None

    def _run(self) -> None:
        due = monotonic() + self._every_s
        while not self._stop.wait(min(_POLL_S, self._every_s)):
            if monotonic() >= due:
                # not from now on: rows keep their rhythm however long one takes
                due += self._every_s
                self._guarded(self._write_row)
        self._guarded(self._write_row)
        self._guarded(self._end_day)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a live view never breaks the log
            warn(logger, "W&B: a row of serving metrics is lost (%s)", type(error).__name__)

    def _write_row(self) -> None:
        by_day: dict[str, list[dict[str, Any]]] = {}
        span: dict[str, tuple[float, float]] = {}
        while self._waiting:
            end, rows = self._waiting.popleft()
            # a window that ends at midnight belongs to the day before
            day = datetime.fromtimestamp(end - 1e-3, timezone.utc).strftime("%Y%m%d")
            by_day.setdefault(day, []).extend(rows)
            begin = min((row["window_start"] for row in rows), default=end)
            span[day] = (min(span.get(day, (begin, end))[0], begin), end)
        for day, rows in by_day.items():
            if self._day is None or self._day.name != day:
                self._end_day()
                self._day = self._begin_day(day)
            begin, end = span[day]
            metrics = window_metrics(rows, seconds=max(end - begin, 1e-3))
            self._day.run.log({**metrics, "serving/time": end})

    def _begin_day(self, day: str) -> _DayRun:
        from flytekitplugins.wbmon.flyte.identity import current_identity, run_id
        from flytekitplugins.wbmon.run.api_key import read_api_key
        from flytekitplugins.wbmon.run.spooled import SpooledRun

        settings = self._settings
        key = read_api_key(self._secret, api_host=settings.resolved_api_host, is_local=True)
        identity = current_identity(self._service)
        writer = SpooledRun(settings, identity, key, store_at=lambda: self._store_at)
        name = run_id(identity, f"{self._service}-{day}-{self._instance}")
        os.makedirs(self._folder, exist_ok=True)  # noqa: PTH103 - the folder is a plain text here
        run = writer.open(
            {
                "project": settings.project,
                "entity": settings.entity,
                "id": name,
                "name": name,
                "group": f"{self._service}-{day}",
                "job_type": "serving",
                "dir": self._folder,
                "config": {"service": self._service, "day": day, "instance": self._instance},
            }
        )
        close_first()
        return _DayRun(day, run, writer)

    def _end_day(self) -> None:
        from flytekitplugins.wbmon.run.outcome import TaskOutcome

        ended, self._day = self._day, None
        if ended is not None:
            ended.writer.end(ended.run, TaskOutcome())


class _DayRun:
    """The W&B run of one day (UTC)."""

    def __init__(self, name: str, run: wandb.Run, writer: SpooledRun) -> None:
        self.name, self.run, self.writer = name, run, writer


def window_metrics(rows: Sequence[Mapping[str, Any]], *, seconds: float) -> dict[str, float]:
    """Metrics of several windows together: sums, rates and percentiles.

    Percentiles are those of the merged histograms; percentiles of windows cannot be averaged.

    Args:
        rows: Columns of serving windows.
        seconds: Length of the time span that they cover; positive.
    """
    metrics = _group_metrics(rows)
    n = metrics["serving/n_requests"]
    metrics["serving/throughput_per_s"] = n / seconds
    metrics["serving/in_flight_max"] = max((row["in_flight_max"] for row in rows), default=0)
    metrics["serving/n_dropped"] = sum(row["dropped_rows"] for row in rows)
    metrics["serving/n_sampled"] = sum(row["sampled_rows"] for row in rows)
    errors: dict[str, int] = {}
    routes: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        routes.setdefault(row["route"], []).append(row)
        for name, count in row["errors"].items():
            errors[name] = errors.get(name, 0) + count
    for name in sorted(errors, key=errors.__getitem__, reverse=True)[:_MAX_GROUPS]:
        metrics[f"serving/errors/{name}"] = errors[name]
    busiest = sorted(routes, key=lambda name: -sum(row["requests"] for row in routes[name]))
    for name in busiest[:_MAX_GROUPS]:
        metrics |= _group_metrics(routes[name], f"/route/{name.strip('/') or 'root'}")
    return metrics


def _group_metrics(rows: Sequence[Mapping[str, Any]], whose: str = "") -> dict[str, float]:
    n = sum(row["requests"] for row in rows)
    failed = sum(map(failed_requests, rows))
    latency = merged(rows, "latency")
    metrics: dict[str, float] = {
        f"serving/n_requests{whose}": n,
        f"serving/n_failed{whose}": failed,
    }
    if n:
        metrics[f"serving/error_rate{whose}"] = failed / n
    if latency.n:
        for level in _PERCENTILES:
            metrics[f"serving/latency_ms/p{level}{whose}"] = latency.quantile(level / 100)
    return metrics
