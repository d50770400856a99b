"""README's nightly check as it stands there: packaged, taken by FlyteAdmin, run pod by pod."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import pytest
from flytekit.models.literals import LiteralMap as LiteralMapModel
from flytekit.remote.executions import LiteralsResolver
from sklearn.linear_model import LogisticRegression

from flytekitplugins.wbmon import DriftReport
from support.admin import refusals
from support.package import Package, load_package, package
from support.pages import code_blocks
from support.propeller import Pod, Propeller, Store, from_literals, to_literals
from support.s3 import S3Server
from support.wandb_log import find_run
from support.wandb_server import WandbServer
from workflows.payments import generate_payments

KEY = "0123456789" * 4
EXECUTION = "readme20260213"
KICKOFF = datetime(2026, 2, 13, 2, tzinfo=timezone.utc)
FEATURES = ["amount", "hour", "distance_km", "account_age_days"]
TRACKED = ("monitor.score", "payments.drift", "payments.alert")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile of the page about clusters copies."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "monitor.py").write_text(code_blocks("README.md")[0])
    return folder


@pytest.fixture(scope="module")
def archive(image: Path) -> Path:
    return package(image, ["monitor"])


@dataclass
class Buckets:
    """The buckets that README and the page name."""

    payments: Store
    monitors: Store


@pytest.fixture(scope="module")
def buckets(s3: S3Server) -> Buckets:
    """A model, its training data, and a night; the references are made by the page's own lines."""
    made = Buckets(payments=s3.bucket("payments"), monitors=s3.bucket("monitors"))
    past = generate_payments(-1)
    model = LogisticRegression(max_iter=1_000).fit(past[FEATURES], past["fraud"])
    stored = BytesIO()
    joblib.dump(model, stored)
    made.monitors.write("s3://monitors/payments.joblib", stored.getvalue())
    past["p_fraud"] = model.predict_proba(past[FEATURES])[:, 1]
    columns = [*FEATURES, "fraud", "p_fraud"]
    made.payments.write("s3://payments/train/0.parquet", past[columns].to_parquet())
    night = generate_payments(0, fault="unit_change")[[*FEATURES, "fraud"]]
    made.payments.write("s3://payments/2026-02-12/0.parquet", night.to_parquet())
    (lines,) = [block for block in code_blocks("docs/cluster.md") if ".save(" in block]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.flyte_env.items():
            patch.setenv(name, value)
        exec(compile(lines, "docs/cluster.md", "exec"), {})  # noqa: S102 - the page is ours
    return made


@dataclass
class Night:
    """What one execution left behind."""

    propeller: Propeller
    outputs: Any
    wandb: WandbServer
    store: Store

    def pod(self, task: str) -> Pod:
        (pod,) = self.propeller.runs_of(task)
        return pod


@pytest.fixture(scope="module")
def night(
    s3: S3Server,
    image: Path,
    archive: Path,
    buckets: Buckets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Night]:
    with WandbServer(keys=[KEY]) as server:
        store = s3.bucket("readme-raw")
        propeller = Propeller(
            archive,
            project=image,
            store=store,
            disk=tmp_path_factory.mktemp("pods"),
            env={"WANDB_BASE_URL": server.url},
            secrets={"wandb/api_key": KEY},
            execution=EXECUTION,
            apart=TRACKED,
        )
        outputs = propeller.launch_plan("payments.nightly", to_literals({}), kickoff=KICKOFF)
        yield Night(propeller, outputs, server, store)


def test_the_cluster_takes_it(archive: Path) -> None:
    assert refusals(load_package(archive)) == []


def test_without_the_fixed_inputs_the_cluster_would_not(archive: Path) -> None:
    compiled: Package = load_package(archive)
    compiled.launch_plans["payments.nightly"].spec.fixed_inputs.Clear()
    assert len(refusals(compiled)) == 3


def test_the_fixed_inputs_are_urls_and_not_paths_of_the_packager(archive: Path) -> None:
    plan = load_package(archive).launch_plans["payments.nightly"]
    fixed = plan.spec.fixed_inputs.literals
    assert {name: fixed[name].scalar.blob.uri for name in fixed} == {
        "model": "s3://monitors/payments.joblib",
        "reference": "s3://monitors/payments.wbmon-profile",
        "baseline": "s3://monitors/payments.wbmon-performancereport",
    }


def test_the_night_fires_on_the_changed_unit_and_remembers_it(
    night: Night, buckets: Buckets
) -> None:
    assert from_literals(night.outputs, {"o0": bool}) == {"o0": True}
    alert = find_run(night.pod("payments.alert").disk)
    assert any("drift.drifted" in each.title for each in alert.alerts)
    assert "s3://monitors/payments.json" in {f"s3://{f}" for f in buckets.monitors.files()}


def test_tracked_tasks_arrive_at_the_server_that_the_environment_names(night: Night) -> None:
    for task in TRACKED:
        logged = find_run(night.pod(task).disk)
        assert night.wandb.run("payments", logged.id).state == "finished"
        assert logged.id == night.pod(task).place.pod_name


def test_the_report_is_read_back_as_the_page_about_clusters_says(
    night: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines,) = [block for block in code_blocks("docs/cluster.md") if "FlyteRemote(" in block]

    class Remote:
        """FlyteRemote as far as the lines need it, with the outputs of the pods above."""

        def __init__(self, config: Any, *, default_project: str, default_domain: str) -> None:
            self.outputs = _resolver(night.outputs)
            self.node_executions = {
                pod.place.node: _Node(_resolver(pod.outputs)) for pod in night.propeller.pods
            }

        def fetch_launch_plan(self, *, name: str) -> str:
            return name

        def execute(self, plan: str, *, inputs: dict[str, Any], wait: bool) -> Remote:
            assert (plan, inputs, wait) == ("payments.nightly", {"kickoff": KICKOFF}, True)
            return self

        def sync(self, execution: Remote, *, sync_nodes: bool) -> Remote:
            assert sync_nodes
            return execution

    monkeypatch.setattr("flytekit.remote.FlyteRemote", Remote)
    names: dict[str, Any] = {}
    with night.store.flyte_context():
        exec(compile(lines, "docs/cluster.md", "exec"), names)  # noqa: S102 - the page is ours

    assert names["fired"] is True
    assert isinstance(names["report"], DriftReport)
    assert names["report"].drifted
    assert names["report"].reason in capsys.readouterr().out


@dataclass
class _Node:
    outputs: LiteralsResolver


def _resolver(outputs: Any) -> LiteralsResolver:
    return LiteralsResolver(dict(LiteralMapModel.from_flyte_idl(outputs).literals))
