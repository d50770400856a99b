"""Scoring whose pod is lost half-way: the next pod goes on behind the parts that are whole."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import ScoringReport
from support.propeller import Package, Propeller, from_literals, load_package, package, to_literals
from support.s3 import S3Server

PROJECT = Path(__file__).parent / "project"
SCORING = ("scoring.score", "-arraynode")


@pytest.fixture(scope="module")
def compiled() -> Package:
    return load_package(package(PROJECT, ["scoring"]))


def test_two_lost_pods_lose_no_row_and_write_none_twice(
    compiled: Package, s3: S3Server, tmp_path: Path
) -> None:
    store = s3.bucket("resumed")
    propeller = Propeller(compiled, project=PROJECT, store=store, disk=tmp_path, apart=SCORING)
    outputs = propeller.workflow("scoring.alone", to_literals({"n": 60}))
    pods = propeller.runs_of("scoring.score")
    assert [pod.place.attempt for pod in pods] == [0, 1, 2]
    assert "connection lost" in pods[0].message
    assert "exit code -9" in pods[1].message
    with store.flyte_context():
        values = from_literals(outputs, {"o0": StructuredDataset, "o1": ScoringReport})
        written = values["o0"].open(pd.DataFrame).all()
        report = values["o1"]
    assert values["o0"].literal.uri.startswith(pods[2].raw)
    assert written["x"].tolist() == list(range(60))
    assert written["twice"].tolist() == [2 * x for x in range(60)]
    assert (report.n_rows, report.n_batches, report.n_resumed) == (60, 12, 30)


def test_a_shard_of_a_mapped_scoring_resumes_too(
    compiled: Package, s3: S3Server, tmp_path: Path
) -> None:
    store = s3.bucket("mapped")
    propeller = Propeller(compiled, project=PROJECT, store=store, disk=tmp_path, apart=SCORING)
    outputs = propeller.workflow("scoring.mapped", to_literals({"n": 60}))
    with store.flyte_context():
        parts = from_literals(outputs, {"o0": list[StructuredDataset]})["o0"]
        tables = [part.open(pd.DataFrame).all() for part in parts]
    assert [table["x"].tolist() for table in tables] == [list(range(30)), list(range(30, 60))]
    shards = [pod for pod in propeller.pods if pod.place.shard is not None]
    assert [pod.place.attempt for pod in shards] == [0, 0, 1]
