"""A script that registers its own tasks: every way to decorate one, and nodes that call back.

Run with a file name, it compiles its tasks as `FlyteRemote.register` does and writes them there.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from flytekit import dynamic, map_task, task
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.tools.translator import get_serializable

from flytekitplugins.wbmon import FeatureImportance, batch_scoring, wandb_init
from flytekitplugins.wbmon.llm import weave_init
from flytekitplugins.wbmon.tasks._node import Node
from support.eager import eager

tracked = wandb_init(project="p", entity="e", mode="disabled")
traced = weave_init(project="p", entity="e", mode="disabled")


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return run


@task
def bare(x: int) -> int:
    return x + 1


@task
@tracked
def below(x: int) -> int:
    return x + 1


@tracked
@task
def above(x: int) -> int:
    return x + 1


@tracked
@task
@traced
def both(x: int) -> int:
    return x + 1


@traced
@tracked
@task
def stacked(x: int) -> int:
    return x + 1


@task
@tracked
@timed
def around_a_wrapper(x: int) -> int:
    return x + 1


@task
@timed
@tracked
def inside_a_wrapper(x: int) -> int:
    return x + 1


@contextlib.contextmanager
def noted() -> Iterator[None]:
    yield


@task
@tracked
@noted()
def around_another_file(x: int) -> int:
    return x + 1


@task
@tracked
async def later(x: int) -> int:
    return x + 1


@dynamic
@tracked
def spread(x: int) -> int:
    return bare(x=x)


@tracked
@dynamic
def spread_above(x: int) -> int:
    return bare(x=x)


@tracked
@eager
async def at_once(x: int) -> int:
    return x + 1


@eager
@tracked
async def at_once_below(x: int) -> int:
    return x + 1


@task
@tracked
def failing(x: int) -> int:
    return 1 // (x - x)


@batch_scoring
def score(batch: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"doubled": batch["x"] * 2})


@tracked
@batch_scoring(batch_rows=10)
def score_tracked(batch: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"doubled": batch["x"] * 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    by: int = 1


class Increase(Node[Step]):
    def compute(self, x: int) -> int:
        return x + self.config.by


def predict(batch: pd.DataFrame, model: Any) -> Any:
    return model.predict(batch)


increase = Increase("script.increase", Step(by=1))
tracked_node = tracked(Increase("script.tracked", Step(by=1)))
importance = FeatureImportance("script.importance", features=("a",), label="b", predict=predict)
mapped = map_task(functools.partial(below))
tracked_map = tracked(map_task(above))

TASKS = (
    bare, below, above, both, stacked, around_a_wrapper, inside_a_wrapper, around_another_file,
    later, spread, spread_above, at_once, at_once_below, failing, score, score_tracked, increase,
    tracked_node, importance, mapped, tracked_map,
)  # fmt: skip


def write_tasks(folder: Path) -> None:
    """Compile each task and write it to a file of its own."""
    image = Image("default", "example.com/image", "v1")
    settings = SerializationSettings(
        image_config=ImageConfig(default_image=image, images=[image]),
        project="flytesnacks",
        domain="development",
        version="v1",
    )
    for number, each in enumerate(TASKS):
        spec = get_serializable(OrderedDict(), settings, each).to_flyte_idl()
        (folder / f"{number:02}.pb").write_bytes(spec.SerializeToString())


if __name__ == "__main__":
    write_tasks(Path(sys.argv[1]))
