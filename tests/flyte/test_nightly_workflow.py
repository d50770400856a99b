"""The nightly story from its launch plan, with everything on S3 and tracked tasks in pods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from support.package import workflows_image
from support.propeller import (
    Pod,
    Propeller,
    Store,
    from_literals,
    package,
    to_literals,
)
from support.s3 import S3Server
from support.wandb_log import LoggedRun, find_run, find_runs
from support.wandb_server import WandbServer

KEY = "0123456789" * 4
EXECUTION = "nightly20260213"
TRACKED = ("payments.drift", "payments.alert")
# in the night before, a sensor was broken: the distance is missing in 30 % of the rows
KICKOFF = datetime(2026, 2, 13, 2, tzinfo=timezone.utc)


@dataclass
class WindowSummary:
    """What one execution left behind."""

    propeller: Propeller
    store: Store
    fired: bool
    page: str
    wandb: WandbServer

    def pod(self, task: str) -> Pod:
        (pod,) = self.propeller.runs_of(task)
        return pod

    def run(self, task: str) -> LoggedRun:
        return find_run(self.pod(task).disk)


@pytest.fixture(scope="module")
def night(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowSummary]:
    folder = tmp_path_factory.mktemp("nightly")
    with WandbServer(keys=[KEY]) as server:
        host = f'secret=KEY, api_host="{server.url}")'
        image = workflows_image(folder / "image", "nightly_monitoring", but=("secret=KEY)", host))
        store = s3.bucket("nightly")
        propeller = Propeller(
            package(image, ["workflows.nightly_monitoring"]),
            project=image,
            store=store,
            disk=folder / "pods",
            secrets={"wandb/api_key": KEY},
            execution=EXECUTION,
            apart=TRACKED,
        )
        outputs = propeller.launch_plan("payments.nightly", to_literals({}), kickoff=KICKOFF)
        with store.flyte_context():
            values = from_literals(outputs, {"fired": bool, "page": FlyteFile})
            page = Path(values["page"]).read_text()
        yield WindowSummary(propeller, store, fired=values["fired"], page=page, wandb=server)


def test_the_kickoff_time_chose_the_faulty_night_and_the_alert_fired(night: WindowSummary) -> None:
    assert night.fired
    decision = night.run("payments.alert")
    assert decision.column("alerts/fired") == [1]
    assert any("drift.drifted" in alert.title for alert in decision.alerts)


def test_the_drift_run_holds_metrics_config_and_outcome(night: WindowSummary) -> None:
    run = night.run("payments.drift")
    assert run.column("drift/drifted") == [1]
    assert run.column("drift/missing_current/distance_km")[0] == pytest.approx(0.3, abs=0.03)
    assert run.column("drift/missing_current/amount") == [0]
    assert run.column("drift/effect_size/amount")[0] < 0.1
    assert run.exit_code == 0
    assert (run.project, run.entity, run.group) == ("wbmon-demo", "my-team", EXECUTION)
    assert run.user_config["flyte"]["execution"] == EXECUTION
    assert run.user_config["flyte"]["task"] == "payments.drift"
    assert run.user_config["flyte"]["version"] == "v1"
    assert f"/executions/{EXECUTION}/nodeId/" in run.notes


def test_what_the_pods_logged_arrived_at_wandb_and_nothing_was_kept(night: WindowSummary) -> None:
    for task in TRACKED:
        logged = night.run(task)
        served = night.wandb.run(logged.project, logged.id)
        assert served.state == "finished"
        assert len(served.history) == len(logged.history)
        assert served.config["flyte"]["execution"] == EXECUTION
    sent = night.run("payments.alert").alerts
    assert [alert.title for alert in night.wandb.alerts] == [alert.title for alert in sent]
    assert [artifact for artifact in night.wandb.artifacts if not artifact.committed] == []
    assert [file for file in night.store.files() if file.endswith(".wandb")] == []


def test_only_tracked_tasks_have_a_run_and_the_secret(night: WindowSummary) -> None:
    with_run = {pod.task for pod in night.propeller.pods if find_runs(pod.disk)}
    with_secret = {
        pod.task for pod in night.propeller.pods if list((pod.disk / "secrets").rglob("api_key"))
    }
    assert with_run == with_secret == set(TRACKED)


def test_every_run_is_named_after_its_pod(night: WindowSummary) -> None:
    for task in TRACKED:
        assert night.run(task).id == night.pod(task).place.pod_name


def test_each_node_shows_its_report_on_its_deck(night: WindowSummary) -> None:
    assert "Drift report" in night.pod("payments.drift").deck
    assert "distance_km" in night.pod("payments.drift").deck
    assert "Decision" in night.pod("payments.alert").deck
    assert "Scoring report" in night.pod("score_payments").deck
    assert "Performance report" in night.propeller.runs_of("payments.performance")[-1].deck


def test_predictions_are_a_dataset_on_s3_that_another_task_can_open(night: WindowSummary) -> None:
    outputs = night.pod("score_payments").outputs
    assert outputs is not None
    with night.store.flyte_context():
        scored = from_literals(outputs, {"predictions": StructuredDataset})["predictions"]
        frame = scored.open(pd.DataFrame).all()
    assert scored.literal.uri.startswith("s3://nightly/")
    assert len(frame) == 5000
    assert frame["p_fraud"].between(0, 1).all()


def test_the_page_says_what_happened(night: WindowSummary) -> None:
    assert "distance_km" in night.page
    assert "missing" in night.page


def test_the_fixed_inputs_of_the_launch_plan_were_used(night: WindowSummary) -> None:
    assert night.run("payments.drift").column("drift/n_current") == [5000]


def test_every_pod_succeeded_at_its_first_attempt(night: WindowSummary) -> None:
    assert {pod.place.attempt for pod in night.propeller.pods} == {0}
    assert all(pod.succeeded for pod in night.propeller.pods)
