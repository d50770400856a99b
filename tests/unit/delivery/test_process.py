"""The process apart, with modules that write down what they were told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess, child_environment
from flytekitplugins.wbmon.delivery.signals import ParentSignals
from support.child import run_python
from support.waiting import wait_until

KEY = "planted-key-0123456789abcdef"
NOTE = """
import json, os, sys, time
from pathlib import Path
from flytekitplugins.wbmon.delivery.signals import ParentSignals

signals = ParentSignals(sys.stdin)
folder = signals.wait_for_folder()
with (folder / "starts").open("a") as file:
    file.write(f"{os.getpid()}\\n")
"""
OBEDIENT = (
    NOTE
    + """
told = signals.wait_for_end(60)
left = round(signals.until() - time.monotonic())
note = {"key": signals.key.reveal(), "settings": signals.settings, "left": left, "told": told}
(folder / "done").write_text(json.dumps(note))
"""
)
STUBBORN = NOTE + "import subprocess\nsubprocess.run(['sleep', '98765'])\n"
SHORT_LIVED = (
    NOTE
    + """
if len((folder / "starts").read_text().splitlines()) == 1:
    os.kill(os.getpid(), 9)
(folder / "done").write_text(json.dumps(signals.wait_for_end(60)))
"""
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is delivered; its workers are modules beside it."""
    for name, code in (("obeys", OBEDIENT), ("stays", STUBBORN), ("dies", SHORT_LIVED)):
        (tmp_path / f"{name}_worker.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_SERVICE", "of-the-parent")
    monkeypatch.setenv("_FSEC_WANDB_API_KEY", KEY)
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def start(module: str, folder: Path) -> WorkerProcess:
    worker = WorkerProcess(module, ApiKey(KEY), timeout_s=7, api_host="http://host")
    worker.begin(folder)
    wait_until(lambda: (folder / "starts").exists() and (folder / "starts").read_text())
    return worker


def test_a_worker_is_told_its_key_its_folder_and_how_much_time_is_left(folder: Path) -> None:
    start("obeys_worker", folder).finish(30, tally={"n_rows": 3})
    done = json.loads((folder / "done").read_text())
    assert done["told"] == {"tally": {"n_rows": 3}}
    assert done["key"] == KEY
    assert done["settings"] == {"timeout_s": 7, "api_host": "http://host"}
    assert 28 <= done["left"] <= 30


@pytest.mark.parametrize("prefix", ["_FSEC_", "_OURS_"])
def test_no_secret_of_the_pod_is_in_the_environment_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("FLYTE_SECRETS_ENV_PREFIX", prefix)
    monkeypatch.setenv(f"{prefix}ALERTS_HOOK", "https://hook/7")
    monkeypatch.setenv("HOOK", "https://hook/7")
    monkeypatch.setenv("OTHER", "https://hook")
    # a switch that is mounted as a secret is the value of many variables
    monkeypatch.setenv(f"{prefix}ALERTS_SWITCH", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    environment = child_environment(ApiKey(KEY))
    assert "https://hook/7" not in environment.values()
    assert f"{prefix}ALERTS_SWITCH" not in environment
    assert (environment["OTHER"], environment["PYTHONUNBUFFERED"]) == ("https://hook", "1")


def test_no_key_is_in_the_environment_or_on_the_command_line_of_a_worker(folder: Path) -> None:
    worker = start("obeys_worker", folder)
    for part in ("environ", "cmdline"):
        content = Path(f"/proc/{worker.pid}/{part}").read_bytes()
        assert KEY.encode() not in content
        assert b"of-the-parent" not in content
    worker.end()


@pytest.mark.parametrize("has_child", [False, True])
def test_a_worker_outlives_its_task_and_delivers_in_the_time_it_was_first_given(
    folder: Path, has_child: bool
) -> None:
    code = f"""
        import os, sys, time
        from pathlib import Path
        sys.path.insert(0, {str(folder.parent)!r})
        from flytekitplugins.wbmon.delivery.credentials import ApiKey
        from flytekitplugins.wbmon.delivery.process import WorkerProcess
        worker = WorkerProcess("obeys_worker", ApiKey({KEY!r}), timeout_s=7)
        worker.begin(Path({str(folder)!r}))
        if {has_child} and os.fork() == 0:
            os.closerange(1, 3)  # or the test would wait for it too
            Path("child").write_text(str(os.getpid()))
            time.sleep(600)
        os.kill(os.getpid(), 9)
    """
    assert run_python(code, home=folder.parent).returncode == -signal.SIGKILL
    try:
        wait_until((folder / "done").exists)
        wait_until((folder / "done").read_text)
    finally:
        if has_child:
            os.kill(int((folder.parent / "child").read_text()), signal.SIGKILL)
    assert 5 <= json.loads((folder / "done").read_text())["left"] <= 7


def test_a_worker_that_does_not_end_is_ended_with_all_that_it_started(folder: Path) -> None:
    worker = start("stays_worker", folder)
    wait_until(lambda: members(worker.pid) >= 2)
    began = time.monotonic()
    worker.finish(0.5)
    assert time.monotonic() - began < 5
    wait_until(lambda: members(worker.pid) == 0)


def members(group: int) -> int:
    """How many processes of a group live."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
            found += int(its_group) == group and state != "Z"
    return found


def test_a_worker_that_died_is_replaced_and_told_the_same(folder: Path) -> None:
    start("dies_worker", folder).finish(30, tally={"n_rows": 3})
    assert json.loads((folder / "done").read_text()) == {"tally": {"n_rows": 3}}
    assert len(set((folder / "starts").read_text().split())) == 2


def test_a_worker_that_was_never_told_what_to_deliver_is_ended(folder: Path) -> None:
    worker = WorkerProcess("obeys_worker", ApiKey(KEY), timeout_s=7)
    worker.finish(30)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
    assert not (folder / "starts").exists()


def test_a_machine_without_processes_left_has_no_worker_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert WorkerProcess.try_start("any", ApiKey(KEY), timeout_s=1) is None
    assert "cannot start the process that delivers" in caplog.text
    assert KEY not in caplog.text


def test_the_end_of_the_input_is_the_end_of_the_task() -> None:
    lines = [json.dumps({"key": KEY, "timeout_s": 3}), json.dumps({"folder": "/f"})]
    signals = ParentSignals(iter(lines))
    assert signals.wait_for_folder() == Path("/f")
    assert signals.wait_until_done(10)
    assert signals.until() <= time.monotonic() + 3


def test_a_task_that_went_before_it_named_a_folder_has_none() -> None:
    assert ParentSignals(iter([json.dumps({"key": KEY, "timeout_s": 3})])).wait_for_folder() is None
