from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.flyte.termination import (
    TerminatedError,
    exit_on_sigterm,
    hold_sigint,
    hold_sigterm,
    is_terminating,
    terminating_until,
)
from support.child import result_of


@pytest.fixture(autouse=True)
def handler_put_back() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_leaves_the_block_with_the_shells_status() -> None:
    with pytest.raises(TerminatedError, match="told to stop") as caught, exit_on_sigterm():
        terminate()
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_must_be_done_before_is_done_before_the_block_is_left() -> None:
    heard: list[object] = []

    def body() -> None:
        try:
            terminate()
        finally:
            heard.append("the work of the block")

    with pytest.raises(TerminatedError) as caught, exit_on_sigterm(before=heard.append):
        body()
    assert heard == [caught.value, "the work of the block"]


def test_a_handler_of_the_user_that_returns_lets_the_block_go_on() -> None:
    heard: list[str] = []

    def stop(*_: Any) -> None:
        heard.append("the user's handler")

    signal.signal(signal.SIGTERM, stop)
    with exit_on_sigterm(before=lambda _: heard.append("before")):
        assert not is_terminating()
        assert terminating_until(0.0) == float("inf")
        terminate()
        heard.append("the block goes on")
        assert is_terminating()
        assert terminating_until(0.0) < time.monotonic() + 60
        assert terminating_until(1e9) > 1e9
        terminate()
    assert heard == ["the user's handler", "the block goes on", "the user's handler"]
    assert signal.getsignal(signal.SIGTERM) is stop
    assert not is_terminating()


def test_what_a_handler_of_the_user_raises_is_what_ends_the_block() -> None:
    heard: list[BaseException] = []
    error = ZeroDivisionError("the user's")

    def stop(*_: Any) -> None:
        raise error

    signal.signal(signal.SIGTERM, stop)
    with pytest.raises(ZeroDivisionError), exit_on_sigterm(before=heard.append):
        terminate()
    assert heard == [error]


def test_a_second_sigterm_does_not_cut_the_way_out_short() -> None:
    heard: list[str] = []

    def body() -> None:
        try:
            terminate()
        finally:
            terminate()
            heard.append("the work of the block")

    with pytest.raises(TerminatedError), exit_on_sigterm():
        body()
    assert heard == ["the work of the block"]


def test_a_sigterm_that_is_held_back_ends_the_block_afterwards() -> None:
    heard: list[str] = []

    def body() -> None:
        with hold_sigterm():
            terminate()
            heard.append("the end")
        assert is_terminating()
        heard.append("the rest of the block")

    with pytest.raises(TerminatedError), exit_on_sigterm():
        body()
    assert heard == ["the end", "the rest of the block"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_error_of_the_block_is_not_replaced_by_a_sigterm_that_was_held_back() -> None:
    def body() -> None:
        try:
            raise ZeroDivisionError
        finally:
            with hold_sigterm():
                terminate()

    with pytest.raises(ZeroDivisionError), exit_on_sigterm():
        body()


@pytest.fixture
def sigint_heard() -> Iterator[list[str]]:
    heard: list[str] = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("SIGINT"))
    yield heard
    signal.signal(signal.SIGINT, before)


def test_a_storm_of_ctrl_c_interrupts_nothing_that_is_held_and_is_obeyed_once_afterwards(
    sigint_heard: list[str],
) -> None:
    with hold_sigint():
        for _ in range(9):
            signal.raise_signal(signal.SIGINT)
        sigint_heard.append("the end")
        assert is_terminating()
        # less than after SIGTERM: a user waits
        assert terminating_until(0.0) < time.monotonic() + 5
        with hold_sigint():
            pass
        assert sigint_heard == ["the end"]
    assert sigint_heard == ["the end", "SIGINT"]
    assert not is_terminating()


def test_without_ctrl_c_the_held_block_is_as_any_other(sigint_heard: list[str]) -> None:
    with hold_sigint():
        assert not is_terminating()
    signal.raise_signal(signal.SIGINT)
    assert sigint_heard == ["SIGINT"]


@pytest.mark.parametrize(
    ("leaving", "heard"),
    [(KeyboardInterrupt(), []), (TerminatedError(), []), (ValueError(), ["SIGINT"])],
)
def test_ctrl_c_does_not_take_the_place_of_what_ends_the_process_already(
    leaving: BaseException, heard: list[str], sigint_heard: list[str]
) -> None:
    with hold_sigint(leaving):
        signal.raise_signal(signal.SIGINT)
    assert sigint_heard == heard
    assert not is_terminating()


def test_a_sigint_that_is_ignored_stays_so(sigint_heard: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with hold_sigint():
        signal.raise_signal(signal.SIGINT)
        assert not is_terminating()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_held_back_sigterm_goes_to_the_handler_that_was_set_inside_the_block() -> None:
    heard: list[str] = []
    with exit_on_sigterm():
        signal.signal(signal.SIGTERM, lambda *_: heard.append("the user's handler"))
        with hold_sigterm():
            terminate()
            heard.append("the end")
    assert heard == ["the end", "the user's handler"]


def test_a_handler_that_replaced_ours_and_exits_is_told_to_those_who_must_act_before() -> None:
    heard: list[BaseException] = []

    def leave(*_: Any) -> None:
        sys.exit(1)

    def body() -> None:
        signal.signal(signal.SIGTERM, leave)
        terminate()

    with pytest.raises(SystemExit) as caught, exit_on_sigterm(before=heard.append):
        body()
    (error,) = heard
    assert isinstance(error, TerminatedError)
    assert error.code == caught.value.code == 1


def test_a_handler_set_inside_the_block_stays() -> None:
    def later(*_: Any) -> None:
        raise AssertionError

    with exit_on_sigterm():
        signal.signal(signal.SIGTERM, later)
    assert signal.getsignal(signal.SIGTERM) is later


def test_an_ignored_sigterm_stays_ignored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with exit_on_sigterm():
        terminate()


def test_another_thread_changes_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with exit_on_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_blocks_that_overlap_leave_nothing_behind() -> None:
    first, second = exit_on_sigterm(), exit_on_sigterm()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(TerminatedError):
        terminate()
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


IN_A_BLOCK = """
import json, multiprocessing, signal, time
from flytekitplugins.wbmon.flyte.termination import exit_on_sigterm
fork = multiprocessing.get_context("fork")
ended = []
with exit_on_sigterm(before=lambda _: ended.append("ended")):
    {body}
print(json.dumps({{"result": result, "ended": ended}}))
"""


def test_a_forked_child_dies_of_sigterm_and_ends_nothing_of_its_parent(tmp_path: Path) -> None:
    body = """
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    result = child.exitcode"""
    found = result_of(IN_A_BLOCK.format(body=body), home=tmp_path)
    assert found == {"result": -signal.SIGTERM, "ended": []}


def test_a_forked_child_has_a_block_of_its_own(tmp_path: Path) -> None:
    body = """
    def work():
        with exit_on_sigterm(before=lambda _: print("child", flush=True)):
            signal.raise_signal(signal.SIGTERM)
    child = fork.Process(target=work)
    child.start()
    child.join()
    result = child.exitcode"""
    found = result_of(IN_A_BLOCK.format(body=body), home=tmp_path)
    assert found == {"result": 143, "ended": []}


def test_pools_of_forked_workers_come_to_their_end(tmp_path: Path) -> None:
    body = """
    for _ in range(50):
        with fork.Pool(4) as pool:
            result = pool.map(abs, range(-3, 0))"""
    assert result_of(IN_A_BLOCK.format(body=body), home=tmp_path)["result"] == [3, 2, 1]
