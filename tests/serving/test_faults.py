"""What a prediction log keeps when its process is asked to go, is killed, or runs out of disk."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from support.prediction_log import read_rows, running, segments, total, wait_for
from support.waiting import wait_until

FLUSH_S = 0.05
NEXT_YEAR = datetime.now(timezone.utc) + timedelta(days=365)
SERVE = f"""
import itertools, signal, sys, time
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
log = PredictionLogger("s", "log", sampling=SamplingPolicy(rate=1.0), flush_interval={FLUSH_S},
                       max_queue=1_000_000)
print("serving", flush=True)
"""
FOREVER = """
for i in itertools.count():
    log.log_prediction(features={"i": i}, latency_ms=1.0)
    if i % 100 == 0:
        print("served", i, flush=True)
        time.sleep(0.01)
"""


def read_windows(destination: Path) -> list[dict[str, Any]]:
    """The windows of all days, after compaction."""
    paths = destination.glob("serving_window/*/*/part-*.parquet")
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def last_served(output: str) -> int:
    return int(re.findall(r"served (\d+)", output)[-1])


def stop(process: subprocess.Popen[str], how: int) -> str:
    """Let it serve for a while, send a signal, and wait; what it said."""
    wait_for(process, "served 1000")
    process.send_signal(how)
    rest, _ = process.communicate(timeout=30)
    return "served 1000\n" + rest


def test_sigterm_loses_no_row_and_still_ends_the_process(tmp_path: Path) -> None:
    with running(SERVE + FOREVER, home=tmp_path) as process:
        said = stop(process, signal.SIGTERM)

    assert process.returncode == -signal.SIGTERM
    numbers = [row["features"]["i"] for row in read_rows(tmp_path / "log")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last_served(said)
    assert segments(tmp_path / "log", "open") == []
    assert total(tmp_path / "log", "requests") == len(numbers)


def test_sigkill_loses_nothing_that_had_the_time_to_be_flushed(tmp_path: Path) -> None:
    some = """
for i in range(1000):
    log.log_prediction(features={"i": i})
print("served 1000", flush=True)
time.sleep(600)
"""
    with running(SERVE + some, home=tmp_path) as process:
        wait_for(process, "served 1000")
        wait_until(lambda: len(read_rows(tmp_path / "log")) == 1000)
        process.kill()

    numbers = [row["features"]["i"] for row in read_rows(tmp_path / "log")]
    assert numbers == list(range(1000))
    assert len(segments(tmp_path / "log", "open")) == 1


def test_sigkill_leaves_the_counts_of_the_window_that_had_not_ended(tmp_path: Path) -> None:
    some = """
log = PredictionLogger("api", "log", window=3600, sampling=SamplingPolicy(rate=0.01))
for i in range(1000):
    with log.request(f"/{i % 3}", tenant=f"t{i % 2}"):
        pass
time.sleep(1)
for i in range(500):
    with log.request("/last"):
        pass
print("served 1500", flush=True)
time.sleep(600)
"""
    with running(SERVE + some, home=tmp_path) as process:
        wait_for(process, "served 1500")
        wait_until(lambda: total(tmp_path / "log", "requests") == 1500)
        process.kill()
        process.wait()
    report = compact_prediction_log(str(tmp_path / "log"), "api", now=NEXT_YEAR)

    assert (report.n_orphans, report.n_torn, report.n_duplicates) == (1, 0, 0)
    windows = read_windows(tmp_path / "log")
    by_key = {(row["route"], row["tenant"]): row["requests"] for row in windows}
    assert by_key.pop(("/last", None)) == 500
    assert len(by_key) == 6
    assert sum(by_key.values()) == 1000
    assert report.n_predictions == sum(row["sampled_rows"] for row in windows)


def test_killed_at_any_moment_rows_and_windows_agree_to_a_flush(tmp_path: Path) -> None:
    with running(SERVE + FOREVER, home=tmp_path) as process:
        wait_for(process, "served 1000")
        wait_until(lambda: len(read_rows(tmp_path / "log")) > 3000)
        process.kill()
        process.wait()
    report = compact_prediction_log(str(tmp_path / "log"), "s", now=NEXT_YEAR)
    counted = sum(row["requests"] for row in read_windows(tmp_path / "log"))

    # rows that were counted are written within the same flush or the next
    assert 0.8 * report.n_predictions <= counted <= 1.2 * report.n_predictions
    assert report.n_predictions > 3000


@pytest.mark.parametrize(
    ("start", "how", "end"),
    [
        ("fork", "ProcessPoolExecutor(2, mp_context=CONTEXT)", "shutdown"),
        ("fork", "CONTEXT.Pool(2)", "close"),
        # as `with` does: SIGTERM, while the children may be closing their log
        ("fork", "CONTEXT.Pool(2)", "terminate"),
        ("forkserver", "ProcessPoolExecutor(2, mp_context=CONTEXT)", "shutdown"),
        ("forkserver", "CONTEXT.Pool(2)", "terminate"),
        ("spawn", "CONTEXT.Pool(2)", "close"),
    ],
)
def test_the_children_of_multiprocessing_keep_their_rows_and_windows(
    tmp_path: Path, how: str, start: str, end: str
) -> None:
    (tmp_path / "pool.py").write_text(f"""
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

CONTEXT = multiprocessing.get_context({start!r})
log = PredictionLogger("api", "log", sampling=SamplingPolicy(rate=1.0))

def work(n):
    for i in range(n):
        log.log_prediction(prediction=i)
    return n

if __name__ == "__main__":
    log.log_prediction(prediction=-1)
    with {how} as pool:
        assert sum(pool.map(work, [50] * 4)) == 200
        pool.{end}()
        getattr(pool, "join", int)()
""")
    program = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'pool.py']))"
    # a server of forks has a socket there, whose path must be short
    with running(program, home=tmp_path, env={"TMPDIR": gettempdir()}) as process:
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert len(read_rows(tmp_path / "log")) == total(tmp_path / "log", "requests") == 201
    assert segments(tmp_path / "log", "open") == []


SIGTERM_WHILE_CLOSING = """
import os, threading
class Slow:
    def text(self, text):
        time.sleep(0.001)
        return text, 0
log = PredictionLogger("s", "log", sampling=SamplingPolicy(rate=1.0), redactor=Slow())
for i in range(400):
    log.log_prediction(features={"i": i}, input_text=f"x{i}")
term = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
term.daemon = True
term.start()
"""


@pytest.mark.parametrize(
    "close",
    ["log.close()", "sys.exit()", "threading.Thread(target=log.close).start(); time.sleep(60)"],
    ids=["in the main thread", "as the interpreter exits", "in another thread"],
)
def test_sigterm_while_the_log_is_being_closed_loses_nothing(tmp_path: Path, close: str) -> None:
    with running(SERVE + SIGTERM_WHILE_CLOSING + close, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGTERM, said
    assert len(read_rows(tmp_path / "log")) == total(tmp_path / "log", "requests") == 400
    assert segments(tmp_path / "log", "open") == []


def test_sigterm_at_any_line_of_closing_loses_nothing(tmp_path: Path) -> None:
    # also where the interrupted code holds a lock, which it cannot release any more
    at_each_line = """
import os
def close(at):
    log = PredictionLogger("s", "log", sampling=SamplingPolicy(rate=1.0), flush_interval=60)
    for i in range(5):
        log.log_prediction(features={"i": i})
    seen = itertools.count(1)
    def trace(*_):
        if next(seen) == at:
            signal.raise_signal(signal.SIGTERM)
        return trace
    sys.settrace(trace)
    log.close()
    sys.settrace(None)
    os._exit(7)
ends = []
while 7 not in ends:
    children = []
    for at in range(len(ends) + 1, len(ends) + 17):
        children.append(os.fork())
        if not children[-1]:
            close(at)
    ends += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(len(ends), *set(ends))
"""
    with running(SERVE + at_each_line, home=tmp_path) as process:
        said, _ = process.communicate(timeout=60)
    n_children, *ends = map(int, said.split()[-3:])

    assert n_children > 20
    assert set(ends) == {7, -signal.SIGTERM}
    assert len(read_rows(tmp_path / "log")) == 5 * n_children
    assert total(tmp_path / "log", "requests") == 5 * n_children


def test_windows_that_find_no_room_until_the_end_are_counted_and_said(tmp_path: Path) -> None:
    full = """
import json, logging, resource
logging.basicConfig(format="said: %(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
for i in range(6):
    with log.request(f"/{i % 3}"):
        pass
stats = log.close()
print(json.dumps([stats.served, stats.dropped, stats.failed]))
"""
    with running(SERVE + full, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    assert json.loads(said.splitlines()[-1]) == [6, 6, 3]
    assert "said: prediction log: 3 windows are lost, they could not be written" in said


def test_requests_that_end_after_the_log_was_closed_are_in_a_window(tmp_path: Path) -> None:
    late = """
with log.request("/early"):
    pass
log.close()
for _ in range(3):
    with log.request("/late"):
        pass
"""
    for end in ("log.close()", "os.kill(os.getpid(), signal.SIGTERM)", ""):
        with running(f"import os\n{SERVE}{late}{end}", home=tmp_path) as process:
            process.communicate(timeout=30)

    windows = read_rows(tmp_path / "log", "window")
    assert [row["route"] for row in windows].count("/late") == 3
    assert total(tmp_path / "log", "requests") == 3 * 4
    assert {row["dropped_rows"] for row in windows if row["route"] == "/late"} == {3}
    assert segments(tmp_path / "log", "open") == []


def test_a_log_folder_that_is_removed_costs_rows_that_are_counted(tmp_path: Path) -> None:
    remove = """
import shutil
log.log_prediction(features={"i": 0})
time.sleep(0.3)
shutil.rmtree("log")
for i in range(50):
    log.log_prediction(features={"i": i})
    time.sleep(0.01)
stats = log.close()
print(stats.served, stats.logged, stats.dropped)
"""
    with running(SERVE + remove, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)
    served, logged, dropped = map(int, said.split()[-3:])

    assert served == 51 == logged + dropped
    # the first was written before the folder was removed
    assert len(read_rows(tmp_path / "log")) == logged - 1
    assert 0 < dropped < 40


def test_the_end_of_the_interpreter_loses_no_row(tmp_path: Path) -> None:
    code = SERVE + "for i in range(500): log.log_prediction(features={'i': i})\n"
    with running(code, home=tmp_path) as process:
        process.communicate(timeout=30)

    assert process.returncode == 0
    assert len(read_rows(tmp_path / "log")) == 500


def test_a_servers_own_handler_of_sigterm_is_left_in_place(tmp_path: Path) -> None:
    own = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
"""
    with running(own + SERVE + FOREVER, home=tmp_path) as process:
        said = stop(process, signal.SIGTERM)

    assert process.returncode == 7
    assert len(read_rows(tmp_path / "log")) > last_served(said)


def test_a_signal_in_the_middle_of_a_call_of_the_log_still_ends_the_process(
    tmp_path: Path,
) -> None:
    interrupt = """
import os
from flytekitplugins.wbmon.serving.log.buffer import Buffer
append = Buffer._append
def interrupted(buffer, item):
    os.kill(os.getpid(), signal.SIGTERM)
    append(buffer, item)
log.log_prediction(features={"i": 0})
time.sleep(0.25)
Buffer._append = interrupted
log.log_feedback("request-1", "thumbs", score=1.0)
"""
    with running(SERVE + interrupt, home=tmp_path) as process:
        process.communicate(timeout=30)

    assert process.returncode == -signal.SIGTERM
    assert len(read_rows(tmp_path / "log")) == 1
    assert segments(tmp_path / "log", "open") == []


def test_forked_workers_write_segments_of_their_own(tmp_path: Path) -> None:
    fork = """
import os
log.log_prediction(features={"i": -1})
children = []
for worker in range(3):
    child = os.fork()
    if child == 0:
        for i in range(200):
            log.log_prediction(features={"i": worker * 200 + i})
        log.close()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""
    with running(SERVE + fork, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 0, said
    rows = read_rows(tmp_path / "log")
    assert sorted(row["features"]["i"] for row in rows) == list(range(-1, 600))
    assert len(segments(tmp_path / "log", "sealed")) == 4
    assert len({row["instance"] for row in rows}) == 4
    assert len({row["request_id"] for row in rows}) == 601


def test_a_full_disk_costs_rows_that_are_counted_and_leaves_whole_lines(tmp_path: Path) -> None:
    # the limit on the size of a file is a full disk that needs no disk
    full = """
import json, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for i in range(500):
    log.log_prediction(features={"i": i})
time.sleep(0.5)
stats = log.close()
print(json.dumps([stats.served, stats.logged, stats.dropped, stats.sampled_out]))
"""
    with running(SERVE + full, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    served, logged, dropped, sampled_out = json.loads(said.splitlines()[-1])
    assert served == 500 == logged + dropped + sampled_out
    assert dropped > 0
    assert len(read_rows(tmp_path / "log")) == logged
    for path in segments(tmp_path / "log"):
        assert path.read_bytes().endswith(b"\n")


def test_a_disk_that_has_room_again_takes_the_next_rows(tmp_path: Path) -> None:
    again = """
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
for i in range(100):
    log.log_prediction(features={"i": i})
time.sleep(0.3)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for i in range(100, 200):
    log.log_prediction(features={"i": i})
log.close()
"""
    with running(SERVE + again, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 0, said
    numbers = {row["features"]["i"] for row in read_rows(tmp_path / "log")}
    assert numbers >= set(range(100, 200))
    assert total(tmp_path / "log", "requests") == 200


def test_closing_ends_at_its_deadline_and_counts_what_is_left(tmp_path: Path) -> None:
    slow = """
import json, time
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
class Slow:
    def text(self, text):
        time.sleep(0.02)
        return text, 0
log = PredictionLogger("s", "log", sampling=SamplingPolicy(rate=1.0), redactor=Slow())
for i in range(2000):
    log.log_prediction(input_text=f"x{i}")
stats = log.close(timeout=1.0)
print(json.dumps([stats.served, stats.logged, stats.dropped]))
"""
    with running(slow, home=tmp_path) as process:
        said, _ = process.communicate(timeout=60)

    served, logged, dropped = json.loads(said.splitlines()[-1])
    assert dropped > 0, "it waited for all 40 s of work"
    assert served == 2000 == logged + dropped
    assert len(read_rows(tmp_path / "log")) == logged
    assert total(tmp_path / "log", "dropped_rows") == dropped


def test_importing_serving_needs_nothing_beyond_the_standard_library(tmp_path: Path) -> None:
    code = """
import json, sys
before = set(sys.modules)
import flytekitplugins.wbmon.serving as serving
from flytekitplugins.wbmon.serving import PatternRedactor, PredictionLogger
from flytekitplugins.wbmon.serving import PredictionLoggingMiddleware, SamplingPolicy, WandbSink
from flytekitplugins.wbmon.serving import gradio_feedback, monitor_gradio, streamlit_session
log = PredictionLogger("s", "log", sampling=SamplingPolicy(rate=1.0))
log.log_prediction(features={"a": 1}, input_text="me@x.com")
log.close()
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(roots - set(sys.stdlib_module_names))))
"""
    with running(code, home=tmp_path) as process:
        said, _ = process.communicate(timeout=30)

    assert json.loads(said.splitlines()[-1]) == ["flytekitplugins"]
