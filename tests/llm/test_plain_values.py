"""What an op returns in a traced task is what its function returns: Flyte takes it everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flytekit import dynamic, eager, task

from flytekitplugins.wbmon.llm import weave_init
from support.weave_server import WeaveServer

weave = pytest.importorskip("weave", reason="the llm extra is not installed")

AT = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
VALUES: dict[str, Any] = {
    "text": "hello",
    "a whole number": 3,
    "a number": 0.5,
    "yes": True,
    "a time with a zone": AT,
    "a time without a zone": AT.replace(tzinfo=None),
    "a duration": timedelta(minutes=3),
    "nothing": None,
    "a list": ["a", 1, AT],
}


def traced(server: WeaveServer) -> weave_init:
    return weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=5)


@weave.op
def same(value: Any) -> Any:
    return value


@weave.op
async def same_later(value: Any) -> Any:
    return value


@weave.op
def one_by_one(values: list[Any]) -> Iterator[Any]:
    yield from values


@weave.op
async def one_by_one_later(values: list[Any]) -> Any:
    for value in values:
        yield value


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_an_op_returns_and_yields_what_its_function_does(server: WeaveServer, value: Any) -> None:
    got: list[Any] = []

    @traced(server)
    async def ask() -> None:
        got.extend((same(value), await same_later(value), same([same(value)])[0]))
        got.extend(one_by_one([value]))
        got.extend([each async for each in one_by_one_later([value])])

    asyncio.run(ask())

    assert [(type(each), each) for each in got] == [(type(value), value)] * 5
    assert len(server.named("same")) == 3


@task
def described(name: str, n: int, share: float, at: datetime, took: timedelta) -> str:
    return f"{name} {n} {share} {at.hour} {took}"


@task
def joined(names: list[str], counts: dict[str, int]) -> str:
    return f"{names} {counts}"


def ask_all(name: str) -> list[str]:
    one = described(
        name=same(name), n=same(3), share=same(0.5), at=same(AT), took=same(timedelta(minutes=3))
    )
    return [one, joined(names=[same(name)], counts={same(name): same(1)})]


async def ask_all_later(name: str) -> list[str]:
    return ask_all(await same_later(name))


def test_what_an_op_returns_can_be_passed_to_a_task_in_the_body(server: WeaveServer) -> None:
    want = dynamic(ask_all)(name="a")

    assert traced(server)(dynamic(ask_all))(name="a") == want
    assert asyncio.run(traced(server)(eager(ask_all_later))(name="a")) == want
    assert server.named("same")


def test_a_client_of_the_users_own_gets_weaves_values(server: WeaveServer) -> None:
    """They carry the references that this client attaches to them."""
    from weave.trace import box

    @traced(server)
    def ask() -> Any:
        return box.box("a")

    assert type(ask()) is str
    assert isinstance(box.box("a"), box.BoxedStr)
