"""Runs that several processes write: no row is lost, and none is taken for another's."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import wandb
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import RunTarget, WandbApi
from flytekitplugins.wbmon.delivery.runs.claim import BusyRunError, RunClaim
from flytekitplugins.wbmon.delivery.runs.served_rows import RowMarks, arrived_rows
from flytekitplugins.wbmon.delivery.runs.sync_store import SyncedRun, sync_store
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.offline_store import open_store
from flytekitplugins.wbmon.run.settings import RunSettings
from support.environment import clean_environment
from support.waiting import wait_until
from support.wandb_faults import Fault
from support.wandb_server import KEY, ServedRun, WandbServer

pytestmark = pytest.mark.slow
TARGET = RunTarget(entity="ops", project="payments", run_id="nights")

NIGHT = """
import sys, time
from flytekitplugins.wbmon import current_run, wandb_init

@wandb_init("payments", "ops", id="nights", resume="allow", offline_store=sys.argv[1])
def night(number):
    for part in range(5):
        current_run().log({"night": number, "part": part})
    time.sleep(1)
    current_run().summary["last"] = number

night(int(sys.argv[2]))
"""


def settings(api_host: str, store: str, **changes: Any) -> RunSettings:
    return RunSettings(
        project="payments",
        entity="ops",
        secret=lambda: KEY,
        api_host=api_host,
        offline_store=store,
        **{"id": "nights", "delivery_timeout_s": 20, "init": {"resume": "allow"}, **changes},
    )


def sync(store: str, server: WandbServer) -> tuple[SyncedRun, ...]:
    return sync_store(open_store(store), api_host=server.url, key=ApiKey(KEY), timeout_s=20)


def steps_and(run: ServedRun, name: str) -> list[tuple[int, Any]]:
    return [(row["_step"], row[name]) for row in run.history if name in row]


def test_nights_that_overlap_in_one_run_lose_no_row(
    server: WandbServer, tmp_path: Path, store: str
) -> None:
    def start(number: int) -> subprocess.Popen[bytes]:
        home = tmp_path / f"pod-{number}"
        home.mkdir()
        env = {**clean_environment(home=home), **server.env}
        return subprocess.Popen(
            [sys.executable, "-c", NIGHT, store, str(number)], cwd=home, env=env
        )

    pods = [start(number) for number in range(3)]
    assert [pod.wait(150) for pod in pods] == [0, 0, 0]
    assert [one.reason for one in sync(store, server) if one.reason] == []
    served = server.run("payments", "nights")
    logged = sorted((row["night"], row["part"]) for row in served.history)
    assert logged == [(night, part) for night in range(3) for part in range(5)]
    # a row a step, and no trace of who wrote
    assert [row["_step"] for row in served.history] == list(range(15))
    assert "writer" not in served.config["flyte"]
    assert served.state == "finished"


def test_given_steps_of_a_resumed_run_stay_what_they_are(server: WandbServer, store: str) -> None:
    for night in (10, 20, 30):
        with open_run(settings(server.url, store)) as run:
            run.log({"night": night}, step=night, commit=True)
            run.log({"after": night})
    served = server.run("payments", "nights")
    assert steps_and(served, "night") == [(10, 10), (20, 20), (30, 30)]
    assert steps_and(served, "after") == [(11, 10), (21, 20), (31, 30)]


def test_an_older_night_that_is_delivered_later_changes_nothing_of_the_newer_one(
    server: WandbServer, store: str
) -> None:
    for night, limit_s in ((1, 0.2), (2, 20)):
        server.fault = Fault("refuse") if night == 1 else None
        with open_run(settings(server.url, store, delivery_timeout_s=limit_s)) as run:
            run.log({"night": night, f"only_{night}": night})
            run.summary["status"] = f"night {night}"
            run.config.update({"night": night, f"of_{night}": True})
    newer = server.run("payments", "nights").history
    assert [one.reason for one in sync(store, server)] == [""]
    served = server.run("payments", "nights")
    assert served.history[: len(newer)] == newer
    assert steps_and(served, "night") == [(0, 2), (1, 1)]
    assert served.summary["night"] == 2
    assert served.summary["status"] == "night 2"
    assert (served.summary["only_1"], served.summary["only_2"]) == (1, 2)
    assert served.config["night"] == 2
    assert served.config["of_1"] is served.config["of_2"] is True


@pytest.mark.parametrize("fails", [1, 2])
def test_the_newest_session_decides_what_a_run_has_only_one_of(
    server: WandbServer, store: str, fails: int
) -> None:
    for night, limit_s in ((1, 0.2), (2, 20)):
        server.fault = Fault("refuse") if night == 1 else None
        about = {"name": f"n{night}", "notes": f"note {night}", "tags": [f"t{night}"]}
        own = settings(
            server.url,
            store,
            delivery_timeout_s=limit_s,
            init={"resume": "allow", **about},
        )
        with suppress(ZeroDivisionError), open_run(own) as run:
            run.log({"night": night})
            if night == fails:
                raise ZeroDivisionError(f"in night {night}")
    assert [one.reason for one in sync(store, server)] == [""]
    served = server.run("payments", "nights")
    assert served.column("night") == [2, 1]
    assert (served.state, served.exit_code) == (("finished", 0) if fails == 1 else ("failed", 1))
    assert served.summary.get("error_message") == (None if fails == 1 else "in night 2")
    assert (served.name, served.tags) == ("n2", ["t2"])
    assert "note 2" in served.notes


def test_a_retry_that_succeeds_does_not_keep_the_error_of_the_first_attempt(
    server: WandbServer, store: str
) -> None:
    for attempt in range(2):
        with suppress(ZeroDivisionError), open_run(settings(server.url, store)) as run:
            run.log({"attempt": attempt, "_of": attempt})
            if attempt == 0:
                raise ZeroDivisionError
    served = server.run("payments", "nights")
    assert (served.state, served.exit_code) == ("finished", 0)
    assert served.column("attempt") == [0, 1]
    assert not {"error_type", "error_message"} & set(served.summary)


def test_a_session_adds_its_tags_to_those_that_the_run_has(server: WandbServer, store: str) -> None:
    with open_run(settings(server.url, store, init={"resume": "allow", "tags": ["base"]})) as run:
        run.tags += ("first",)
    with open_run(settings(server.url, store)) as run:
        run.tags += ("second",)
    assert server.run("payments", "nights").tags == ["base", "first", "second"]
    with open_run(settings(server.url, store, init={"resume": "allow", "tags": ["new"]})):
        pass
    # as wandb has it: the tags that a session begins with replace the others
    assert server.run("payments", "nights").tags == ["new"]


def test_a_newer_night_keeps_what_it_does_not_log_itself(server: WandbServer, store: str) -> None:
    for night in (1, 2):
        with open_run(settings(server.url, store)) as run:
            run.log({"night": night, f"only_{night}": night})
    served = server.run("payments", "nights")
    assert (served.summary["night"], served.summary["only_1"]) == (2, 1)


def test_a_newer_session_that_logs_no_row_has_the_last_word(
    server: WandbServer, store: str
) -> None:
    with open_run(settings(server.url, store)) as run:
        run.log({"auc": 0.7})
        run.summary["status"] = "draft"
        run.config.update({"stage": "draft"})
    with open_run(settings(server.url, store)) as run:
        run.summary["status"] = "approved"
        run.config.update({"stage": "approved"}, allow_val_change=True)
    served = server.run("payments", "nights")
    assert (served.summary["status"], served.config["stage"]) == ("approved", "approved")
    assert served.summary["auc"] == 0.7


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_summary_without_a_number_is_confirmed(
    server: WandbServer, store: str, value: float | None
) -> None:
    with open_run(settings(server.url, store)) as run:
        run.log({"loss": value, "row": 1})
        run.summary["best"] = value
        run.summary["name"] = "churn"
    assert sync(store, server) == ()
    assert server.run("payments", "nights").summary["name"] == "churn"


def test_rows_that_another_process_has_overwritten_are_sent_again(
    server: WandbServer, store: str
) -> None:
    # stored half-way: the server has both rows of the first night, as far as their number tells
    with open_run(settings(server.url, store, delivery_timeout_s=2)) as run:
        run.log({"row": 0})
        run.log({"row": 1})
        wait_until(lambda: server.runs and len(server.run("payments", "nights").history) == 2)
        server.stop()
        run.log({"row": 2})
    server.start()
    served = server.run("payments", "nights")
    # a program that knows of no claim began at the same line
    others = ({"_step": x, "_timestamp": time.time(), "_runtime": 9.0 + x, "x": x} for x in (1, 2))
    served.lines.write(map(json.dumps, others), offset=1)
    served.config_values["flyte"] = {"value": {"execution": "another"}}
    served.state = "finished"
    assert [one.reason for one in sync(store, server)] == [""]
    assert sorted(served.column("row")) == [0, 1, 2]
    assert served.column("x") == [1, 2]


def test_a_name_that_was_deleted_within_the_summary_is_not_waited_for(
    server: WandbServer, store: str
) -> None:
    with open_run(settings(server.url, store)) as run:
        run.summary["best"] = {"auc": 0.7}
        run.summary["best"]["auc"] = 0.8
        del run.summary["best"]["auc"]
        run.summary["name"] = "churn"
    assert sync(store, server) == ()
    assert server.run("payments", "nights").summary["name"] == "churn"


@pytest.mark.parametrize("exists", [False, True])
def test_of_many_that_claim_a_run_at_once_one_has_it(server: WandbServer, exists: bool) -> None:
    api = WandbApi(server.url, ApiKey(KEY))
    if exists:
        api.create_run(TARGET)
        server.run("payments", "nights").state = "finished"
    start = threading.Barrier(5)
    outcomes = list[str]()

    def claim(name: str) -> None:
        own = RunClaim(api, name, until=lambda: math.inf)
        start.wait()
        try:
            own.take(TARGET)
            outcomes.append(name)
        except BusyRunError:
            outcomes.append("")

    threads = [threading.Thread(target=claim, args=(f"w{n}",)) for n in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    (holder,) = [name for name in outcomes if name]
    assert len(outcomes) == 5
    served = api.find_run(TARGET)
    assert served is not None
    assert RunClaim(api, holder, until=lambda: math.inf).holds(served)


# a clock that is a day ahead holds the run no longer
@pytest.mark.parametrize("ago_s", [130, -86_400])
def test_the_claim_of_a_process_that_died_is_over_after_two_minutes(
    server: WandbServer, ago_s: float
) -> None:
    api = WandbApi(server.url, ApiKey(KEY))
    RunClaim(api, "dead", until=lambda: math.inf).take(TARGET)
    second = RunClaim(api, "next", until=lambda: math.inf)
    with pytest.raises(BusyRunError, match="writes the run now"):
        second.take(TARGET)
    served = server.run("payments", "nights")
    served.config_values["flyte"]["value"]["writer"]["at"] = time.time() - ago_s
    served.heartbeat_at = "2026-01-01T00:00:00Z"
    taken = second.take(TARGET)
    assert taken.was_open
    assert taken.served is not None
    assert second.holds(taken.served)


def test_a_run_that_its_maker_has_not_claimed_is_free_after_seconds(server: WandbServer) -> None:
    api = WandbApi(server.url, ApiKey(KEY))
    api.create_run(TARGET)
    claim = RunClaim(api, "next", until=lambda: math.inf)
    with pytest.raises(BusyRunError, match="writes the run now"):
        claim.take(TARGET)
    ago = datetime.now(timezone.utc) - timedelta(seconds=11)
    server.run("payments", "nights").heartbeat_at = ago.isoformat()
    assert claim.take(TARGET).was_open


def test_rows_are_told_apart_by_their_content(server: WandbServer) -> None:
    api = WandbApi(server.url, ApiKey(KEY))
    api.create_run(TARGET)
    random_ = random.Random(7)  # noqa: S311 - not a secret
    rows, steps, expected = RowMarks(), list[int](), set[int]()
    lines = list[dict[str, float]]()
    for number in range(3_000):
        # some steps twice, some far away, now and then an earlier one
        steps.append(random_.choice([number, number + 1, 10 * number, number // 2]))
        row = {"_timestamp": 1_796_000_000 + number / 7, "_runtime": number / 7}
        rows.append(number, row)
        if random_.random() < 0.6:
            lines.append({**row, "_step": steps[-1]})
            expected.add(number)
        if random_.random() < 0.5:
            lines.append({**row, "_runtime": 1e5 + number, "_step": steps[-1]})
    random_.shuffle(lines)
    served = server.run("payments", "nights")
    served.lines.write(map(json.dumps, lines), offset=0)
    assert arrived_rows(api, TARGET, rows, steps) == expected


def test_a_run_of_one_attempt_needs_no_claim(server: WandbServer, store: str) -> None:
    own = settings(server.url, store, id=None, init={})
    with open_run(own) as run:
        run.log({"row": 0})
        assert "writer" not in run.config["flyte"]
        assert isinstance(run, wandb.Run)
    asked = [one.operation for one in server.requests if one.operation == "UpsertBucket"]
    # both are wandb's own: as the run begins, and its config
    assert len(asked) <= 3
