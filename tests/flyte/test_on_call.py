"""Two nights with memory, channels and gates on S3; and a monitor that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import Decision, PerformanceReport, Profile
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from support.package import workflows_image
from support.propeller import (
    Propeller,
    Store,
    WorkflowFailed,
    from_literals,
    package,
    to_literals,
)
from support.receiver import Hook, web_hook
from support.s3 import S3Server
from support.wandb_log import find_run
from support.wandb_server import WandbServer
from workflows.reference_profile import payments_reference

KEY = "0123456789" * 4
PROJECT = Path(__file__).parent / "project"
# in the first night everything is well, in the second a sensor is broken
NIGHTS = [datetime(2026, 2, day, 2, tzinfo=timezone.utc) for day in (12, 13)]
# the month of the nights, whenever the pods run
RUN = "payments-2026-02"


@dataclass
class Nights:
    """What two executions left behind."""

    answers: list[str]
    propellers: list[Propeller]
    memory: AlertMemory
    store: Store
    hook: Hook
    wandb: WandbServer

    @property
    def decisions(self) -> list[Decision]:
        """What was decided in each night."""
        found = []
        for propeller in self.propellers:
            (pod,) = propeller.runs_of("on_call.alert")
            with self.store.flyte_context():
                found.append(from_literals(pod.outputs, {"decision": Decision})["decision"])
        return found


@pytest.fixture(scope="module")
def nights(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    folder = tmp_path_factory.mktemp("on-call")
    store = s3.bucket("on-call")
    with WandbServer(keys=[KEY]) as server, web_hook() as hook:
        host = f'resume="allow", api_host="{server.url}",'
        image = workflows_image(folder / "image", "on_call", but=('resume="allow",', host))
        state = store.url("state")
        compiled = package(image, ["workflows.on_call"], env={"WBMON_SHARED": store.root})
        with pytest.MonkeyPatch.context() as patch:
            # flytekit's local cache outlives the temporary files that it points to
            patch.setenv("FLYTE_LOCAL_CACHE_ENABLED", "false")
            reference = payments_reference(n_rows=500)
        with store.flyte_context():
            fixed = to_literals(
                {
                    "model": FlyteFile(str(reference.model)),
                    "profile": reference.profile,
                    "baseline": reference.baseline,
                    "n_rows": 2000,
                },
                types={
                    "model": FlyteFile,
                    "profile": Profile,
                    "baseline": PerformanceReport,
                    "n_rows": int,
                },
            )
        propellers, answers = [], []
        for number, kickoff in enumerate(NIGHTS):
            propeller = Propeller(
                compiled,
                project=image,
                store=store,
                disk=folder / f"pods{number}",
                secrets={"wandb/api_key": KEY, "alerts/on_call": hook.url},
                execution=f"oncall{number}",
                apart=["on_call.alert"],
            )
            inputs = to_literals({"kickoff": kickoff})
            inputs.MergeFrom(fixed)
            outputs = propeller.workflow("workflows.on_call.watch_payments", inputs)
            answers.append(from_literals(outputs, {"o0": str})["o0"])
            propellers.append(propeller)
        with store.flyte_context() as context:
            uri = f"{state}/payments.json"
            memory = MemoryFile(uri, context.file_access.get_filesystem_for_path(uri)).read()
        yield Nights(answers, propellers, memory, store, hook, server)


def test_the_severity_chose_what_was_done(nights: Nights) -> None:
    assert nights.answers[0] == "go on"
    assert nights.answers[1].startswith("review: 1 of 3 rules fire")


def test_the_second_night_remembered_the_first(nights: Nights) -> None:
    assert [night.at for night in nights.memory.history] == NIGHTS
    assert nights.memory.state.rules["drift"].phase == "firing"
    assert nights.memory.outbox == ()
    first, second = nights.decisions
    assert first.changes == ()
    assert "drift: ok → firing" in second.changes
    assert "drifts now: distance_km" in second.changes


def test_people_were_told_once_and_where_to_look(nights: Nights) -> None:
    (message,) = nights.hook.received
    assert message["title"] == "drift"
    assert "distance_km" in message["message"]
    assert "What to do: https://wiki.example.com/payments-monitor" in message["message"]
    assert f"/runs/{RUN}" in message["message"]
    assert "/executions/oncall1/" in message["message"]
    assert [alert.title for alert in nights.wandb.alerts] == ["drift"]


def test_the_month_is_one_run_with_a_row_a_night(nights: Nights) -> None:
    run = nights.wandb.run("wbmon-demo", RUN)
    assert run.column("night") == [night.timestamp() for night in NIGHTS]
    assert run.column("alerts/fired") == [0, 1]
    assert len(run.history) == len(NIGHTS)


def test_the_pages_lead_to_each_other(nights: Nights) -> None:
    index = nights.store.read(nights.store.url("state", "payments.html"))
    assert index is not None
    assert f"/runs/{RUN}".encode() in index
    assert b"/executions/oncall0/" in index
    (pod,) = nights.propellers[1].runs_of("on_call.alert")
    assert "payments.html" in pod.deck
    assert "Since last night" in pod.deck
    assert "/executions/oncall1/" in find_run(pod.disk).notes


def test_only_the_tracked_node_with_a_channel_had_the_secrets(nights: Nights) -> None:
    pods = [pod for propeller in nights.propellers for pod in propeller.pods]
    for name in ("api_key", "on_call"):
        having = {pod.task for pod in pods if list((pod.disk / "secrets").rglob(name))}
        assert having == {"on_call.alert"}


def test_the_address_of_the_channel_is_written_nowhere(nights: Nights) -> None:
    secret = b"T0KENT0KEN"
    for file in nights.store.files():
        assert secret not in (nights.store.read(file) or b""), file
    for propeller in nights.propellers:
        for pod in propeller.pods:
            assert secret.decode() not in pod.log + pod.deck


def test_a_monitor_that_fails_says_so(cluster: Callable[..., Propeller]) -> None:
    with web_hook() as hook:
        compiled = package(PROJECT, ["watched"])
        propeller = cluster(compiled, project=PROJECT, secrets={"alerts/on_call": hook.url})
        kickoff = NIGHTS[0] + timedelta(days=1)
        with pytest.raises(WorkflowFailed):
            propeller.workflow("watched.watched", to_literals({"kickoff": kickoff, "n_rows": 3}))
    failed, pod = propeller.pods
    assert failed.exit_code == 0
    assert pod.task == "watched.failed"
    assert pod.succeeded
    (message,) = hook.received
    assert message["title"] == "monitor failed"
    assert "no rows" in message["message"]
    assert "2026-02-13 02:00 UTC" in message["message"]
    assert "abcdefgh12345678" not in message["message"] + pod.deck
