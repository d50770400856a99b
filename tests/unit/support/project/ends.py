"""Tasks that end in every way that a cluster tells apart, and what they see of their pod."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from datetime import timedelta
from typing import List  # noqa: UP035

from flytekit import (
    Deck,
    LaunchPlan,
    Resources,
    Secret,
    current_context,
    dynamic,
    map_task,
    task,
    workflow,
)


@task(environment={"FROM": "task", "ONLY": "task", "FLYTE_ATTEMPT_NUMBER": "task"})
def look(x: int) -> str:
    """The environment of the pod, and where it writes."""
    where = {"outputs": current_context().output_metadata_prefix, "pid": os.getpid()}
    return json.dumps({**os.environ, **where})


@workflow
def inner(x: int) -> str:
    """A sub-workflow, or by its launch plan a child execution."""
    return look(x=x)


plan = LaunchPlan.get_or_create(inner, name="inner.plan", default_inputs={"x": 7})


@dynamic
def spread(x: int) -> str:
    """A node within a node."""
    return inner(x=x)


@workflow
def within(xs: List[int]) -> List[str]:  # noqa: UP006
    """A pod in every place."""
    mapped = map_task(look)(x=xs)
    join(texts=mapped)
    return [inner(x=1), plan(), spread(x=1)]


@task
def join(texts: List[str]) -> int:  # noqa: UP006
    """What needs all shards."""
    return len(texts)


@task
def leave(code: int, before: int) -> int:
    """End the process instead of returning, in the first attempts."""
    if int(os.environ["FLYTE_ATTEMPT_NUMBER"]) < before:
        sys.exit(code)
    return code


@workflow
def left(code: int, before: int) -> int:
    """A task without retries whose pod is lost."""
    return leave(code=code, before=before)


@workflow
def left_with_retries(code: int, before: int) -> int:
    """The same with one retry."""
    return leave(code=code, before=before).with_overrides(retries=1)


@task(limits=Resources(mem="400Mi"))
def grow(x: int) -> int:
    """More memory than allowed."""
    ballast = bytearray(os.urandom(1)) * 600_000_000
    time.sleep(20)
    return len(ballast)


@task(timeout=timedelta(seconds=5))
def wait(x: int) -> int:
    """More time than allowed."""
    time.sleep(60)
    return x


@task(enable_deck=True)
def show(x: int, by: int) -> int:
    """A Deck in each shard."""
    Deck("Shown", f"<b>{x}</b>")
    return by * x


@workflow
def shown(xs: List[int]) -> List[int]:  # noqa: UP006
    """A mapped task with Decks."""
    return map_task(functools.partial(show, by=2))(x=xs)


@task(
    secret_requests=[
        Secret(group="as-any", key="KEY", mount_requirement=Secret.MountType.ANY),
        Secret(group="as-file", key="key", mount_requirement=Secret.MountType.FILE),
        Secret(group="as-var", key="key", mount_requirement=Secret.MountType.ENV_VAR),
        Secret(group="named-file", key="key", env_var="WHERE"),
        Secret(
            group="named-var",
            key="key",
            env_var="WHAT",
            mount_requirement=Secret.MountType.ENV_VAR,
        ),
        Secret(group="missing", key="key"),
    ]
)
def open_secrets() -> List[str]:  # noqa: UP006
    """Each secret that is there."""
    secrets = current_context().secrets
    return [secrets.get("as-any", "KEY"), *(secrets.get(g, "key") for g in ("as-file", "as-var"))]


@task(cache=True, cache_version="1")
def twice(x: int) -> int:
    """A cached task."""
    return 2 * x


@task
def thrice(x: int) -> int:
    """A task that is cached only where its node says so."""
    return 3 * x


@workflow
def kept(x: int) -> int:
    """Cached and not."""
    twice(x=x)
    thrice(x=x)
    return thrice(x=x).with_overrides(cache=True, cache_version="2")
