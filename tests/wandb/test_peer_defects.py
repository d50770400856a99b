"""Defects of flytekitplugins-wandb 1.16, each shown on it and mended here.

The peer's half of a test is expected to fail, strictly: should a release of the peer mend the
defect, the test says so.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flytekit import FlyteContextManager, Secret, map_task, task, workflow
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.type_engine import TypeEngine
from flytekit.tools.translator import get_serializable
from flytekitplugins.wandb import wandb_init as peer

import wandb
from flytekitplugins.wbmon import current_run
from flytekitplugins.wbmon import wandb_init as ours
from support.eager import eager
from support.in_process import execute, pod_context
from support.place import EXECUTION, Place
from support.wandb_log import LoggedRun, read_run

pytestmark = pytest.mark.flyte

KEY = Secret(group="wandb", key="api_key")
WITH_KEY = {"_FSEC_WANDB_API_KEY": "f" * 40}
IMAGE = Image(name="default", fqn="image", tag="1")
SERIALIZATION = SerializationSettings(
    image_config=ImageConfig(default_image=IMAGE, images=[IMAGE]), project="p", domain="d"
)

both = pytest.mark.parametrize(
    "plugin",
    [
        pytest.param(ours, id="ours"),
        pytest.param(peer, id="peer", marks=pytest.mark.xfail(strict=True, reason="the defect")),
    ],
)


@dataclass
class Seen:
    """The runs that bodies found themselves in."""

    paths: list[Path] = field(default_factory=list)

    def look(self, value: int = 1) -> int:
        """What a body does: log one row, and remember where."""
        wandb.log({"value": value})
        self.paths.append(Path(wandb.run.settings.sync_file))
        return value

    @property
    def runs(self) -> list[LoggedRun]:
        """The runs, read back, in the order of the bodies."""
        return [read_run(path) for path in self.paths]


@pytest.fixture
def seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """A place to note runs; ends what the peer leaves open."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(folder))
    wandb.teardown()  # the environment is read when wandb is used for the first time
    yield Seen()
    wandb.finish()
    wandb.teardown()


def tracked(plugin: Any, **changes: Any) -> Callable[[Any], Any]:
    decorator: Callable[[Any], Any] = plugin(
        **{"project": "p", "entity": "e", "secret": KEY, **changes}
    )
    return decorator


def compiled(entity: Any) -> Any:
    return get_serializable(OrderedDict(), SERIALIZATION, entity).template


@both
def test_01_a_failed_task_is_a_failed_run(plugin: Any, seen: Seen) -> None:
    @task
    @tracked(plugin)
    def fails(x: int) -> int:
        seen.look()
        raise ValueError("no") if x else KeyError
        return x

    with pytest.raises(ValueError, match="no"):
        fails(x=1)
    assert seen.runs[0].exit_code == 1


@both
def test_02_the_task_after_a_failed_one_has_its_own_run(plugin: Any, seen: Seen) -> None:
    @task
    @tracked(plugin)
    def maybe(x: int) -> int:
        return 1 // seen.look(x)

    with pytest.raises(ZeroDivisionError):
        maybe(x=0)
    maybe(x=1)
    assert [run.column("value") for run in seen.runs] == [[0], [1]]


@both
def test_03_an_async_task_works_below_task(plugin: Any, seen: Seen) -> None:
    @task
    @tracked(plugin)
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return seen.look(x)

    assert asyncio.run(work(x=3)) == 3
    assert seen.runs[0].finished


@both
def test_04_an_eager_body_runs_inside_its_run(plugin: Any, seen: Seen) -> None:
    @eager
    @tracked(plugin)
    async def work(x: int) -> int:
        return seen.look(x)

    assert asyncio.run(work(x=3)) == 3
    assert seen.runs[0].finished


@both
def test_05_above_task_a_workflow_still_compiles(plugin: Any, seen: Seen) -> None:
    @tracked(plugin)
    @task
    def work(x: int) -> int:
        return seen.look(x)

    @workflow
    def story(x: int) -> int:
        return work(x=x)

    story.compile()
    assert seen.paths == []
    assert story(x=2) == 2
    assert seen.runs[0].finished


@both
def test_06_a_plain_function_can_be_tracked(plugin: Any, seen: Seen) -> None:
    assert tracked(plugin)(seen.look)(2) == 2
    assert seen.runs[0].finished


@both
def test_07_a_tracked_helper_leaves_the_tasks_run_open(plugin: Any, seen: Seen) -> None:
    helper = tracked(plugin)(seen.look)

    @task
    @tracked(plugin)
    def work(x: int) -> int:
        return helper(x) + seen.look(x + 1)

    assert work(x=1) == 3
    assert seen.paths[0] == seen.paths[1]
    assert seen.runs[0].column("value") == [1, 2]


def test_08_two_tasks_in_two_threads_have_two_runs(seen: Seen) -> None:
    # the peer: both are given one run, and whichever ends first closes it under the other
    together = threading.Barrier(2, timeout=30)

    @task
    @tracked(ours)
    def work(x: int) -> int:
        together.wait()
        current_run().log({"value": x})
        seen.paths.append(Path(current_run().settings.sync_file))
        return x

    def start(x: int) -> None:
        FlyteContextManager.initialize()
        work(x=x)

    threads = [threading.Thread(target=start, args=(x,), daemon=True) for x in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(run.column("value") for run in seen.runs) == [[1], [2]]


@both
def test_09_a_mapped_task_keeps_its_link(plugin: Any) -> None:
    @task
    @tracked(plugin)
    def work(x: int) -> int:
        return x

    assert compiled(map_task(work)).config["link_type"] == "wandb-execution-id"


@both
@pytest.mark.parametrize("id_", [None, "{task}-{shard}-{attempt}"], ids=["10 no id", "11 own id"])
def test_shards_and_retries_on_one_host_have_their_own_runs(
    plugin: Any, folder: Path, seen: Seen, id_: str | None
) -> None:
    @task
    @tracked(plugin, id=id_)
    def work(x: int) -> int:
        return seen.look(x)

    mapped = map_task(work)
    for number, place in enumerate([Place(shard=0), Place(shard=1), Place(shard=1, attempt=1)]):
        env = {**WITH_KEY, "HOSTNAME": "ip-10-0-0-1"}
        where = folder / str(number)
        with pod_context(where, place=place, task=mapped.name, linked=False, env=env) as context:
            inputs = TypeEngine.dict_to_literal_map(context, {"x": [1, 2]}, {"x": list[int]})
            mapped.dispatch_execute(context, inputs)
    assert len({run.id for run in seen.runs}) == 3


def test_12_an_outage_of_wandb_does_not_fail_the_task(
    folder: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the peer: AuthenticationError after 17 seconds of asking a server that is not there
    monkeypatch.delenv("WANDB_MODE")

    @task
    @tracked(ours, api_host="http://127.0.0.1:9", delivery_timeout_s=2)
    def work(x: int) -> int:
        return seen.look(x)

    with pod_context(folder / "pod", task=work.name, env=WITH_KEY) as context:
        assert execute(context, work, x=1) == {"o0": 1}
    assert seen.runs[0].column("value") == [1]


@both
def test_13_a_disabled_run_needs_no_secret(
    plugin: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")

    @task
    @tracked(plugin)
    def work(x: int) -> int:
        return x

    with pod_context(folder, task=work.name) as context:
        assert execute(context, work, x=1) == {"o0": 1}


@both
def test_14_the_secret_is_requested_for_the_task(plugin: Any) -> None:
    @task
    @tracked(plugin)
    def work(x: int) -> int:
        return x

    assert [secret.group for secret in compiled(work).security_context.secrets] == ["wandb"]


def test_15_no_key_is_written_to_the_home_folder(
    folder: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the peer logs in, which writes the key to ~/.netrc whenever the run is online
    home = folder / "home"
    home.mkdir()
    for name, value in {"HOME": str(home), "NETRC": str(home / ".netrc")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE")
    work = tracked(ours, api_host="http://127.0.0.1:9", delivery_timeout_s=2)(seen.look)
    with pod_context(folder / "pod", env=WITH_KEY):
        work(1)
    written = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in written if b"f" * 40 in path.read_bytes()]


@both
def test_16_a_local_run_needs_no_made_up_account(plugin: Any, seen: Seen) -> None:
    work = tracked(plugin, project=None, entity=None, secret=None, mode="offline")(seen.look)
    assert work(1) == 1


@both
def test_17_the_execution_is_the_runs_group_and_in_its_config(
    plugin: Any, folder: Path, seen: Seen
) -> None:
    @task
    @tracked(plugin)
    def work(x: int) -> int:
        return seen.look(x)

    with pod_context(folder / "pod", task=work.name, env=WITH_KEY) as context:
        execute(context, work, x=1)
    (run,) = seen.runs
    assert run.group == EXECUTION
    assert run.config["flyte"]["execution"] == EXECUTION
