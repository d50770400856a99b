"""One value has one spelling in a day, whatever it is logged with, in which segment, and when."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

DAY = "2026-03-02"
WORDS = ("cat", "n/a", "True", "1.0", "007")
ANSWERS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**40), 10**40),
    st.sampled_from((0.0, 1.0, 0.5, 2.5, 1e-7, 1e22, 1e300)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
)


def log_day(root: Path, segments: Sequence[Sequence[tuple[str, Any, Any]]], early: int) -> None:
    """Each list is a segment of names, answers and labels; `early` of them are compacted before."""
    for i, rows in enumerate(segments):
        path = root / "sealed" / "api" / f"s-{i}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(to_line(line) for row in rows for line in lines(*row)))
        if i < early:
            compact_prediction_log(str(root), "api")
    compact_prediction_log(str(root), "api")


def lines(name: str, answer: Any, label: Any) -> tuple[dict[str, Any], ...]:
    of = {"timestamp": f"{DAY}T10:00:00.000000+00:00", "request_id": name}
    rated = {"feedback_id": name, "name": "label", "source": "code", "label": str(label)}
    return (
        {"kind": "prediction", "prediction": answer, "features": {"f": answer}, **of},
        {"kind": "feedback", **rated, **of},
    )


def cut(rows: Sequence[Any], places: Sequence[int]) -> list[Sequence[Any]]:
    ends = sorted({0, len(rows), *(place % (len(rows) + 1) for place in places)})
    return [rows[a:b] for a, b in pairwise(ends)]


def day_of(rows: Sequence[Any], places: Sequence[int], early: int) -> pa.Table:
    """Predictions with labels, in the order of their names."""
    with TemporaryDirectory() as folder:
        log_day(Path(folder), cut(rows, places), early)
        log, feedback = (
            day_folder(folder, kind, "api", DAY) for kind in ("prediction", "feedback")
        )
        joined = join_feedback(Path(log), Path(feedback)).table
    return joined.sort_by("request_id")


CUTS = st.lists(st.integers(0, 100), max_size=3)


@settings(max_examples=25, deadline=None)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=8), places=CUTS, early=st.integers(0, 3))
@example(answers=[3, 2.5, 3, 3, 2.5, "n/a"], places=[3], early=0)
@example(answers=[True, 3, "cat", True], places=[2], early=1)
@example(answers=[1e-7, 2**60, "cat"], places=[1], early=0)
@example(answers=[1e23, 2**60, 1e23, "cat", 1e300], places=[2], early=2)
@example(answers=[10**40, -0.0, 0, 5e-324, "cat"], places=[1, 3], early=1)
def test_a_value_is_spelled_by_itself_alone(
    answers: list[Any], places: list[int], early: int
) -> None:
    rows = [(f"{i:02}", answer, answer) for i, answer in enumerate(answers)]
    found = day_of(rows, places, early)

    for name in ("prediction", "feature.f"):
        spelled = [class_name(value) for value in found[name].to_pylist()]
        assert spelled == list(map(class_name, answers))


@settings(max_examples=10, deadline=None)
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=5),
    one=CUTS,
    other=CUTS,
    early=st.integers(0, 3),
)
@example(answers=[1, 2, 0.5, "cat", True], one=[], other=[3, 4], early=1)
def test_how_a_day_was_cut_is_no_drift(
    answers: list[Any], one: list[int], other: list[int], early: int
) -> None:
    rows = [(f"{i:03}", answers[i % len(answers)], "") for i in range(60)]
    columns = ["prediction", "feature.f"]
    reference = profile_data(day_of(rows, one, 0), columns=columns)
    current = profile_data(day_of(rows, other, early), like=reference, columns=columns)

    assert not check_drift(reference, current).drifted


TRUTHS = st.one_of(
    st.tuples(st.just(True), st.sampled_from(("True", "true", "yes", "1", "1.0"))),
    st.tuples(st.just(False), st.sampled_from(("False", "false", "no", "0", "0.0"))),
    st.integers(-2, 3).map(lambda n: (n, n)),
    st.integers(-2, 3).map(lambda n: (float(n), n)),
    st.sampled_from((0.5, 1e-7, 1.5e17, -1e22, 1e200)).map(lambda number: (number, number)),
    st.sampled_from(("cat", "dog")).map(lambda word: (word, word)),
)


@settings(max_examples=15, deadline=None)
@given(truths=st.lists(TRUTHS, min_size=1, max_size=6), places=CUTS, early=st.integers(0, 3))
@example(truths=[(True, "yes"), (3, 3)], places=[2], early=0)
@example(truths=[(True, "yes"), (False, "no"), (0.5, 0.5)], places=[3], early=1)
@example(truths=[(True, "yes"), (False, "no")], places=[], early=0)
@example(truths=[(1.5e17, 1.5e17), (1e-7, 1e-7)], places=[2], early=0)
def test_right_labels_meet_right_predictions_among_words(
    truths: list[tuple[Any, Any]], places: list[int], early: int
) -> None:
    pairs = [*truths * 10, ("cat", "cat"), ("dog", "dog")]
    rows = [(f"{i:03}", answer, label) for i, (answer, label) in enumerate(pairs)]
    report = check_performance(
        day_of(rows, places, early), task="classification", label="label", prediction="prediction"
    )

    assert report.metrics["accuracy"].value == 1.0
