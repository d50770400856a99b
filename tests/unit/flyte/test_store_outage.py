"""A store that is away in a node: what the pod leaves behind lets propeller try again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flyteidl.core.errors_pb2 import ContainerError
from flytekit.tools.translator import get_serializable
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import (
    DriftCheck,
    LoadReference,
    MergeProfiles,
    PerformanceCheck,
    PerformanceReport,
    Profile,
    ReferenceFiles,
    profile_data,
)
from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.flyte.store_outage import retried_by_flyte
from support.literals import to_literals
from support.package import SETTINGS
from support.pod import Pod, prepare_pod
from support.store import Store

AWAY = {
    "FLYTE_AWS_ENDPOINT": "http://127.0.0.1:9",
    "FLYTE_AWS_ACCESS_KEY_ID": "id",
    "FLYTE_AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
FILE = FlyteFile("s3://models/reference")
PROFILE = profile_data(pd.DataFrame({"x": np.arange(100.0)}))


def run(node: Any, store: Store, disk: Path, types: dict[str, Any], **inputs: Any) -> Pod:
    project = disk / "project"
    project.mkdir()
    return prepare_pod(
        get_serializable({}, SETTINGS, node).to_flyte_idl(),
        to_literals(inputs, types),
        project=project,
        store=store,
        disk=disk,
        env=AWAY,
    ).run_here()


@pytest.mark.parametrize(
    ("node", "types", "inputs"),
    [
        (
            DriftCheck("away.drift"),
            {"reference": Profile, "current": Profile},
            {"reference": FILE, "current": PROFILE},
        ),
        (MergeProfiles("away.merge"), {"profiles": list[Profile]}, {"profiles": [FILE, PROFILE]}),
        (
            PerformanceCheck("away.check", task="classification", label="y", prediction="p"),
            {"data": pd.DataFrame, "baseline": PerformanceReport | None},
            {"data": pd.DataFrame({"y": [1], "p": [1]}), "baseline": FILE},
        ),
        (
            LoadReference("away.load", uri="s3://models/all", model="m", record=Profile),
            {},
            {},
        ),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_it_is_tried_again(
    node: Any, types: dict[str, Any], inputs: dict[str, Any], local_store: Store, tmp_path: Path
) -> None:
    pod = run(node, local_store, tmp_path, types, **inputs)
    assert pod.error is not None, pod.log
    assert "must be within reach" in pod.error.message
    assert pod.retryable


def test_what_is_wrong_for_good_is_not_tried_again(local_store: Store, tmp_path: Path) -> None:
    folder = (tmp_path / "references").as_uri()
    ReferenceFiles(folder, Profile)
    node = LoadReference("away.none", uri=folder, model="m", record=Profile)
    pod = run(node, local_store, tmp_path, {})
    assert pod.error is not None
    assert "must have exactly one version 'production'" in pod.error.message
    assert pod.error.kind == ContainerError.NON_RECOVERABLE


def test_only_an_outage_is_told_as_one() -> None:
    with pytest.raises(StorageError, match="away"), retried_by_flyte(), retried_by_flyte():
        raise StorageError("it is away")
    with pytest.raises(DataError), retried_by_flyte():
        raise DataError("damaged")
