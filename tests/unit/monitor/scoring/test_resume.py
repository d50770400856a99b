from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ScoringError
from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint
from flytekitplugins.wbmon.monitor.scoring.report import Watch
from flytekitplugins.wbmon.monitor.scoring.score import score_batches
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

N = 97
BAD = (3, 40, 41, 90)
NIGHT = pa.table({"id": np.arange(N), "x": np.linspace(0, 1, N)})


class Lost(Exception):  # noqa: N818 - what a pod is
    """The process is gone."""


class Memory:
    """Checkpoints as JSON, as a pod would leave them."""

    def __init__(self, saved: str | None = None) -> None:
        self.saved = saved
        self.n_saves = 0

    def load(self) -> ScoringCheckpoint | None:
        return None if self.saved is None else record_from_json(ScoringCheckpoint, self.saved)

    def save(self, checkpoint: ScoringCheckpoint) -> None:
        self.saved, self.n_saves = record_to_json(checkpoint), self.n_saves + 1


class Model:
    """Halves a number; refuses some rows; is lost when it has scored so many."""

    def __init__(self, lost_after: int | None = None) -> None:
        self.lost_after = lost_after
        self.scored: list[int] = []

    def __call__(self, batch: pd.DataFrame) -> pd.DataFrame:
        if self.lost_after is not None and len(self.scored) >= self.lost_after:
            raise Lost
        if batch["id"].isin(BAD).any():
            raise ValueError("not this one")
        self.scored += batch["id"].tolist()
        p = batch["x"] / 2
        return pd.DataFrame({"p": p, "word": np.where(p > 0.25, "yes", "no")})


def attempt(folder, model, store, **changed):
    return score_batches(
        model,
        changed.pop("source", NIGHT),
        str(folder),
        **{
            "kind": "pandas",
            "batch_rows": 10,
            "part_rows": 20,
            "max_error_rate": 0.1,
            "watch": Watch(confidence=("p",), classes="word"),
            "checkpoints": store,
            "let_through": (Lost,),
            **changed,
        },
    )


@settings(max_examples=10, deadline=None)
@given(
    lost=st.lists(st.integers(0, N), max_size=4),
    batch_rows=st.integers(4, 40),
    part_rows=st.integers(1, 60),
)
def test_any_chain_of_lost_attempts_writes_every_row_once(lost, batch_rows, part_rows):
    given = {"batch_rows": batch_rows, "part_rows": part_rows}
    with tempfile.TemporaryDirectory() as name:
        root, store, n_kept = Path(name), Memory(), 0
        for number, after in enumerate(lost):
            store = Memory(store.saved)
            with suppress(Lost):
                attempt(root / str(number), Model(after), store, **given)
            kept = store.load()
            assert kept is None or kept.n_read >= n_kept
            n_kept = kept.n_read if kept else 0
        report = attempt(root / "last", Model(), store, **given)
        whole = attempt(root / "whole", Model(), None, **given)
        assert pq.read_table(root / "last") == pq.read_table(root / "whole")
        assert pq.read_table(report.quarantine) == pq.read_table(whole.quarantine)
        for field in ("n_rows", "n_batches", "n_failed", "errors", "confidence", "classes"):
            assert getattr(report, field) == getattr(whole, field), field
        assert report.n_resumed == n_kept - sum(bad < n_kept for bad in BAD)


def test_rows_of_whole_parts_are_not_scored_again(tmp_path):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store)
    model = Model()
    report = attempt(tmp_path / "1", model, store)
    assert model.scored[0] == 60
    assert report.n_resumed == 57
    assert report.latency_ms["mean"] > 0


def test_an_attempt_that_dies_while_it_copies_costs_the_next_nothing(tmp_path):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store)
    dying = Memory(store.saved)
    with pytest.raises(Lost):
        attempt(tmp_path / "1", Model(0), dying)
    assert dying.load().n_read == 60


def test_a_zombie_that_goes_on_writing_does_no_harm(tmp_path):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store)
    shutil.copy(tmp_path / "0" / "part-00000.parquet", tmp_path / "0" / "part-00002.parquet")
    attempt(tmp_path / "1", Model(), store)
    assert len(pq.read_table(tmp_path / "1")) == N - len(BAD)


def test_parts_that_are_gone_are_scored_again(tmp_path, caplog):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store)
    shutil.rmtree(tmp_path / "0")
    report = attempt(tmp_path / "1", Model(), store)
    assert (report.n_rows, report.n_resumed) == (N - len(BAD), 0)
    assert "are gone" in caplog.text


def test_a_checkpoint_of_other_data_is_not_used(tmp_path, caplog):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store)
    report = attempt(tmp_path / "1", Model(), store, source=NIGHT.slice(0, 60))
    assert (report.n_rows, report.n_resumed) == (57, 0)
    assert "other data" in caplog.text


def test_a_finished_attempt_is_only_copied(tmp_path):
    store = Memory()
    first = attempt(tmp_path / "0", Model(), store)
    model = Model()
    second = attempt(tmp_path / "1", model, store)
    assert model.scored == []
    assert second.n_rows == second.n_resumed == first.n_rows


def test_failures_of_all_attempts_count_against_the_budget(tmp_path):
    store = Memory()
    with pytest.raises(Lost):
        attempt(tmp_path / "0", Model(50), store, max_error_rate=0.035)
    with pytest.raises(ScoringError, match=r"4 did so far"):
        attempt(tmp_path / "1", Model(), store, max_error_rate=0.035)


def test_a_part_ends_after_its_time_too(tmp_path):
    store = Memory()
    attempt(tmp_path, Model(), store, part_rows=10_000, part_s=0.0)
    assert store.n_saves == 10
    assert len(list(tmp_path.glob("part-*.parquet"))) == 10
