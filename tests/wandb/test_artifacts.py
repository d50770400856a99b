"""Tasks in threads of one process, whose artifacts share a cache of wandb's that has no lock."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flytekit import FlyteContextManager
from flytekit.types.structured import StructuredDataset

import wandb
from flytekitplugins.wbmon import ProfileData, wandb_init
from support.wandb_log import find_runs

profile = wandb_init(mode="offline")(ProfileData("threads.profile"))


def test_two_tasks_make_their_artifacts_one_after_the_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_at_once, met = threading.Barrier(2, timeout=2), []
    make = wandb.Artifact.__init__

    def meet_and_make(artifact: wandb.Artifact, *args: Any, **kwargs: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            two_at_once.wait()
            met.append(threading.current_thread().name)
        make(artifact, *args, **kwargs)

    def work(number: int) -> None:
        FlyteContextManager.initialize()
        frame = pd.DataFrame({"amount": [1.0, 2.0, float(number)]})
        profile(data=StructuredDataset(dataframe=frame))

    monkeypatch.setattr(wandb.Artifact, "__init__", meet_and_make)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))

    assert met == []
    kinds = [[artifact.type for artifact in run.artifacts] for run in find_runs(folder)]
    assert len(kinds) == 2
    assert all("profile" in kind for kind in kinds)
