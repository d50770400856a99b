"""The library in a pod of Flyte's sandbox, which is told of its storage in Flyte's words alone."""

from __future__ import annotations

from pathlib import Path

from support.propeller import Propeller, from_literals, load_package, package, to_literals
from support.s3 import S3Server

PROJECT = Path(__file__).parent / "project"


def test_a_task_and_a_node_reach_the_store_by_flytes_variables_alone(
    s3: S3Server, tmp_path: Path
) -> None:
    store = s3.bucket("sandbox")
    assert not [name for name in store.env if not name.startswith("FLYTE_AWS_")]
    compiled = load_package(package(PROJECT, ["stored"]))
    apart = ("stored.use", "stored.analyse")
    propeller = Propeller(compiled, project=PROJECT, store=store, disk=tmp_path, apart=apart)
    outputs = propeller.workflow("stored.night", to_literals({"root": store.url("monitor")}))
    assert from_literals(outputs, {"o0": int}) == {"o0": 0}
    assert [pod.succeeded for pod in propeller.pods] == [True, True]
    assert "stays on disk" not in propeller.pods[0].log
