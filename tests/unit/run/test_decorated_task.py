"""What Flyte is told of a tracked task, wherever the decorator stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from flytekit import Secret, dynamic, map_task, task, workflow
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.base_task import PythonTask
from flytekit.core.interface import Interface
from flytekit.core.python_function_task import PythonInstanceTask
from flytekit.models.security import SecurityContext
from flytekit.tools.module_loader import load_object_from_module
from flytekit.tools.translator import get_serializable

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import current_identity, run_id
from flytekitplugins.wbmon.flyte.secrets import with_secret
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.run.decorator import wandb_init
from flytekitplugins.wbmon.run.init_arguments import run_url
from support.eager import eager
from support.in_process import pod_context
from support.place import Place

KEY = Secret(group="wandb", key="api_key")
DATABASE = Secret(group="db", key="password")
IMAGE = Image(name="default", fqn="image", tag="1")
SERIALIZATION = SerializationSettings(
    image_config=ImageConfig(default_image=IMAGE, images=[IMAGE]), project="p", domain="d"
)
tracked = wandb_init(project="payments", entity="ops", secret=KEY)
LINK = {
    "link_type": "wandb-execution-id",
    "project": "payments",
    "entity": "ops",
    "host": "https://wandb.ai",
}


class Doubler(PythonInstanceTask[None]):
    def __init__(self, name: str, **kwargs: Any) -> None:
        interface = Interface(inputs={"x": int}, outputs={"o0": int})
        super().__init__(name=name, task_config=None, interface=interface, **kwargs)

    def execute(self, x: int) -> int:
        return 2 * x


@tracked
@task
def above(x: int) -> int:
    return x


@task
@tracked
def below(x: int) -> int:
    return x


@task(secret_requests=[DATABASE])
@tracked
def below_with_own_secret(x: int) -> int:
    return x


@tracked
@task(secret_requests=[DATABASE])
def above_with_own_secret(x: int) -> int:
    return x


@tracked
@task
async def above_async(x: int) -> int:
    return x


@task
@tracked
async def below_async(x: int) -> int:
    return x


@tracked
@dynamic
def above_dynamic(x: int) -> int:
    return above(x=x)


@dynamic
@tracked
def below_dynamic(x: int) -> int:
    return above(x=x)


@tracked
@eager
async def above_eager(x: int) -> int:
    return x


@task
def plain(x: int) -> int:
    return x


node = tracked(Doubler("payments.double"))
untracked_node = Doubler("payments.mapped")

TRACKED = [
    above, below, above_async, below_async, above_dynamic, below_dynamic, above_eager, node,
    map_task(above), map_task(below), map_task(node), tracked(map_task(plain)),
    tracked(map_task(untracked_node)),
]  # fmt: skip


def compiled(entity: PythonTask[Any]) -> Any:
    from collections import OrderedDict

    return get_serializable(OrderedDict(), SERIALIZATION, entity).template


def requested(entity: PythonTask[Any]) -> list[str]:
    return [secret.group for secret in compiled(entity).security_context.secrets]


@pytest.mark.parametrize("entity", TRACKED, ids=lambda entity: entity.name.rpartition(".")[2])
def test_flyte_is_told_of_the_secret_and_the_link(entity: PythonTask[Any]) -> None:
    assert requested(entity) == ["wandb"]
    assert dict(compiled(entity).config) == LINK


@pytest.mark.parametrize("entity", [below_with_own_secret, above_with_own_secret])
def test_the_tasks_own_secrets_are_kept(entity: PythonTask[Any]) -> None:
    assert sorted(requested(entity)) == ["db", "wandb"]
    assert sorted(requested(map_task(entity))) == ["db", "wandb"]


def test_a_task_that_is_not_tracked_is_left_alone() -> None:
    assert compiled(plain).security_context is None
    assert dict(compiled(plain).config) == {}
    assert tracking_of(plain) is None
    assert tracking_of(node) == tracked.settings


def test_a_secret_is_requested_once() -> None:
    asked = SecurityContext(secrets=[KEY])
    assert with_secret(asked, KEY) is asked
    assert with_secret(None, lambda: "key") is None
    assert with_secret(asked, None) is asked


def test_a_link_of_someone_else_is_kept() -> None:
    entity = Doubler("payments.linked")
    entity.get_config = lambda _: {"link_type": "neptune-run", "neptune": "x"}
    assert tracked(entity).get_config(SERIALIZATION) == {
        **LINK,
        "neptune": "x",
        "link_type": "neptune-run,wandb-execution-id",
    }


NO_LINK = {**LINK, "link_type": "wandb-no-link"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, LINK),
        ({"id": "fixed"}, {**LINK, "link_type": "wandb-custom-id", "id": "fixed"}),
        ({"id": "{task}-{date}"}, NO_LINK),
        # a rank adds its number to the id
        ({"rank_scope": "all"}, NO_LINK),
        ({"id": "fixed", "rank_scope": "worker"}, NO_LINK),
    ],
)
def test_the_link_is_by_the_pod_or_by_a_fixed_id_or_there_is_none(
    given: dict[str, Any], expected: dict[str, str]
) -> None:
    entity = wandb_init(project="payments", entity="ops", **given)(Doubler("p.linked"))
    assert entity.get_config(SERIALIZATION) == expected


@pytest.mark.parametrize("id_", [None, "fixed", "x" * 80, "-x-", "{task}"])
@pytest.mark.parametrize(
    "execution", ["a8xk2", "nightly-payments-2026-01-31-after-the-outage-of-w-and-b"]
)
def test_the_link_that_the_console_shows_leads_to_the_run(
    id_: str | None, execution: str, tmp_path: Path
) -> None:
    entity = wandb_init(project="payments", entity="ops", id=id_)(Doubler("p.linked"))
    config = entity.get_config(SERIALIZATION)
    place = Place(node="n1-0-dn0", shard=3, attempt=2, execution=execution)
    page = f"{config['host']}/{config['entity']}/{config['project']}/runs"
    # the templates that docs/cluster.md gives
    shown = {
        "wandb-execution-id": f"{page}/{place.pod_name}",
        "wandb-custom-id": f"{page}/{config.get('id')}",
    }.get(config["link_type"])
    settings = tracking_of(entity)
    assert settings is not None
    with pod_context(tmp_path, place=place, task="p.linked"):
        identity = current_identity("p.linked")
    assert identity.execution_url
    actual = run_url(settings, str(run_id(identity, settings.id)))
    assert shown == (None if id_ == "{task}" else actual)


def test_the_link_is_to_the_pages_that_the_registering_machine_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    assert compiled(above).config["host"] == "https://wandb.example.com"
    # but what the pod is told is what was given
    monkeypatch.setenv("WANDB_APP_URL", "https://pages.example.com")
    assert compiled(above).config["host"] == "https://pages.example.com"
    travelled = json.dumps(tracked.settings.to_config())
    assert "example.com" not in travelled


def test_a_run_that_is_switched_off_asks_flyte_for_nothing() -> None:
    entity = wandb_init(enabled=False, secret=KEY)(Doubler("payments.off"))
    assert entity.security_context is None
    assert entity.get_config(SERIALIZATION) == {}


def test_a_mapped_task_that_was_tracked_as_such_leaves_the_plain_task_alone() -> None:
    tracked(map_task(plain))
    assert compiled(plain).security_context is None
    assert plain(x=2) == 2


def test_a_pod_finds_a_mapped_task_that_no_variable_holds() -> None:
    mapped = tracked(map_task(plain, concurrency=2))
    arguments = compiled(mapped).container.args
    own = list(arguments[arguments.index("resolver") + 1 :])
    loaded = load_object_from_module(own[0]).load_task(own[1:])
    assert tracking_of(loaded) == tracked.settings
    assert loaded.name == plain.name
    assert "api_key" in json.loads(own[2])["secret"]["key"]


def test_a_mapped_task_with_a_callable_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="got a callable"):
        wandb_init(project="p", entity="e", secret=lambda: "key")(map_task(plain))


def test_a_tracked_function_can_be_pickled_and_holds_no_secret() -> None:
    key = "planted-key-0123456789"

    def body(x: int) -> int:
        return x + 1

    secret = Secret(group="wandb", key="api_key")
    off = wandb_init(enabled=False, secret=secret)
    again: Callable[[int], int] = cloudpickle.loads(cloudpickle.dumps(off(body)))
    assert again(1) == 2
    assert key.encode() not in cloudpickle.dumps(off(body))
    assert cloudpickle.loads(cloudpickle.dumps(tracked)).settings == tracked.settings
    assert cloudpickle.loads(cloudpickle.dumps(above)).name == above.name


@workflow
def story(x: int) -> int:
    return above(x=x)


@pytest.mark.parametrize("wrong", [story, 7, "text", KEY, int], ids=repr)
def test_what_has_no_body_to_track_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="goes on a function, a task or a node"):
        tracked(wrong)
