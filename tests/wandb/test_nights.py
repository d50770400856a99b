"""One run a month, by the date of the night: a backfill lands in the month that it makes up for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flytekit import CronSchedule, LaunchPlan, PythonFunctionTask, map_task, task, workflow
from flytekit.remote.backfill import create_backfill_workflow

from flytekitplugins.wbmon import current_run, wandb_init
from flytekitplugins.wbmon.errors import ConfigError
from support.in_process import execute, pod_context
from support.place import Place
from support.wandb_log import LoggedRun, find_runs

monthly = wandb_init(
    project="payments", entity="ops", id="nights-{date:%Y-%m}", resume="allow", mode="offline"
)
OCTOBER, NOVEMBER = (datetime(2026, month, 30, 2, tzinfo=timezone.utc) for month in (10, 11))


@monthly
@task
def check(kickoff: datetime, n_rows: int) -> int:
    current_run().log({"night": kickoff.timestamp(), "n_rows": n_rows})
    return n_rows


@task
def check_below(kickoff: datetime) -> int:
    current_run().log({"night": kickoff.timestamp()})
    return 1


@workflow
def night(kickoff: datetime, n_rows: int = 5) -> int:
    return check(kickoff=kickoff, n_rows=n_rows)


scheduled = LaunchPlan.get_or_create(
    night,
    name="nights.scheduled",
    schedule=CronSchedule(schedule="0 2 * * *", kickoff_time_input_arg="kickoff"),
)


def one_of(ids: list[str]) -> PythonFunctionTask[Any]:
    """A task that notes the id of its run."""

    def note(kickoff: datetime) -> None:
        ids.append(current_run().id)

    made: PythonFunctionTask[Any] = monthly(task(note))
    return made


def nights_of(runs: list[LoggedRun]) -> dict[str, list[datetime]]:
    """The nights of each run by its id."""
    found: dict[str, list[datetime]] = {}
    for run in runs:
        times = [datetime.fromtimestamp(at, timezone.utc) for at in run.column("night")]
        found[run.id] = sorted([*found.get(run.id, []), *times])
    return found


def test_each_night_is_in_its_months_run(folder: Path) -> None:
    for kickoff in (NOVEMBER, OCTOBER):
        night(kickoff=kickoff)
    assert nights_of(find_runs(folder)) == {
        "nights-2026-10": [OCTOBER],
        "nights-2026-11": [NOVEMBER],
    }


def test_flytes_own_backfill_lands_in_the_months_that_it_makes_up_for(folder: Path) -> None:
    backfill, _, _ = create_backfill_workflow(
        OCTOBER + timedelta(hours=1), OCTOBER + timedelta(days=3, hours=1), for_lp=scheduled
    )
    backfill()
    assert nights_of(find_runs(folder)) == {
        "nights-2026-10": [OCTOBER + timedelta(days=1)],
        "nights-2026-11": [OCTOBER + timedelta(days=2), OCTOBER + timedelta(days=3)],
    }


def test_a_mapped_task_has_the_date_of_each_shard(folder: Path) -> None:
    @workflow
    def nights(kickoffs: list[datetime]) -> list[int]:
        found: list[int] = monthly(map_task(partial(check_below)))(kickoff=kickoffs)
        return found

    nights(kickoffs=[OCTOBER, NOVEMBER])
    assert nights_of(find_runs(folder)) == {
        "nights-2026-10": [OCTOBER],
        "nights-2026-11": [NOVEMBER],
    }


def test_a_retry_a_day_later_continues_the_run_of_its_night(folder: Path) -> None:
    last_of_the_month = datetime(2026, 10, 31, 23, 50, tzinfo=timezone.utc)
    ids: list[str] = []
    for attempt in (0, 1):
        with pod_context(folder, place=Place(attempt=attempt), task="wf.night") as context:
            execute(context, one_of(ids), kickoff=last_of_the_month)
    assert ids == ["nights-2026-10"] * 2


def test_a_plain_function_has_the_date_of_its_argument_or_default(folder: Path) -> None:
    @monthly
    def run(kickoff: datetime = OCTOBER) -> None:
        current_run().log({"night": kickoff.timestamp()})

    run()
    run(NOVEMBER)
    run(kickoff=NOVEMBER)
    assert nights_of(find_runs(folder)) == {
        "nights-2026-10": [OCTOBER],
        "nights-2026-11": [NOVEMBER, NOVEMBER],
    }


def test_a_task_whose_date_is_not_clear_is_refused_when_it_is_decorated() -> None:
    def between(start: datetime, end: datetime) -> None: ...

    for decorate in (lambda: monthly(task(between)), lambda: task(monthly(between))):
        with pytest.raises(ConfigError, match=r"'start', 'end' of .*between are dates"):
            decorate()
    named: Any = wandb_init(project="p", entity="e", id="nights-{inputs.start:%Y-%m}")
    named(task(between))
