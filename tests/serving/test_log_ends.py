"""How a writer of either log may end: killed, without a disk, forked, forgotten. What is kept then.

`read_calls` reads the segments of both logs, so one reader judges both.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from flytekitplugins.wbmon.llm import CallLog, read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments import upload
from support.prediction_log import running, segments, wait_for
from support.s3 import S3Server
from support.waiting import wait_until

PREDICTIONS = """
import os, sys, time
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
log = PredictionLogger("api", DESTINATION,
                       sampling=SamplingPolicy(rate=1.0), spool="spool", flush_interval=0.01,
                       max_queue=1_000_000)
def write(i):
    log.log_prediction(session_id=str(i))
def counts():
    stats = log.stats
    return stats.logged, stats.dropped
"""
CALLS = """
import os, sys, time
from flytekitplugins.wbmon.llm import CallLog
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
log = CallLog(DESTINATION, "api", spool="spool")
def write(i):
    log.log_call(new_row(session_id=str(i)))
def counts():
    return log.n_rows, log.n_failed
"""
BOTH = pytest.mark.parametrize("begin", [PREDICTIONS, CALLS], ids=["predictions", "calls"])


def code(begin: str, body: str, destination: str = "log") -> str:
    return f"DESTINATION = {destination!r}\n{begin}\n{body}"


def numbers(destination: Path | str) -> list[int]:
    """What was written, as a reader finds it."""
    return sorted(int(text) for text in read_calls(destination)["session_id"].to_pylist())


def run(program: str, home: Path, **env: str) -> str:
    """Let a program end by itself; what it said."""
    with running(program, home=home, env=env) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return str(said)


FOREVER = """
i = 0
while True:
    write(i)
    print("written", i, flush=True)
    i += 1
"""


@BOTH
@pytest.mark.parametrize("after_s", [0.0, 0.013, 0.07, 0.19])
def test_a_writer_killed_at_any_moment_leaves_whole_lines_without_a_gap(
    begin: str, after_s: float, tmp_path: Path
) -> None:
    with running(code(begin, FOREVER), home=tmp_path) as process:
        wait_for(process, "written 200")
        wait_until(lambda: bool(numbers(tmp_path / "log")))
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=30)

    found = numbers(tmp_path / "log")
    assert found == list(range(len(found)))
    if begin is CALLS:
        # a call is on disk when `log_call` returns; the last line said may be cut off itself, and a
        # slow writer may have said nothing since the line that was waited for
        *_, last = re.findall(r"^written (\d+)\n", f"written 200\n{said}", re.MULTILINE)
        assert len(found) > int(last)


@BOTH
def test_a_segment_cut_anywhere_gives_its_whole_lines_and_says_that_one_is_torn(
    begin: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(code(begin, "for i in range(4): write(i)\nlog.close()"), tmp_path)
    (path,) = segments(tmp_path / "log")
    data = path.read_bytes()
    assert numbers(tmp_path / "log") == [0, 1, 2, 3]
    for cut in range(0, len(data), 7):
        caplog.clear()
        path.write_bytes(data[:cut])
        n_whole = data[:cut].count(b"\n")

        assert numbers(tmp_path / "log") == list(range(min(n_whole, 4)))
        is_torn = cut > 0 and data[cut - 1 : cut] != b"\n"
        # the window of the predictions is a row of another kind, not a torn one
        assert ("1 lines are torn" in caplog.text) is is_torn


@BOTH
def test_a_full_disk_costs_rows_that_are_counted_and_the_next_ones_find_room(
    begin: str, tmp_path: Path
) -> None:
    # the limit on the size of a file is a full disk that needs no disk
    full = """
import json, resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
for i in range(100):
    write(i)
    time.sleep(0.002)
time.sleep(0.3)
kept, lost = counts()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for i in range(100, 120):
    write(i)
log.close()
print(json.dumps([kept, lost, *counts()]))
"""
    kept, lost, n_rows, n_failed = json.loads(run(code(begin, full), tmp_path).splitlines()[-1])

    assert kept + lost == 100
    assert lost > 0 < kept
    assert (n_rows, n_failed) == (kept + 20, lost)
    found = numbers(tmp_path / "log")
    assert len(found) == n_rows
    assert found[-20:] == list(range(100, 120))
    assert all(path.read_bytes()[-1:] in (b"\n", b"") for path in segments(tmp_path / "log"))


@BOTH
@pytest.mark.parametrize("place", ["/sys/wbmon", "in-the-way/log"])
def test_a_folder_that_cannot_be_written_to_costs_the_rows_and_not_the_program(
    begin: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "in-the-way").write_text("a file")
    body = "for i in range(5): write(i)\nlog.close()\nprint(*counts())"
    said = run(code(begin, body, place), tmp_path)

    assert said.splitlines()[-1] == "0 5"
    assert "Traceback" not in said


@BOTH
def test_writers_that_share_a_folder_share_no_file(begin: str, tmp_path: Path) -> None:
    def body(n: int) -> str:
        return f"for i in range({n}, {n + 300}): write(i)\nlog.close()"

    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(code(begin, body(300 * k)), home=tmp_path))
            for k in range(3)
        ]
        said = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert numbers(tmp_path / "log") == list(range(900))
    assert len(segments(tmp_path / "log", "sealed")) == 3


@BOTH
def test_a_child_forked_in_the_middle_of_writing_has_a_segment_of_its_own(
    begin: str, tmp_path: Path
) -> None:
    fork = """
import threading
is_over = threading.Event()
def go_on():
    i = 1000
    while not is_over.is_set():
        write(i)
        i += 1
thread = threading.Thread(target=go_on)
write(0)
thread.start()
children = []
for k in range(1, 11):
    child = os.fork()
    if child == 0:
        write(k)
        log.close()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 10
is_over.set()
thread.join()
write(11)
log.close()
"""
    run(code(begin, fork), tmp_path)
    found = numbers(tmp_path / "log")

    assert found[:12] == list(range(12))
    assert found[12:] == list(range(1000, 1000 + len(found) - 12))
    assert len(segments(tmp_path / "log", "sealed")) == 11
    assert segments(tmp_path / "log", "open") == []


@BOTH
@pytest.mark.parametrize("end", ["", "import signal; os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_log_that_nobody_closes_is_whole_when_its_process_ends(
    begin: str, end: str, tmp_path: Path
) -> None:
    body = f"for i in range(50): write(i)\n{end}"
    with running(code(begin, body), home=tmp_path) as process:
        process.communicate(timeout=60)

    assert process.returncode == (-signal.SIGTERM if end else 0)
    assert numbers(tmp_path / "log") == list(range(50))
    assert segments(tmp_path / "log", "open") == []


@BOTH
def test_a_log_in_a_bucket_that_nobody_closes_is_sent_when_its_process_ends(
    begin: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    root = f"{s3.bucket(f'end-{uuid4().hex}').root}/log"
    run(code(begin, "for i in range(50): write(i)", root), tmp_path, **s3.fsspec_env)

    assert numbers(root) == list(range(50))
    assert segments(tmp_path / "spool") == []


@BOTH
def test_what_a_killed_process_left_in_the_spool_is_sent_by_the_next(
    begin: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    root = f"{s3.bucket(f'kill-{uuid4().hex}').root}/log"
    with running(code(begin, FOREVER, root), home=tmp_path, env=s3.fsspec_env) as process:
        wait_for(process, "written 100")
        wait_until(lambda: bool(numbers(tmp_path / "spool")))
        process.kill()
        process.communicate(timeout=30)
    left = numbers(tmp_path / "spool")
    long_ago = time.time() - 7200
    for path in segments(tmp_path / "spool", "open"):
        os.utime(path, (long_ago, long_ago))
    run(code(begin, "write(-1)", root), tmp_path, **s3.fsspec_env)

    assert len(left) > 0
    assert numbers(root) == [-1, *left]


@BOTH
def test_workers_of_a_pool_and_forked_children_that_close_nothing_have_sent_their_rows(
    begin: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    root = f"{s3.bucket(f'pool-{uuid4().hex}').root}/log"
    body = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
fork = multiprocessing.get_context("fork")
with fork.Pool(2) as pool:
    pool.map(write, range(10))
    pool.close()
    pool.join()
with ProcessPoolExecutor(2, mp_context=fork) as executor:
    list(executor.map(write, range(10, 20)))
write(20)
child = os.fork()
if child == 0:
    write(21)
    while not counts()[0]:
        time.sleep(0.01)
    os._exit(0)
os.waitpid(child, 0)
"""
    run(code(begin, body, root), tmp_path, **s3.fsspec_env)

    assert numbers(root) == list(range(22))
    assert segments(tmp_path / "spool") == []


@BOTH
def test_what_a_process_that_was_killed_just_now_left_is_sent_by_the_next(
    begin: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    root = f"{s3.bucket(f'killed-{uuid4().hex}').root}/log"
    kill = """
import signal
for i in range(5): write(i)
while counts()[0] < 5:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with running(code(begin, kill, root), home=tmp_path, env=s3.fsspec_env) as process:
        process.communicate(timeout=60)
    assert numbers(tmp_path / "spool") == list(range(5))
    run(code(begin, "write(5)", root), tmp_path, **s3.fsspec_env)

    assert numbers(root) == list(range(6))
    assert segments(tmp_path / "spool") == []


def test_a_quiet_call_log_sends_its_segment_at_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_LONGEST_PAUSE_S", 0.05)
    destination = f"memory://quiet-{uuid4().hex}"
    log = CallLog(destination, "api", segment_age=0.2, spool=str(tmp_path))
    log.log_call(new_row(session_id="1"))
    files = fsspec.filesystem("memory")
    wait_until(lambda: bool(files.glob(f"{destination.partition('/')[2][1:]}/sealed/api/*")))

    assert numbers(destination) == [1]
    log.close()


def test_a_call_log_goes_on_after_a_reader_took_its_segment_for_that_of_a_dead_process(
    tmp_path: Path,
) -> None:
    log = CallLog(tmp_path, "api", segment_age=0.2)
    log.log_call(new_row(session_id="1"))
    (path,) = segments(tmp_path, "open")
    quiet_since = time.time() - 3600
    os.utime(path, (quiet_since, quiet_since))
    report = compact_prediction_log(str(tmp_path), "api")
    time.sleep(0.25)
    log.log_call(new_row(session_id="2"))
    log.close()

    assert (report.n_orphans, report.n_predictions) == (1, 1)
    assert numbers(tmp_path) == [2]
    assert (log.n_rows, log.n_failed) == (2, 0)


def test_logs_of_one_service_with_two_destinations_share_no_spool() -> None:
    places = [f"memory://{uuid4().hex}" for _ in range(3)]
    calls = [CallLog(place, "api") for place in places[:2]]
    for i, log in enumerate(calls):
        log.log_call(new_row(session_id=str(i)))
    predictions = PredictionLogger("api", places[2], sampling=SamplingPolicy(rate=1.0))
    predictions.log_prediction(session_id="2")
    for each in (*calls, predictions):
        each.close()

    assert [numbers(place) for place in places] == [[0], [1], [2]]


def test_a_call_log_of_the_same_name_overwrites_nothing_in_a_bucket() -> None:
    destination = f"memory://{uuid4().hex}"
    for i in range(3):
        with CallLog(destination, "api", instance="pod") as log:
            log.log_call(new_row(session_id=str(i)))

    assert numbers(destination) == [0, 1, 2]


def test_a_call_log_writes_on_after_it_was_closed(tmp_path: Path) -> None:
    log = CallLog(tmp_path, "api")
    for i in range(2):
        log.log_call(new_row(session_id=str(i)))
        log.close()

    assert numbers(tmp_path) == [0, 1]
    assert len(segments(tmp_path, "sealed")) == 2
