"""What is set around a block of code reaches the threads it starts."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import call_attributes, with_context
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


def tenant() -> str | None:
    return new_row().get("tenant")


def test_attributes_of_a_block_reach_the_threads_that_it_starts() -> None:
    found: list[str | None] = []
    with call_attributes(tenant="acme"):
        thread = threading.Thread(target=with_context(lambda: found.append(tenant())))
        thread.start()
        thread.join()

    assert found == ["acme"]


def test_a_function_may_run_in_many_threads_at_once() -> None:
    together = threading.Barrier(4, timeout=10)

    def work(number: int) -> tuple[int, str | None]:
        together.wait()
        return number, tenant()

    with ThreadPoolExecutor(4) as pool, call_attributes(tenant="acme"):
        found = list(pool.map(with_context(work), range(4)))

    assert found == [(number, "acme") for number in range(4)]


def test_the_context_is_that_of_the_place_where_the_function_was_wrapped() -> None:
    with call_attributes(tenant="acme"):
        carried = with_context(tenant)
    with call_attributes(tenant="globex"):
        assert (carried(), tenant()) == ("acme", "globex")


def test_what_the_function_sets_stays_within_it() -> None:
    with_context(SEEN.set)("something")

    assert SEEN.get() == "nothing"


async def coroutine_function() -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [coroutine_function, generator, async_generator])
def test_a_function_whose_body_runs_later_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match="plain function"):
        with_context(function)


class Later:
    async def __call__(self) -> None:
        pass


@pytest.mark.parametrize("wrong", [5, None, Later()])
def test_what_is_no_plain_function_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="with_context must get"):
        with_context(wrong)
