from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.flyte.termination import TerminatedError, exit_on_sigterm
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


def test_the_earlier_handler_is_called_when_the_block_is_done_and_put_back() -> None:
    heard: list[str] = []

    def earlier(*_: Any) -> None:
        heard.append("earlier")

    signal.signal(signal.SIGTERM, earlier)

    def body() -> None:
        try:
            terminate()
        finally:
            heard.append("the work of the block")

    with pytest.raises(TerminatedError), exit_on_sigterm(before=lambda: heard.append("before")):
        body()
    assert heard == ["before", "the work of the block", "earlier"]
    assert signal.getsignal(signal.SIGTERM) is earlier


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
with exit_on_sigterm(before=lambda: ended.append("ended")):
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
        with exit_on_sigterm(before=lambda: print("child", flush=True)):
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
