from __future__ import annotations

import math

import pytest

from flytekitplugins.wbmon.stats.text import (
    cosine_similarity,
    exact_match,
    normalised,
    token_f1,
)


def test_case_punctuation_articles_and_white_space_are_removed():
    assert normalised(" The  Cat's  hat, an owl and A theory. ") == "cats hat owl and theory"


def test_texts_match_if_they_are_equal_after_normalisation():
    assert exact_match("The Cat.", "cat") == 1.0
    assert exact_match("cat", "cats") == 0.0


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        # precision 1/3, recall 1/2
        ("cat sat mat", "cat dog", 0.4),
        # a word counts as often as both texts have it: precision 1/2, recall 1
        ("cat cat", "cat", 2 / 3),
        ("cat", "dog", 0.0),
        ("cat sat", "sat cat", 1.0),
        ("", "", 1.0),
        ("the", "an", 1.0),
        ("cat", "", 0.0),
        ("", "cat", 0.0),
    ],
)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(answer, expected, f1):
    assert token_f1(answer, expected) == pytest.approx(f1, rel=1e-15)


def test_the_cosine_of_two_sides_of_a_right_triangle():
    assert cosine_similarity([3, 4], [4, 3]) == pytest.approx(24 / 25)
    assert cosine_similarity([3, 4], [-8, 6]) == 0
    assert cosine_similarity([3, 4], [-6, -8]) == -1
    assert math.isnan(cosine_similarity([3, 4], [0, 0]))
