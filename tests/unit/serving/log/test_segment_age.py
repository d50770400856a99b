from __future__ import annotations

from pathlib import Path

import pytest

from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from support.prediction_log import read_rows, segments
from support.waiting import wait_until


@pytest.mark.parametrize(("segment_age", "is_sealed"), [(0.1, True), (300.0, False)])
def test_a_segment_is_sealed_at_the_age_asked_for(
    tmp_path: Path, segment_age: float, *, is_sealed: bool
) -> None:
    log = PredictionLogger(
        "api", str(tmp_path), sampling=SamplingPolicy(rate=1.0), segment_age=segment_age
    )
    log.log_prediction(prediction="yes")
    wait_until(lambda: bool(read_rows(tmp_path, "prediction")))
    if is_sealed:
        wait_until(lambda: bool(segments(tmp_path, "sealed")))
    else:
        assert segments(tmp_path, "sealed") == []
    log.close()
    assert segments(tmp_path, "sealed") == segments(tmp_path)
