"""Every shape of workflow that `support.propeller` must run."""

from __future__ import annotations

import functools
from datetime import datetime
from pathlib import Path
from typing import List, Optional  # noqa: UP035

from flytekit import (
    CronSchedule,
    Deck,
    LaunchPlan,
    Secret,
    conditional,
    current_context,
    dynamic,
    map_task,
    task,
    workflow,
)
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.error.error import FlyteError
from flytekit.types.file import FlyteFile


@task(enable_deck=True)
def double(x: int) -> int:
    """Twice the number, shown in a Deck."""
    Deck("Double", f"<b>{x}</b>")
    return 2 * x


@task(retries=2)
def flaky(x: int) -> int:
    """Fails once in a way that may be tried again."""
    checkpoint = current_context().checkpoint
    if checkpoint.read() is None:
        checkpoint.write(b"been here")
        raise FlyteRecoverableException("try again")
    return x + 1


@task(retries=2)
def refuse(x: int) -> int:
    """Fails in a way that is not tried again."""
    if x >= 0:
        raise ValueError("no such number")
    return x


@task
def divide(by: int, number: int) -> float:
    """One shard of a mapped task; the shard 0 fails."""
    return number / by


@task
def total(parts: List[Optional[float]]) -> float:  # noqa: UP006, UP045
    """The sum of the shards that succeeded."""
    return sum(part for part in parts if part is not None)


@dynamic
def doubles(n: int) -> List[int]:  # noqa: UP006
    """As many tasks as asked for."""
    return [double(x=i) for i in range(n)]


@task(secret_requests=[Secret(group="wandb", key="api_key")])
def peek(at: datetime, n: int) -> FlyteFile:
    """The secret and the kickoff time, in a file."""
    key = current_context().secrets.get("wandb", "api_key")
    Path("peek.txt").write_text(f"{at:%Y-%m-%d} {n} {key}")
    return FlyteFile("peek.txt")


@task
def clean_up(n: int, err: Optional[FlyteError] = None) -> None:  # noqa: UP045
    """What runs when a workflow has failed."""
    print("cleaning up after", n, err.message if err else "")  # noqa: T201


@workflow
def mapped(n: int) -> float:
    """A mapped task, a dynamic one, and a sum."""
    numbers = doubles(n=n)
    parts = map_task(functools.partial(divide, number=12), min_success_ratio=0.5)(by=numbers)
    return total(parts=parts)


@workflow
def gated(x: int) -> int:
    """A task that is retried, and a gate."""
    seen = flaky(x=x)
    return (
        conditional("gate").if_(seen > 5).then(double(x=seen)).else_().then(mapped_or_not(x=seen))
    )


@workflow
def mapped_or_not(x: int) -> int:
    """A sub-workflow."""
    return double(x=x)


@workflow(on_failure=clean_up)
def failing(n: int) -> int:
    """A task that fails for good."""
    return refuse(x=n)


@workflow
def nightly(kickoff: datetime, n: int = 1) -> FlyteFile:
    """What a schedule starts."""
    return peek(at=kickoff, n=n)


plan = LaunchPlan.get_or_create(
    nightly,
    name="nightly.plan",
    fixed_inputs={"n": 7},
    schedule=CronSchedule(schedule="0 2 * * *", kickoff_time_input_arg="kickoff"),
)
