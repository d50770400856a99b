from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

import wandb
from flytekitplugins.wbmon.monitor.samples.rows import SampledRows
from flytekitplugins.wbmon.monitor.scoring.report import Progress
from flytekitplugins.wbmon.publish.progress import ScoringProgress, log_sample
from support.wandb_log import find_run


class Terminal(io.StringIO):
    """A stream with a person behind it."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Goes forward when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tell(progress: ScoringProgress, clock: Clock, *, n_total: int | None = 1000) -> None:
    """Ten batches of a hundred rows, a second each."""
    for number in range(1, 11):
        clock.now += 1
        progress(
            Progress(
                n_batches=number,
                n_rows=100 * number - number,
                n_failed=number,
                n_total=n_total,
                latency_ms=4.0,
            )
        )
    progress.end()


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    clock, terminal = Clock(), Terminal()
    tell(ScoringProgress("score", None, stream=terminal, clock=clock, every_s=5), clock)
    words = terminal.getvalue()
    assert words.count("\r") == 2
    assert "score: 990 rows, 100%, 89 rows/s, 10 set aside" in words
    assert words.endswith("\n")


def test_a_log_gets_lines_and_a_share_only_where_the_rows_are_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, stream = Clock(), io.StringIO()
    with caplog.at_level(logging.INFO):
        tell(ScoringProgress("score", None, stream=stream, clock=clock), clock, n_total=None)
    assert stream.getvalue() == ""
    assert caplog.records[0].getMessage().startswith("score: 495 rows, ")
    assert "%" not in caplog.text


def test_a_run_gets_live_metrics(tmp_path: Path) -> None:
    clock = Clock()
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
        tell(ScoringProgress("score", run, stream=io.StringIO(), clock=clock), clock)
    logged = find_run(tmp_path)
    assert logged.column("scoring/progress") == [0.5, 1.0]
    assert logged.column("scoring/progress_rows") == [495, 990]
    assert logged.column("scoring/progress_failed") == [5, 10]


class Broken:
    """A run that is out of order."""

    n_calls = 0

    def log(self, metrics: object) -> None:
        self.n_calls += 1
        raise RuntimeError("out of order")


def test_a_run_that_breaks_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    clock, run = Clock(), Broken()
    tell(ScoringProgress("score", run, stream=io.StringIO(), clock=clock), clock)
    log_sample(SampledRows(columns=("a",), rows=((1,),)), run)
    assert run.n_calls == 2
    assert "could not be logged" in caplog.text


def test_a_sample_is_a_table_of_mixed_values(tmp_path: Path) -> None:
    sample = SampledRows(columns=("stratum", "x"), rows=(("a", 1), ("b", None), ("c", "text")))
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
        log_sample(sample, run)
        log_sample(SampledRows(columns=(), rows=()), run)
    (row,) = find_run(tmp_path).history
    assert (row["scoring/sample"]["_type"], row["scoring/sample"]["nrows"]) == ("table-file", 3)
