"""Partitions, each read by a shard of its own, add up to what one task would have found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from flytekitplugins.wbmon import DriftReport
from support.environment import ROOT
from support.propeller import Propeller, from_literals, load_package, package, to_literals


def counted(report: DriftReport) -> list[object]:
    """What follows from counts alone; sums of values differ in the last digit by their order."""
    return [report.verdict, report.reason] + [
        (name, feature.level, feature.statistic, feature.q_value, feature.checks, feature.bins)
        for name, feature in report.features.items()
        if feature.checks
    ]


def test_the_verdict_does_not_depend_on_the_partitions(
    cluster: Callable[..., Propeller], tmp_path: Path
) -> None:
    image = tmp_path / "image"
    shutil.copytree(ROOT / "workflows", image / "workflows")
    compiled = load_package(package(image, ["workflows.partitioned_drift"]))
    propeller = cluster(compiled, project=image, apart=())

    outputs = propeller.workflow(
        "workflows.partitioned_drift.partitioned_drift",
        to_literals({"night": 6, "n_partitions": 2}),
    )

    found = from_literals(outputs, {"partitioned": DriftReport, "whole": DriftReport})
    assert found["partitioned"].drifted
    assert found["partitioned"].n_current == 20_000
    first = next(iter(found["partitioned"].features.values()))
    assert first.name == "amount"
    assert counted(found["partitioned"]) == counted(found["whole"])
    shards = [pod.place.shard for pod in propeller.pods if pod.place.shard is not None]
    assert shards == [0, 1]
