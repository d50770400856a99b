from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import EstimatePerformance, PerformanceCheck
from flytekitplugins.wbmon.errors import ConfigError

NIGHT = pd.DataFrame(
    {
        "fraud": ["no", "yes"] * 60,
        "p_fraud": np.tile([0.2, 0.7, 0.6, 0.9], 30),
        "country": ["DE", "DE", "FR", "FR"] * 30,
        "at": pd.date_range("2026-01-01", periods=120, freq="h", tz="UTC"),
    }
)


def test_every_setting_of_the_check_can_be_given_to_the_node():
    node = PerformanceCheck(
        name="parts",
        task="classification",
        label="fraud",
        prediction="p_fraud",
        positive="yes",
        min_rows=40,
        segments=("country",),
        time="at",
        every="week",
        rank_by="accuracy",
    )
    report = node(data=StructuredDataset(dataframe=NIGHT)).report
    assert [part.value for part in report.segments] == ["FR", "DE"]
    assert [part.value for part in report.chunks] == ["2025-12-29", "2026-01-05"]
    assert report.chunks[1].status == "insufficient"
    assert report.classes == ("no", "yes")


@pytest.mark.parametrize("negative", [0, False, "0"])
def test_the_positive_class_of_a_node_may_be_a_false_one(negative):
    night = StructuredDataset(dataframe=NIGHT.assign(fraud=(NIGHT.fraud == "yes") * 1))
    given = {"task": "classification", "label": "fraud", "prediction": "p_fraud"}
    measured = PerformanceCheck(f"n.{negative!r}", positive=negative, classes=(0, 1), **given)
    expected = EstimatePerformance(f"e.{negative!r}", positive=negative, **given)

    reports = measured(data=night).report, expected(data=night, reference=night).report

    assert [report.positive for report in reports] == ["0", "0"]
    assert [report.positive_from for report in reports] == ["setting", "setting"]


def test_a_length_of_chunks_that_nobody_knows_is_refused_early():
    with pytest.raises(ConfigError, match="every must be one of hour, day, week, month"):
        PerformanceCheck(name="years", task="regression", label="y", prediction="q", every="year")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": None}, "threshold must be a probability"),
        ({"min_rows": -1}, "min_rows must be a whole number of at least 1, got -1"),
        ({"segments": "country"}, "segments must be a sequence of column names"),
        ({"classes": 5}, "classes must be a sequence of classes"),
        ({"rank_by": "rmse"}, "rank_by must be one of accuracy"),
        ({"score": 5}, "score must be a sequence of column names"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_early(changed, message):
    given = {"task": "classification", "label": "fraud", "prediction": "p_fraud"}
    with pytest.raises(ConfigError, match=message):
        PerformanceCheck(name="refused", **given | changed)
    assert PerformanceCheck(name="none", segments=None, classes=None, **given).config.segments == ()


def test_the_node_says_what_predictions_and_classes_are():
    night = NIGHT.assign(p_fraud=NIGHT.p_fraud.round())
    given = {"task": "classification", "label": "fraud", "prediction": "p_fraud"}
    scores = PerformanceCheck(name="a", prediction_is="probability", positive="no", **given)
    report = scores(data=StructuredDataset(dataframe=night)).report
    assert (report.prediction_is, report.positive) == ("probability", "no")
    coded = night.assign(fraud=(night.fraud == "yes").astype(int))
    three = PerformanceCheck(name="b", classes=("2",), **given)
    assert three(data=StructuredDataset(dataframe=coded)).report.classes == ("0", "1", "2")


@pytest.mark.parametrize("node", [PerformanceCheck, EstimatePerformance])
def test_a_meaning_that_cannot_be_is_refused_early(node):
    given = {"task": "classification", "label": "y", "prediction": "q"}
    with pytest.raises(ConfigError, match="prediction_is must be"):
        node(name="x", prediction_is="score", **given)
    with pytest.raises(ConfigError, match="needs no score"):
        node(name="y", prediction_is="probability", score="p", **given)
