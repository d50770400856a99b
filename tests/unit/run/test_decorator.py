"""Where `wandb_init` may stand, and what it refuses; tracking is switched off to be quick."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
from flytekit import Secret

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.decorator import wandb_init
from flytekitplugins.wbmon.run.lifecycle import current_run

KEY = Secret(group="wandb", key="api_key")
off = wandb_init(enabled=False)


def add(x: int, y: int = 1) -> int:
    """Add."""
    assert current_run() is not None
    return x + y


def test_a_function_keeps_its_name_signature_and_result() -> None:
    tracked = off(add)
    assert tracked(1, y=2) == 3
    assert (tracked.__name__, tracked.__doc__) == ("add", "Add.")
    assert inspect.signature(tracked) == inspect.signature(add)
    assert current_run() is None


def test_a_coroutine_function_stays_one() -> None:
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return add(x)

    tracked = off(work)
    assert inspect.iscoroutinefunction(tracked)
    assert asyncio.run(tracked(1)) == 2


def test_a_partial_and_a_method_can_be_tracked() -> None:
    class Model:
        def fit(self, x: int) -> int:
            return add(x)

    assert off(functools.partial(add, 1))() == 2
    assert off(Model().fit)(x=1) == 2


def test_a_wrong_call_says_so_as_without_tracking() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        off(add)(1, z=2)
    with pytest.raises(TypeError, match="positional"):
        off(add)(1, 2, 3)


def test_one_decorator_serves_many_functions() -> None:
    assert [off(add)(1), off(add)(2)] == [2, 3]


def test_a_bare_function_may_be_given_at_once() -> None:
    assert wandb_init(add, enabled=False)(1) == 2
    with pytest.raises(ValueError, match="project must be set"):
        wandb_init(add)


def test_arguments_may_be_given_by_position_with_and_without_a_function() -> None:
    settings = wandb_init("payments", "ops", KEY, "fixed").settings
    assert (settings.project, settings.entity) == ("payments", "ops")
    assert (settings.secret, settings.id) == (KEY, "fixed")
    assert callable(wandb_init(add, "payments", "ops", KEY))


def test_arguments_it_does_not_know_are_refused_at_decoration() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tags'"):
        wandb_init(project="p", entity="e", tagss=["x"])


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_generator_is_refused_at_decoration(function: object) -> None:
    with pytest.raises(ConfigError, match="cannot track the generator"):
        off(function)


def test_a_decorator_goes_to_json_and_back() -> None:
    decorator = wandb_init(project="p", entity="e", secret=KEY, tags=["x"])
    again = wandb_init.from_config(decorator.to_config())
    assert isinstance(again, wandb_init)
    assert again.settings == decorator.settings
    assert "project='p'" in repr(again)
    assert "api_key" not in repr(again)


@pytest.mark.parametrize(
    "made",
    [
        wandb_init("p", "e", KEY, "i"),
        wandb_init("p", "e", KEY, id="i"),
        wandb_init("p", "e", secret=KEY, id="i"),
        wandb_init("p", entity="e", secret=KEY, id="i"),
        wandb_init(project="p", entity="e", secret=KEY, id="i"),
    ],
)
def test_arguments_may_come_by_position_or_by_name(made: wandb_init) -> None:
    settings = made.settings
    assert (settings.project, settings.entity, settings.id) == ("p", "e", "i")
    assert settings.secret is KEY
