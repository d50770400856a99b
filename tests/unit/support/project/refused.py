"""Launch plans and tasks that FlyteAdmin refuses, each for one reason, and some that it takes."""

from __future__ import annotations

from datetime import datetime, timezone

from flytekit import CronSchedule, LaunchPlan, PythonInstanceTask, Resources, task, workflow
from flytekit.core.interface import Interface
from flytekit.types.file import FlyteFile

EVERY_NIGHT = "0 2 * * *"


@task
def read(data: FlyteFile, at: datetime, n: int) -> int:
    """Any task."""
    return n


@task(requests=Resources(mem="1Gi"), limits=Resources(mem="512Mi"))
def cramped(n: int) -> int:
    """More asked for than allowed."""
    return n


@task(requests=Resources(cpu="500m", mem="512Mi"), limits=Resources(cpu="1", mem="1Gi"))
def roomy(n: int) -> int:
    """As much as allowed."""
    return n


@workflow
def night(data: FlyteFile, at: datetime, n: int = 3) -> int:
    """Any workflow with an input that must be given, a time, and a default."""
    return read(data=data, at=at, n=roomy(n=cramped(n=n)))


def plan(name: str, kickoff: str | None = None, schedule: bool = True, **fixed: object) -> None:
    """A launch plan of `night`."""
    cron = CronSchedule(schedule=EVERY_NIGHT, kickoff_time_input_arg=kickoff) if schedule else None
    LaunchPlan.get_or_create(night, name=name, fixed_inputs=fixed, schedule=cron)


DATA = FlyteFile("s3://bucket/data.bin")
NOON = datetime(2026, 2, 13, 12, tzinfo=timezone.utc)
plan("by hand", schedule=False)
plan("complete", kickoff="at", data=DATA)
plan("unbound", kickoff="at")
plan("no kickoff", data=DATA)
plan("kickoff given", kickoff="at", data=DATA, at=NOON)
plan("kickoff a number", kickoff="n", data=DATA, at=NOON)


class Twice(PythonInstanceTask[None]):
    """A task whose structure is given by its maker."""

    def __init__(self, kind: type) -> None:
        super().__init__("twice", None, interface=Interface({"x": kind}, {}))


twice_whole, twice_text = Twice(int), Twice(str)


@workflow
def both(n: int, text: str) -> None:
    """Two tasks of one name."""
    twice_whole(x=n)
    twice_text(x=text)
