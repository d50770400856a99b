"""What must hold with every release of flytekit, wandb and the data libraries that is supported.

`make matrix` runs this module in environments with old and new releases. It needs pytest and what
the package itself needs, nothing else.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flytekit import Deck, Secret, task, workflow
from flytekit.types.structured import StructuredDataset
from sklearn.linear_model import LogisticRegression

import wandb
from flytekitplugins import wbmon
from flytekitplugins.wbmon.delivery.runs.wandb_internals import live_sync
from support.child import start_python
from support.in_process import execute, pod_context
from support.literals import from_literals, to_literals
from support.package import load_package, package
from support.propeller import Propeller
from support.waiting import wait_until
from support.wandb_faults import Fault
from support.wandb_log import find_run
from support.wandb_server import KEY, ServedRun, WandbServer

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parent / "project"
FEATURES = ["amount", "hour"]

WRITER = """
import time
from flytekitplugins.wbmon import current_run, wandb_init

@wandb_init(project="p", entity="ops", {settings})
def train() -> None:
    for row in range(400):
        current_run().log({{"row": row}})
        print(row, flush=True)
        time.sleep(0.05)

train()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; nobody's login and no run is left open."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert wandb.run is None, "a run is still open"


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server
        assert server.unknown == []


def tracked(server: WandbServer, run_id: str, **changes: Any) -> Any:
    settings = {"project": "p", "entity": "ops", "secret": lambda: KEY, "api_host": server.url}
    return wbmon.wandb_init(**{**settings, "id": run_id, "delivery_timeout_s": 30, **changes})


def log_everything(n_rows: int) -> None:
    """Rows, a table, a page, an alert and an artifact to the run of the task."""
    run = wbmon.current_run()
    assert run is not None
    for row in range(n_rows):
        wandb.log({"row": row})
    run.log({"table": wandb.Table(columns=["a"], data=[[1]]), "page": wandb.Html("<b>hi</b>")})
    run.summary["best"] = 4
    run.alert("title", "text", level=wandb.AlertLevel.WARN, wait_duration=300)
    artifact = wandb.Artifact("report", "report")
    with artifact.new_file("report.txt") as file:
        file.write("content")
    run.log_artifact(artifact)


def assert_arrived(server: WandbServer, run_id: str, n_rows: int) -> ServedRun:
    served = server.run("p", run_id)
    assert served.column("row") == list(range(n_rows))
    assert served.summary["best"] == 4
    assert [alert.title for alert in server.alerts] == ["title"]
    assert {one.committed for one in server.artifacts} == {True}
    assert {one.name for one in server.artifacts} >= {"report"}
    assert [path for path in served.files if path.startswith("media/html/")]
    return served


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in wbmon.__all__ if getattr(wbmon, name).__name__ != name] == []


def test_an_offline_task_writes_a_whole_run(folder: Path) -> None:
    @wbmon.wandb_init(project="p", entity="ops", mode="offline", config={"depth": 3}, tags=["a"])
    @task
    def train() -> int:
        log_everything(5)
        return 1

    assert train() == 1
    run = find_run(folder)
    assert run.column("row") == list(range(5))
    assert run.exit_code == 0
    assert [alert.title for alert in run.alerts] == ["title"]
    assert "report" in {artifact.name for artifact in run.artifacts}


def test_a_killed_task_loses_a_second_at_most(folder: Path) -> None:
    script = WRITER.format(settings='mode="offline"')
    with start_python(script, home=folder / "home", cwd=folder) as process:
        n_logged = _rows_until(process, 100)
        process.send_signal(signal.SIGKILL)
    kept = find_run(folder, settle_s=0).column("row")
    # two seconds: one that is promised, one for a machine that is busy
    assert len(kept) >= n_logged - 2 / 0.05
    assert kept == list(range(len(kept)))


def test_what_a_killed_task_left_is_delivered_as_failed(folder: Path, server: WandbServer) -> None:
    script = WRITER.format(settings=f'id="killed", secret=lambda: "{KEY}", api_host="{server.url}"')
    with start_python(script, home=folder / "home", cwd=folder) as process:
        n_logged = _rows_until(process, 100)
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: bool(server.runs) and server.runs[0].state == "failed", timeout_s=60)
    assert len(server.run("p", "killed").column("row")) >= n_logged - 2 / 0.05


def _rows_until(process: subprocess.Popen[str], n: int) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(n):
            return n
    raise AssertionError("the process ended before it had logged so many rows")


def test_a_run_is_delivered_while_it_is_written(server: WandbServer) -> None:
    n_served = 0

    @tracked(server, "live")
    @task
    def train() -> int:
        nonlocal n_served
        log_everything(20)
        if live_sync() is not None:
            wait_until(lambda: bool(server.runs) and len(server.runs[0].lines) >= 20)
        n_served = len(server.runs[0].lines) if server.runs else 0
        return 1

    assert train() == 1
    served = assert_arrived(server, "live", 20)
    assert served.state == "finished"
    assert served.exit_code == 0
    assert n_served >= 20 or live_sync() is None


def test_a_failed_task_is_a_failed_run(server: WandbServer) -> None:
    @tracked(server, "failed")
    @task
    def train() -> None:
        log_everything(3)
        raise ValueError("boom")

    with pytest.raises(Exception, match="boom"):
        train()
    served = assert_arrived(server, "failed", 3)
    assert (served.state, served.exit_code) == ("failed", 1)
    assert served.summary["error_type"] == "ValueError"


def test_an_outage_costs_no_data_and_no_failure(
    folder: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(folder / "store")
    server.fault = Fault("status", status=503)

    @tracked(server, "late", delivery_timeout_s=3, offline_store=store)
    @task
    def train() -> int:
        log_everything(4)
        return 1

    assert train() == 1
    server.fault = None
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    sync = wbmon.SyncOfflineRuns(
        "smoke.sync",
        secret=Secret(group="wandb", key="api_key"),
        api_host=server.url,
        offline_store=store,
    )
    for _ in range(2):  # the second time there is nothing left to send
        sync()
        assert assert_arrived(server, "late", 4).state == "finished"


@pytest.mark.parametrize("is_up", [True, False])
def test_the_online_mode_delivers_or_falls_back(
    folder: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, *, is_up: bool
) -> None:
    if not is_up:
        server.fault = Fault("refuse")

    monkeypatch.setenv("WANDB_BASE_URL", server.url)

    @tracked(server, "online", delivery="online", delivery_timeout_s=10)
    @task
    def train() -> int:
        log_everything(4)
        return 1

    assert train() == 1
    if is_up:
        assert assert_arrived(server, "online", 4).state == "finished"
    else:
        assert find_run(folder).column("row") == list(range(4))


def test_a_run_that_is_switched_off_takes_everything_and_writes_nothing(folder: Path) -> None:
    @wbmon.wandb_init(enabled=False)
    @task
    def train() -> int:
        run = wbmon.current_run()
        assert run is not None
        run.log({"row": 1})
        run.alert("title", "text")
        wandb.log({"row": 2})
        return 3

    assert train() == 3
    assert list(folder.glob("wandb/*run-*")) == []


def test_two_tasks_of_a_workflow_have_two_runs() -> None:
    seen = []

    @wbmon.wandb_init(project="p", entity="ops", mode="offline")
    @task
    def train(row: int) -> int:
        run = wbmon.current_run()
        assert run is not None
        seen.append(run.id)
        return row

    @workflow
    def both() -> int:
        train(row=1)
        return train(row=2)

    assert both() == 2
    assert len(set(seen)) == 2


def payments(n: int, *, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    amount = rng.normal(shift, 1, n)
    fraud = (amount + rng.normal(0, 1, n) > shift).astype(int)
    frame = pd.DataFrame(
        {
            "amount": amount,
            "hour": rng.integers(0, 24, n),
            "country": rng.choice(["de", "fr", "it"], n),
            "at": pd.date_range("2026-01-01", periods=n, freq="min", tz="UTC"),
            "fraud": fraud,
        }
    )
    frame.loc[:10, "amount"] = np.nan
    return frame


def test_the_nightly_check_fires(folder: Path) -> None:
    past, night = payments(3000), payments(2000, shift=0.8, seed=1)
    usable = past.dropna()
    model = LogisticRegression().fit(usable[FEATURES], usable["fraud"])

    @wbmon.batch_scoring()
    def score(batch: pd.DataFrame) -> pd.DataFrame:
        filled = batch[FEATURES].fillna(0.0)
        return pd.DataFrame({"p_fraud": model.predict_proba(filled)[:, 1]})

    profile = wbmon.ProfileData("smoke.profile")
    drift = wbmon.DriftCheck("smoke.drift")
    performance = wbmon.PerformanceCheck(
        "smoke.performance", task="classification", label="fraud", prediction="p_fraud"
    )
    alert = wbmon.wandb_init(project="p", entity="ops", mode="offline")(
        wbmon.DegradationAlert(
            "smoke.alert", rules=[wbmon.AlertRule(metric="drift.drifted", above=0)]
        )
    )

    @workflow
    def nightly(past: StructuredDataset, night: StructuredDataset) -> bool:
        before, now = score(data=past), score(data=night)
        reference = profile(data=before.predictions)
        checked = drift(reference=reference, current=profile(data=now.predictions, like=reference))
        baseline = performance(data=before.predictions)
        measured = performance(data=now.predictions, baseline=baseline.report)
        return alert(drift=checked.report, performance=measured.report).fired

    assert nightly(past=StructuredDataset(past), night=StructuredDataset(night)) is True
    rows = find_run(folder).history
    assert any(name.startswith("alerts/") for row in rows for name in row)


def test_the_same_data_in_every_container_has_not_drifted(folder: Path) -> None:
    frame = payments(1000).assign(
        category=pd.Categorical(["u", "v"] * 500), whole=pd.array([1, None] * 500, dtype="Int64")
    )
    table = pa.Table.from_pandas(frame)
    pq.write_table(table, folder / "data.parquet")
    reference = wbmon.profile_data(frame)
    for data in (frame, table, str(folder / "data.parquet")):
        current = wbmon.profile_data(data, like=reference)
        report = wbmon.check_drift(reference, current)
        assert not report.drifted
        assert {one.n_current for one in report.features.values()} <= {1000, 989, 500}
    reference.save(str(folder / "reference"))
    assert wbmon.Profile.load(str(folder / "reference")).features.keys() == set(frame.columns)
    moved = wbmon.profile_data(payments(1000, shift=0.8), like=reference)
    assert wbmon.check_drift(reference, moved).features["amount"].drifted


def test_a_reference_that_was_promoted_is_loaded_by_its_alias_in_wandb(
    folder: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    settings = {"model": "payments", "record": wbmon.Profile}
    promote = tracked(server, "promotion")(
        wbmon.PromoteReference("smoke.promote", uri=str(folder / "a"), reason="new", **settings)
    )
    assert promote(record=wbmon.profile_data(payments(500))).promoted
    load = wbmon.LoadReference(
        "smoke.load",
        uri=str(folder / "b"),
        wandb_artifact="ops/p/payments-profile:production",
        api_host=server.url,
        **settings,
    )
    assert load().n_rows == 500
    server.fault = Fault("refuse")
    assert load().n_rows == 500


def test_drift_can_be_ranked_by_importance() -> None:
    frame = payments(500).dropna()
    model = LogisticRegression().fit(frame[FEATURES], frame["fraud"])
    weights = wbmon.permutation_importance(model, frame, label="fraud", features=FEATURES)
    assert max(weights, key=weights.__getitem__) == "amount"


def test_a_model_of_the_loss_takes_its_trees_from_scikit_learn(folder: Path) -> None:
    rng = np.random.default_rng(1)
    frame = payments(1000)
    off = rng.normal(size=1000) * np.where(frame["hour"] < 12, 1.0, 3.0)
    frame = frame.assign(sold=rng.normal(size=1000), forecast=lambda of: of["sold"] + off)
    model = wbmon.fit_loss_model(frame, label="sold", prediction="forecast", features=FEATURES)
    model.save(folder / "loss")
    late = frame[frame["hour"] >= 12]
    report = wbmon.estimate_loss(late, model=wbmon.LossModel.load(folder / "loss"))
    truth = (late["sold"] - late["forecast"]).abs().mean()
    assert report.metrics["mae"].value == pytest.approx(truth, rel=0.1)


def test_a_node_puts_its_report_on_the_deck_of_a_pod(folder: Path) -> None:
    drift = wbmon.DriftCheck("smoke.deck", enable_deck=True)
    profile = wbmon.profile_data(payments(500))
    with pod_context(folder / "pod", task="smoke.deck") as context:
        outputs = execute(context, drift, reference=profile, current=profile)
        decks: list[Deck] = context.user_space_params.decks
        pages = "".join(deck.html for deck in decks)
    assert outputs["drifted"] is False
    assert "amount" in pages


def test_tracked_tasks_run_in_pods_of_their_own(
    cluster: Callable[..., Propeller], server: WandbServer
) -> None:
    env = {"API_HOST": server.url}
    propeller = cluster(
        load_package(package(PROJECT, ["story"], env=env)),
        project=PROJECT,
        env=env,
        secrets={"wandb/api_key": KEY},
        apart=("make", "drift"),
    )
    outputs = propeller.workflow("story.story", to_literals({"shift": 1.0}))
    assert from_literals(outputs, {"o0": bool}) == {"o0": True}
    (drift,) = propeller.runs_of("drift")
    assert "Drift report" in drift.deck
    assert {run.state for run in server.runs} == {"finished"}
    assert sorted(run.column("shift") for run in server.runs) == [[], [0.0], [1.0]]
    assert [run.column("drift/drifted") for run in server.runs if run.column("drift/drifted")] == [
        [1]
    ]
