"""Serving windows as W&B runs: a run a day, bounded metrics, and an outage that costs nothing."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, WandbSink
from flytekitplugins.wbmon.serving.adapters import wandb_sink
from flytekitplugins.wbmon.serving.adapters.wandb_sink import window_metrics
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram
from support.prediction_log import read_rows
from support.waiting import wait_until
from support.wandb_faults import Fault
from support.wandb_log import find_runs
from support.wandb_server import KEY, WandbServer

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()
MIDNIGHT = datetime(2026, 3, 2, tzinfo=timezone.utc).timestamp()


def window(start: float, latencies: list[float], *, failed: int = 0, route: str = "/r") -> Any:
    return {
        "window_start": start,
        "window_end": start + 10,
        "route": route,
        "requests": len(latencies),
        "errors": {"ValueError": failed} if failed else {},
        "status": {"2xx": len(latencies) - failed, "5xx": failed},
        "latency": LogHistogram.of(latencies).to_dict(),
        "in_flight_max": 2,
        "sampled_rows": 1,
        "dropped_rows": 0,
    }


def test_a_run_ends_at_midnight_utc_and_another_begins(folder: Path) -> None:
    sink = WandbSink(
        "digits", project="p", entity="ops", every_s=0.3, instance="host-1", folder=str(folder)
    )
    sink.write_windows([window(MIDNIGHT - 10, [10.0] * 8, failed=2)], MIDNIGHT)
    sink.write_windows([window(MIDNIGHT, [20.0] * 5)], MIDNIGHT + 10)
    wait_until(lambda: len(sink._waiting) == 0)
    sink.close()
    assert sink._thread is not None
    sink._thread.join(30)

    runs = {run.id: run for run in find_runs(folder)}
    assert sorted(runs) == ["digits-20260301-host-1", "digits-20260302-host-1"]
    before, after = runs["digits-20260301-host-1"], runs["digits-20260302-host-1"]
    assert before.column("serving/n_requests") == [8]
    assert before.column("serving/error_rate") == [0.25]
    assert before.column("serving/throughput_per_s") == [0.8]
    assert after.column("serving/n_requests") == [5]
    assert after.column("serving/latency_ms/p99")[0] == pytest.approx(20.0, rel=0.02)
    assert before.exit_code == 0


def test_metrics_are_added_up_and_their_number_is_bounded() -> None:
    rows = [window(NOON, [1.0, 2.0], route=f"/r{i}", failed=1) for i in range(200)]
    metrics = window_metrics(rows, seconds=10)

    assert metrics["serving/n_requests"] == 400
    assert metrics["serving/throughput_per_s"] == 40
    assert metrics["serving/errors/ValueError"] == 200
    assert len(metrics) < 150
    quiet = window_metrics([], seconds=60)
    assert quiet["serving/n_requests"] == quiet["serving/throughput_per_s"] == 0


def test_what_was_served_arrives_at_the_server(folder: Path) -> None:
    with WandbServer() as server:
        sink = WandbSink(
            "digits", project="p", entity="ops", secret=lambda: KEY, api_host=server.url,
            every_s=0.5, folder=str(folder), instance="i",
        )  # fmt: skip
        log = PredictionLogger(
            "digits", str(folder / "log"), sinks=[sink], window=0.2,
            sampling=SamplingPolicy(rate=1.0),
        )  # fmt: skip
        for _ in range(20):
            log.log_prediction(prediction=1.0, latency_ms=3.0)
        log.close(timeout=15)
        assert sink._thread is not None
        sink._thread.join(30)

        (run,) = server.runs
        assert run.state == "finished"
        assert sum(row.get("serving/n_requests", 0) for row in run.history) == 20


def test_an_outage_costs_neither_the_server_nor_the_log_anything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a machine under load needs more; in all of it W&B does not answer
    monkeypatch.setattr(wandb_sink, "_CLOSE_S", 20.0)
    with WandbServer() as server:
        server.fault = Fault("hang")
        sink = WandbSink(
            "digits", project="p", entity="ops", secret=lambda: KEY, api_host=server.url,
            every_s=0.5, folder=str(folder), offline_store=str(folder / "store"), instance="i",
        )  # fmt: skip
        log = PredictionLogger(
            "digits", str(folder / "log"), sinks=[sink], window=0.2,
            sampling=SamplingPolicy(rate=1.0),
        )  # fmt: skip
        for _ in range(50):
            log.log_prediction(prediction=1.0, latency_ms=3.0)
            time.sleep(0.01)
        wait_until(lambda: sink._day is not None)
        stats = log.close(timeout=20)
        assert list((folder / "store").rglob("manifest.json")), "before the process may end"

        server.fault = None
        store = OfflineStore(str(folder / "store"))
        (synced,) = sync_store(store, api_host=server.url, key=ApiKey(KEY))
        assert (synced.is_delivered, synced.lost) == (True, "")
        (run,) = server.runs
        assert run.state == "finished"
        assert len(run.history) == synced.n_rows
        assert sum(row.get("serving/n_requests", 0) for row in run.history) == 50

    assert (stats.served, stats.dropped, stats.failed) == (50, 0, 0)
    assert len(read_rows(folder / "log")) == 50
    assert sum(row["requests"] for row in read_rows(folder / "log", "window")) == 50


def test_a_cadence_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError):
        WandbSink("digits", project="p", entity="ops", every_s=0)
