"""The verdict on a candidate, with what it rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.llm import compare_paired


def test_a_candidate_that_is_better_beyond_chance_ships(rng: np.random.Generator) -> None:
    a = rng.normal(0.6, 0.1, 80)
    found = compare_paired(a, a + rng.normal(0.05, 0.05, 80), metric="f1")

    assert found.verdict == "ship"
    assert found.low > 0
    assert found.p_value < 0.05
    assert math.isnan(found.n_to_decide)
    assert "better beyond chance: f1 +0.0" in found.reason


def test_a_candidate_that_is_worse_is_held(rng: np.random.Generator) -> None:
    a = rng.normal(0.6, 0.1, 80)

    assert compare_paired(a, a - 0.05 + rng.normal(0, 0.01, 80)).verdict == "hold"


def test_a_lower_cost_is_better_when_it_is_said_to_be(rng: np.random.Generator) -> None:
    a = rng.normal(5, 1, 50)
    cheaper = compare_paired(a, a - 1 + rng.normal(0, 0.1, 50), higher_is_better=False)

    assert cheaper.verdict == "ship"
    assert cheaper.difference < 0


def test_two_questions_decide_nothing_and_say_how_many_would() -> None:
    found = compare_paired([0, 1, 0, 1], [1, 1, 0, 1])

    assert found.verdict == "undecided"
    assert found.method == "mcnemar"
    assert found.n_to_decide == 32
    assert "about 32 items would decide" in found.reason


def test_a_change_that_cannot_gain_enough_is_held(rng: np.random.Generator) -> None:
    a = rng.normal(0.5, 0.1, 400)
    same = a + np.tile([0.01, -0.01], 200)

    assert compare_paired(a, same, min_effect=0.02).verdict == "hold"
    assert compare_paired(a, same).verdict == "undecided"


def test_equal_scores_will_never_decide() -> None:
    found = compare_paired([0.5] * 30, [0.5] * 30)

    assert found.verdict == "undecided"
    assert found.n_to_decide == math.inf


def test_repeats_of_an_item_are_not_taken_for_more_items(rng: np.random.Generator) -> None:
    a, b = rng.normal(0.5, 0.2, 12), rng.normal(0.58, 0.2, 12)
    noise = rng.normal(0, 0.001, 120)
    items = np.repeat(np.arange(12), 10)

    repeated = compare_paired(np.repeat(a, 10) + noise, np.repeat(b, 10) + noise, groups=items)

    assert repeated.n == 12
    assert repeated.p_value == pytest.approx(compare_paired(a, b).p_value, abs=0.05)


def test_items_that_one_side_could_not_score_are_counted_and_too_many_forbid_a_verdict() -> None:
    a = np.zeros(40)
    b = np.ones(40)
    b[:2] = math.nan
    assert compare_paired(a, b).verdict == "ship"
    assert compare_paired(a, b).n_unscored == 2

    b[:10] = math.nan
    found = compare_paired(a, b)
    assert found.verdict == "undecided"
    assert "10 items have no score" in found.reason


def test_one_item_is_too_few() -> None:
    assert compare_paired([1.0], [0.0]).verdict == "undecided"
    assert "too few" in compare_paired([], []).reason


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"min_effect": -1}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        compare_paired([1, 2], [2, 1], **wrong)


def test_arrays_that_do_not_pair_are_refused() -> None:
    with pytest.raises(DataError):
        compare_paired([1, 2], [1])
    with pytest.raises(DataError):
        compare_paired([1, math.inf], [1, 2])
    with pytest.raises(DataError):
        compare_paired([1, 2], [1, 2], groups=["x"])
