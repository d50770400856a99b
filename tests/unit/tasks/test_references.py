"""The nodes that load and promote references, in workflows and in pods."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flytekit import Secret, workflow

import wandb
from flytekitplugins.wbmon import (
    Decision,
    DriftCheck,
    DriftReport,
    LoadReference,
    PerformanceReport,
    Profile,
    PromoteReference,
    ReferenceFiles,
    profile_data,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.flyte.type_transformers import RECORDS
from support.examples import performance_report
from support.in_process import execute, in_pod, pod_context
from support.package import SETTINGS
from support.place import EXECUTION
from support.wandb_log import find_run

BUCKET = "s3://models/references"


def profile(*values: float) -> Profile:
    return profile_data(pd.DataFrame({"x": list(values)}))


def settings(uri: str, **changes: Any) -> dict[str, Any]:
    return {"uri": uri, "model": "payments", "record": Profile, **changes}


@pytest.mark.parametrize("kind", RECORDS)
def test_the_types_of_a_node_are_those_of_its_record_here_and_in_a_pod(kind: type) -> None:
    load = LoadReference("t.load", **settings(BUCKET, record=kind))
    promote = PromoteReference("t.promote", reason="r", **settings(BUCKET, record=kind))
    for node in (load, in_pod(load)):
        assert node.python_interface.outputs == {"o0": kind}
        assert list(node.python_interface.inputs) == ["at"]
    for node in (promote, in_pod(promote)):
        inputs = node.python_interface.inputs
        assert inputs == {
            "record": kind,
            "decision": Decision | None,
            "drift": DriftReport | None,
            "performance": PerformanceReport | None,
        }
        assert node.python_interface.outputs == {
            "promoted": bool, "reason": str, "version": str, "before": str,
        }  # fmt: skip
    assert in_pod(load).config == load.config
    assert in_pod(promote).config == promote.config


def test_a_pod_promotes_and_the_next_night_compares_with_it(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/references"
    promote = in_pod(PromoteReference("t.promote", reason="retrained", **settings(uri)))
    load = in_pod(LoadReference("t.load", **settings(uri)))
    for n in (1, 2):
        with pod_context(tmp_path) as context:
            found = execute(context, promote, record=profile(*range(n)))
        assert found["promoted"]
    with pod_context(tmp_path) as context:
        assert execute(context, load)["o0"].n_rows == 2
        first, _ = ReferenceFiles(uri, Profile).history("payments").decisions
        assert execute(context, load, at=first.at)["o0"].n_rows == 1
        with pytest.raises(Exception, match="exactly one version 'production' at"):
            execute(context, load, at=first.at - timedelta(days=1))
    assert first.by == EXECUTION
    assert first.reason == "retrained"


def test_evidence_decides_in_a_workflow(tmp_path: Path) -> None:
    load = LoadReference("t.load", **settings(str(tmp_path)))
    check = DriftCheck("t.check")
    promote = PromoteReference(
        "t.promote", reason="a week without drift", **settings(str(tmp_path))
    )

    @workflow
    def week(current: Profile) -> tuple[bool, str]:
        report = check(reference=load(), current=current).report
        found = promote(record=current, drift=report)
        return found.promoted, found.reason

    files = ReferenceFiles(str(tmp_path), Profile)
    with pytest.raises(DataError, match="found 0"):
        week(current=profile(1.0))
    reference = profile(*range(500))
    files.promote("payments", files.save("payments", reference).digest, reason="the first")
    alike = profile_data(pd.DataFrame({"x": [*map(float, range(500)), 25.0]}), like=reference)
    other = profile_data(pd.DataFrame({"x": [900.0] * 500}), like=reference)
    assert week(current=other)[0] is False
    assert files.load("payments").n_rows == 500
    assert week(current=alike) == (True, "a week without drift")
    assert files.load("payments").n_rows == 501


def test_an_empty_setting_or_one_of_another_type_is_refused() -> None:
    for changes in (
        {"uri": ""}, {"uri": " "}, {"model": ""}, {"model": 3}, {"record": dict},
        {"record": "Profile"}, {"version": ""}, {"model": "a/b"}, {"model": "a\nb"},
        {"model": "a" * 201}, {"version": "\n"}, {"version": "a b"},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(changes))):
            LoadReference("t.load", **{**settings(BUCKET), **changes})
    for changes in (
        {"reason": ""}, {"alias": ""}, {"record": None}, {"model": ".."}, {"model": "\0"},
        {"alias": "a/b"}, {"alias": "deadbeef"}, {"alias": "production\n"}, {"alias": None},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(changes))):
            PromoteReference("t.promote", **{**settings(BUCKET), "reason": "r", **changes})


ARTIFACT = "ops/payments/payments-profile:production"
SECRET = Secret(group="wandb", key="api_key")


def test_a_node_that_follows_an_artifact_is_the_same_in_a_pod_and_has_no_past() -> None:
    load = LoadReference(
        "t.load",
        **settings(
            BUCKET,
            wandb_artifact=ARTIFACT,
            secret=SECRET,
            api_host="https://w.example.com",
            timeout_s=5,
        ),
    )
    assert load.security_context.secrets == [SECRET]
    for node in (load, in_pod(load)):
        assert node.python_interface.outputs == {"o0": Profile}
        assert node.python_interface.inputs == {}
    assert in_pod(load).config == load.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wandb_artifact": "payments-profile:production"}, "wandb_artifact must name"),
        ({"wandb_artifact": None}, "wandb_artifact must name"),
        ({"wandb_artifact": ARTIFACT, "version": "candidate"}, "version must be left out"),
        ({"wandb_artifact": ARTIFACT, "timeout_s": 0}, "timeout_s must be positive"),
        ({"wandb_artifact": ARTIFACT, "secret": "k" * 40}, "must be named by a flytekit.Secret"),
        ({"secret": SECRET}, "must be left out without wandb_artifact"),
        ({"api_host": "https://w.example.com"}, "must be left out without wandb_artifact"),
    ],
)
def test_settings_of_an_artifact_that_cannot_be_or_have_no_effect_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        LoadReference("t.load", **settings(BUCKET, **changes))
    assert "k" * 40 not in str(error.value)


def test_what_an_alias_points_at_is_never_cached() -> None:
    with pytest.raises(ConfigError, match="must not be cached"):
        LoadReference("t.load", cache=True, **settings(BUCKET))
    with pytest.raises(ConfigError, match="must not be cached"):
        PromoteReference("t.promote", reason="r", cache=True, **settings(BUCKET))


def test_a_folder_that_only_one_pod_sees_is_refused(tmp_path: Path) -> None:
    for node in (
        LoadReference("t.load", **settings("out/references")),
        PromoteReference("t.promote", reason="r", **settings("out/references")),
    ):
        with pytest.raises(ConfigError, match="uri where all pods see it"):
            node.get_config(SETTINGS)


def test_the_numbers_of_a_baseline_are_not_those_of_the_night_that_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    files = ReferenceFiles(str(tmp_path / "references"), PerformanceReport)
    files.promote("payments", files.save("payments", performance_report()).digest, reason="r")
    load = LoadReference("t.load", **settings(files.uri, record=PerformanceReport))
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
        monkeypatch.setattr("flytekitplugins.wbmon.tasks.references.current_run", lambda: run)
        monkeypatch.setattr("flytekitplugins.wbmon.tasks._node.current_run", lambda: run)
        load()
    assert not any(
        key.startswith("performance") for row in find_run(tmp_path).history for key in row
    )


def test_a_tracked_promotion_is_logged_and_a_refused_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, str, str]] = []

    def log(record: Any, *, model: str, alias: str, version: str, run: Any) -> None:
        logged.append((model, alias, version))

    monkeypatch.setattr("flytekitplugins.wbmon.publish.lineage.publish_promotion", log)
    promote = PromoteReference("t.promote", reason="r", **settings(str(tmp_path)))
    found = promote(record=profile(1.0))
    assert not promote(record=profile(1.0)).promoted
    assert logged == [("payments", "production", found.version)]
