"""Measures of a ranking, by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.retrieval import average_precision, retrieval_metrics

ids = st.lists(st.sampled_from("abcdefgh"), max_size=8)


def test_a_ranking_by_hand() -> None:
    found = retrieval_metrics(retrieved=["x", "a", "y", "b", "c"], relevant={"a", "b", "d"}, k=4)

    assert found.recall == pytest.approx(2 / 3)
    assert found.precision == 0.5
    assert found.mrr == 0.5
    assert found.hit_rate == 1.0
    ideal = 1 + 1 / math.log2(3) + 0.5
    assert found.ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)


def test_ndcg_of_graded_documents_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    for _ in range(20):
        grades = rng.integers(0, 4, 6)
        if not grades.any():
            continue
        order = rng.permutation(6)
        scores = np.empty(6)
        scores[order] = np.arange(6, 0, -1)
        relevant = {str(i): float(g) for i, g in enumerate(grades)}
        for k in (1, 3, 6):
            found = retrieval_metrics(retrieved=[str(i) for i in order], relevant=relevant, k=k)
            assert found.ndcg == pytest.approx(ndcg_score([grades], [scores], k=k))


def test_average_precision_agrees_with_scikit_learn() -> None:
    verdicts = [True, False, True, True, False]
    expected = average_precision_score(verdicts, [5, 4, 3, 2, 1])

    assert average_precision(verdicts) == pytest.approx(expected)
    assert math.isnan(average_precision([]))
    assert average_precision([False]) == 0.0


@given(ids, st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 8))
def test_every_measure_lies_between_0_and_1(retrieved: list, relevant: set, k: int) -> None:
    found = retrieval_metrics(retrieved=retrieved, relevant=relevant, k=k)

    assert all(0 <= value <= 1 + 1e-12 for value in found)
    assert (found.mrr > 0) == (found.hit_rate == 1)


def test_a_document_retrieved_twice_counts_once() -> None:
    found = retrieval_metrics(retrieved=["a", "a"], relevant={"a", "b"}, k=2)

    assert found.recall == 0.5
    assert found.precision == 0.5


def test_all_places_count_unless_told_otherwise() -> None:
    found = retrieval_metrics(retrieved=["x", "y", "a", "b"], relevant={"a": 2.0, "b": 1, "z": 0})

    assert found[:3] == (1.0, 0.5, pytest.approx(1 / 3))
    ideal = 2 + 1 / math.log2(3)
    assert found.ndcg == pytest.approx((2 / math.log2(4) + 1 / math.log2(5)) / ideal)
    assert math.isnan(retrieval_metrics(retrieved=[], relevant={"a"}).precision)


def test_a_place_counts_even_if_nothing_was_retrieved_for_it() -> None:
    assert retrieval_metrics(retrieved=["a"], relevant={"a"}, k=4).precision == 0.25
    assert retrieval_metrics(retrieved=["a", "b"], relevant={"b"}, k=1) == (0.0,) * 5


def test_a_grade_below_one_is_relevant_and_one_of_zero_is_not() -> None:
    found = retrieval_metrics(retrieved=["a", "b"], relevant={"a": 0.5, "b": 0.0})
    assert found == (1.0, 0.5, 1.0, 1.0, 1.0)


def test_nothing_retrieved_is_zero_and_nothing_relevant_is_undefined() -> None:
    empty = retrieval_metrics(retrieved=[], relevant={"a"}, k=3)
    unlabelled = retrieval_metrics(retrieved=["a"], relevant=set(), k=3)

    assert empty == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert all(math.isnan(value) for value in unlabelled)


@pytest.mark.parametrize(
    "wrong",
    [
        {"relevant": "a"},
        {"relevant": {"a"}, "k": 0},
        {"relevant": {"a": -1.0}},
        {"relevant": {"a": math.nan, "b": 1.0}},
    ],
)
def test_what_cannot_be_a_ranking_is_refused(wrong: dict) -> None:
    with pytest.raises(DataError):
        retrieval_metrics(retrieved=["a"], **wrong)
