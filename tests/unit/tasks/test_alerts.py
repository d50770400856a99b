from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from flytekit import Secret, conditional, task, workflow

from flytekitplugins.wbmon import (
    AlertRule,
    Channel,
    DeadManCheck,
    DegradationAlert,
    DriftReport,
    MonitorFailure,
    PageBudget,
    wandb_init,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from support.examples import AT, drift_report, performance_report, scoring_report, slo_report
from support.in_process import execute, in_pod, pod_context
from support.place import Place
from support.receiver import Hook
from support.wandb_log import find_run

DAY = timedelta(days=1)
KEY = Secret(group="wandb", key="api_key")
HOOK = Channel(secret=Secret(group="alerts", key="hook"), name="hook", min_severity="warn")
RULE = AlertRule(metric="drift.drifted", above=0, name="drift", severity="error")
tracked = wandb_init(project="payments", entity="ops", secret=KEY, mode="offline")


def firing_report() -> DriftReport:
    return drift_report()


def alert_node(
    folder: Path, *, name: str = "payments.alert", **settings: object
) -> DegradationAlert:
    return DegradationAlert(
        name,
        **{
            "rules": [RULE],
            "channels": [HOOK],
            "state_uri": (folder / "payments.json").as_uri(),
            **settings,
        },
    )


def test_the_channels_and_the_memory_survive_the_trip_to_the_pod(tmp_path: Path) -> None:
    node = alert_node(tmp_path, remind_after=3 * DAY, keep_nights=10)
    again = in_pod(node)
    assert again.config == node.config
    assert again.config.channels == (HOOK,)
    assert again.config.remind_after == 3 * DAY


@pytest.mark.parametrize("budget", [None, PageBudget(false_pages_per_year=4)])
def test_the_budget_of_false_pages_survives_the_trip_to_the_pod(budget: PageBudget | None) -> None:
    node = DegradationAlert("budgeted", rules=[RULE], budget=budget)
    assert in_pod(node).config.budget == budget


def test_the_secrets_of_the_channels_are_requested_beside_the_runs_own(tmp_path: Path) -> None:
    other = Secret(group="db", key="password")
    node = tracked(alert_node(tmp_path, secret_requests=[other, HOOK.secret]))
    asked = [(secret.group, secret.key) for secret in node.security_context.secrets]
    assert asked == [("db", "password"), ("alerts", "hook"), ("wandb", "api_key")]


def test_a_tracked_node_in_a_pod_tells_the_run_and_the_channel_once(
    hook: Hook, tmp_path: Path
) -> None:
    node = in_pod(tracked(alert_node(tmp_path)))
    for attempt in range(2):
        place = Place(attempt=attempt)
        with pod_context(tmp_path / str(attempt), place=place, task=node.name) as context:
            os.environ["WANDB_DIR"] = str(tmp_path / f"disk{attempt}")
            decided = execute(context, node, drift=firing_report(), at=AT)
        assert decided["fired"]
    assert hook.titles == ["drift"]
    (message,) = hook.received
    assert "W&B run: https://wandb.ai/ops/payments/runs/" in message["message"]
    assert "Flyte execution: http://flyte.example.com" in message["message"]
    first = find_run(tmp_path / "disk0")
    assert [alert.title for alert in first.alerts] == ["drift"]
    assert find_run(tmp_path / "disk1").alerts == []
    memory = MemoryFile(str(tmp_path / "payments.json")).read()
    assert memory.state.rules["drift"].n_windows == 1
    assert memory.outbox == ()


def test_a_report_that_rules_need_and_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    rules = [RULE, AlertRule(metric="performance.accuracy", below=0.5)]
    node = DegradationAlert("t.alert", rules=rules)
    decided = node(performance=performance_report(), at=AT)
    assert decided.decision.findings == ("no drift report came; its rules cannot be judged",)
    assert decided.fired is False


def test_a_missed_objective_of_a_service_pages_like_anything_else(
    hook: Hook, tmp_path: Path
) -> None:
    rules = [
        AlertRule(metric="slo.up", above=0, name="up", severity="error"),
        AlertRule(metric="serving.error_rate", above=0.5),
        AlertRule(metric="experiment.worse", above=0),
    ]
    node = in_pod(alert_node(tmp_path, rules=rules))
    with pod_context(tmp_path / "pod", place=Place(), task=node.name) as context:
        decided = execute(context, node, slo=slo_report(), at=AT)
    assert (decided["fired"], decided["severity"]) == (True, "error")
    assert hook.titles == ["up"]
    assert "95% of 900 requests were good" in hook.received[0]["message"]
    assert decided["decision"].findings == (
        "no serving report came; its rules cannot be judged",
        "no experiment report came; its rules cannot be judged",
    )


@pytest.mark.parametrize("given", [{"slo": slo_report()}, {"scoring": scoring_report()}, {}])
def test_objectives_may_come_from_scoring_or_from_a_service(given: dict[str, object]) -> None:
    node = DegradationAlert("t.alert", rules=[AlertRule(metric="slo.violated", above=0)])
    decided = node(**given, at=AT)
    assert decided.fired is bool(given)
    missing = "no slo report came; its rules cannot be judged"
    assert decided.decision.findings == (() if given else (missing,))


def test_a_local_run_without_the_channels_secret_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = alert_node(tmp_path)
    decided = node(drift=firing_report(), at=AT)
    assert decided.fired
    assert decided.decision.findings == ()
    assert "nobody is told by this local run" in caplog.text
    assert MemoryFile(node.config.state_uri).read().outbox == ()


@task
def answer(text: str) -> str:
    return text


branching = DegradationAlert("branch.alert", rules=[RULE])


@workflow
def gated(drift: DriftReport) -> str:
    decided = branching(drift=drift, at=AT)
    return (
        conditional("act")
        .if_(decided.severity == "error")
        .then(answer(text="retrain"))
        .elif_(decided.fired.is_true())
        .then(answer(text="page"))
        .else_()
        .then(answer(text="sleep"))
    )


def test_the_severity_is_a_gate() -> None:
    assert gated(drift=firing_report()) == "retrain"


def test_a_heartbeat_check_fires_for_a_monitor_that_never_reported(
    hook: Hook, tmp_path: Path
) -> None:
    check = DeadManCheck(
        "t.deadman",
        watched_uri=str(tmp_path / "never.json"),
        state_uri=str(tmp_path / "deadman.json"),
        channels=[HOOK],
    )
    for number in range(2):
        assert in_pod(check).compute(at=AT + number * DAY).severity == "error"
    assert hook.titles == ["no report for 26 h"]


def test_a_heartbeat_check_is_quiet_while_reports_come_and_fires_after_a_silent_night(
    tmp_path: Path,
) -> None:
    node = alert_node(tmp_path, channels=())
    check = DeadManCheck(
        "t.deadman",
        watched_uri=node.config.state_uri,
        state_uri=str(tmp_path / "deadman.json"),
    )
    node(drift=firing_report(), at=AT)
    assert check(at=AT + timedelta(hours=4)).fired is False
    silent = check(at=AT + DAY + timedelta(hours=4))
    assert silent.fired is True
    assert "28" in silent.decision.reason
    node(drift=firing_report(), at=AT + 2 * DAY)
    over = check(at=AT + 2 * DAY + timedelta(hours=4))
    assert over.decision.alerts[0].phase == "resolved"


@pytest.mark.parametrize("content", [b"", b"rows"])
def test_a_heartbeat_check_looks_at_the_newest_partition(tmp_path: Path, content: bytes) -> None:
    data = tmp_path / "service=pay"
    for day in ("dt=2026-02-03", "dt=2026-02-04"):
        (data / day).mkdir(parents=True)
    (data / "dt=2026-02-03" / "part-0.parquet").write_bytes(b"rows")
    newest = data / "dt=2026-02-04" / "part-0.parquet"
    newest.write_bytes(content)
    written = (AT - timedelta(hours=3)).timestamp()
    os.utime(newest, (written, written))
    check = DeadManCheck("t.deadman", data_uri=str(tmp_path), max_age=timedelta(hours=5))
    decided = check(at=AT)
    assert decided.fired is (content == b"")
    assert check(at=AT + timedelta(hours=3)).fired is True


def test_a_heartbeat_check_takes_a_broken_memory_for_no_sign_of_life(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    decided = DeadManCheck("t.deadman", watched_uri=str(tmp_path / "m.json"))(at=AT)
    assert decided.fired
    assert "m.json" in decided.decision.findings[0]


def test_another_node_with_the_same_state_file_tells_its_fault_and_fails(
    hook: Hook, tmp_path: Path
) -> None:
    nodes = [alert_node(tmp_path), alert_node(tmp_path, name="payments.other")]
    for number in range(2):
        with pod_context(tmp_path / f"a{number}", task=nodes[0].name) as context:
            execute(context, nodes[0], drift=firing_report(), at=AT + number * DAY)
    with (
        pod_context(tmp_path / "b", task=nodes[1].name),
        pytest.raises(ConfigError, match=r"that of 'payments\.alert' in"),
    ):
        nodes[1].execute(drift=firing_report(), at=AT + DAY)
    assert hook.titles == ["drift", "drift"]
    assert "give it a state_uri of its own" in hook.received[1]["message"]
    memory = MemoryFile(str(tmp_path / "payments.json")).read()
    assert (memory.monitor, memory.state.rules["drift"].n_windows) == ("payments.alert", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DegradationAlert("a", rules=[RULE], channels=[HOOK, HOOK]), "different names"),
        (lambda: DegradationAlert("a", rules=[RULE], keep_nights=0), "keep_nights"),
        (lambda: DegradationAlert("a", rules=[RULE], keep_nights=2.5), "keep_nights"),
        (lambda: DegradationAlert("a", rules=[RULE, RULE]), "different titles"),
        (lambda: DegradationAlert("a", rules=["drift.drifted"]), "must hold AlertRules"),
        (lambda: DegradationAlert("a", rules=[RULE], channels=["slack://x"]), "hold Channels"),
        (lambda: DegradationAlert("a", rules=[RULE], remind_after=3), "remind_after must be a pos"),
        (lambda: DegradationAlert("a", rules=[RULE], remind_after=-DAY), "remind_after"),
        (lambda: DegradationAlert("a", rules=[RULE], state_uri=Path("a")), "state_uri must be te"),
        (lambda: DegradationAlert("a", rules=[RULE], budget=1), "budget must be a PageBudget"),
        (lambda: Channel(secret=HOOK.secret, timeout_s="5"), "write 5 without quotes"),
        (lambda: Channel(secret=HOOK.secret, timeout_s=float("nan")), "timeout_s must be posit"),
        (lambda: Channel(secret=HOOK.secret, name=5), "name must be text"),
        (lambda: Channel(secret=HOOK.secret, min_severity="loud"), "info, warn or error"),
        (lambda: DeadManCheck("d", data_uri="a", max_age=26), "max_age must be a positive time"),
        (lambda: DeadManCheck("d", data_uri=Path("a")), "data_uri must be text"),
        (lambda: DeadManCheck("d", data_uri="a", owner=5), "owner must be text"),
        (lambda: MonitorFailure("f", inputs=[("a", str)]), "inputs must be a mapping"),
        (lambda: MonitorFailure("f", inputs={"a": str}, runbook=5), "runbook must be text"),
        (lambda: DeadManCheck("d"), "must watch something"),
        (lambda: DeadManCheck("d", watched_uri="a", state_uri="a"), "other than the one"),
        (lambda: DeadManCheck("d", data_uri="a", max_age=timedelta(0)), "max_age"),
        (lambda: MonitorFailure("f", inputs={"err": str}), "none called err"),
        (lambda: MonitorFailure("f", inputs={"a": str}, at="b"), "one of them"),
    ],
)
def test_a_node_that_cannot_work_is_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
