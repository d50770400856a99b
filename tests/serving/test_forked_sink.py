"""A live view in a server that forks its workers, and in one that ends without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.prediction_log import running
from support.wandb_log import find_runs

FORK = """
import os
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, WandbSink
sink = WandbSink("digits" * 12, project="p", entity="ops", every_s=0.2, folder="runs")
log = PredictionLogger("digits", "log", sampling=SamplingPolicy(rate=1.0), window=0.2, sinks=[sink])
def serve(n):
    for _ in range(n):
        log.log_prediction(prediction=1.0, latency_ms=1.0)
    log.close(timeout=20)
    sink._thread.join(60)
child = os.fork()
serve(3 if child == 0 else 2)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
def test_each_worker_shows_its_requests_in_a_run_of_its_own(tmp_path: Path) -> None:
    with running(FORK, home=tmp_path) as process:
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    runs = find_runs(tmp_path / "runs")
    served = [sum(run.column("serving/n_requests")) for run in runs]
    assert sorted(served) == [2, 3]
    assert len({run.id for run in runs}) == 2


UNCLOSED = """
import time
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, WandbSink
sink = WandbSink("digits", project="p", entity="ops", every_s=0.2, folder="runs")
log = PredictionLogger("digits", "log", sampling=SamplingPolicy(rate=1.0), window=0.2, sinks=[sink])
log.log_prediction(prediction=1.0, latency_ms=1.0)
while sink._day is None:
    time.sleep(0.1)
for _ in range(20):
    log.log_prediction(prediction=1.0, latency_ms=1.0)
"""


@pytest.mark.slow
def test_a_process_that_ends_without_closing_its_log_shows_its_last_requests(
    tmp_path: Path,
) -> None:
    """The end of wandb is registered later than that of the log, so it would come first."""
    with running(UNCLOSED, home=tmp_path) as process:
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    (run,) = find_runs(tmp_path / "runs")
    assert sum(run.column("serving/n_requests")) == 21
    assert run.exit_code == 0
