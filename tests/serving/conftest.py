"""Servers and logs for the serving tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

Make = Callable[..., PredictionLogger]


@pytest.fixture
def make_log(tmp_path: Path) -> Iterator[Make]:
    """Prediction logs below `tmp_path/log` that keep every row, closed at the end."""
    made: list[PredictionLogger] = []

    def build(**settings: Any) -> PredictionLogger:
        settings = {"sampling": SamplingPolicy(rate=1.0), "user_key": "test", **settings}
        made.append(PredictionLogger("api", str(tmp_path / "log"), **settings))
        return made[-1]

    yield build
    for log in made:
        log.close()
