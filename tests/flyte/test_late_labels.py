"""A week later: labels are joined by key, and the model is judged by them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from workflows.late_labels import payments_labels

# a week after the night of a concept drift, and after a quiet one
DRIFTED = datetime(2026, 2, 28, 4, tzinfo=timezone.utc)
QUIET = datetime(2026, 2, 13, 4, tzinfo=timezone.utc)


@pytest.mark.parametrize(("kickoff", "acts"), [(DRIFTED, True), (QUIET, False)])
def test_the_truth_decides_a_week_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kickoff: datetime, acts: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_ENABLED", "false")
    answer = payments_labels(kickoff=kickoff, n_rows=3000)
    assert ("retrain" in answer) is acts
