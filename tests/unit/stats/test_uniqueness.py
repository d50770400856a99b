from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flytekitplugins.wbmon.stats.uniqueness import differing_pairs, uniqueness_evidence


@settings(deadline=None)
@given(arrays(np.int64, st.integers(0, 50), elements=st.integers(-30, 30)))
def test_all_pairs_differ_or_two_are_equal(values):
    values.sort()
    repeated = len(set(values.tolist())) < len(values)
    n = len(values)

    assert differing_pairs(values) == (-math.inf if repeated else n * (n - 1) / 2)


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 5))
def test_parts_never_claim_more_than_the_whole(values, n_parts):
    """Pairs of different parts are not looked at, so what parts say is less, never more."""
    bounds = np.linspace(0, len(values), n_parts + 1).astype(int)
    parts = [np.sort(np.array(values[a:b], dtype=np.int64)) for a, b in pairwise(bounds)]
    whole = differing_pairs(np.sort(np.array(values, dtype=np.int64)))

    total = sum(map(differing_pairs, parts))

    assert total >= whole if whole == -math.inf else total <= whole


def test_two_equal_values_far_from_the_middle_are_found():
    values = np.arange(10_000)
    values[1] = 0
    assert differing_pairs(values) == -math.inf


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.int8])
def test_the_ends_of_a_type_do_not_overflow(dtype):
    info = np.iinfo(dtype)
    values = np.array([info.min, info.max], dtype=dtype)
    assert differing_pairs(values) == 1.0


def test_twenty_three_people_share_a_birthday_as_often_as_not():
    """The exact chance that all differ is 0.4927; the bound is just above it."""
    bound = math.exp(-uniqueness_evidence(differing_pairs(np.arange(23)), 365))
    exact = math.prod(1 - i / 365 for i in range(23))
    assert exact == pytest.approx(0.4927, abs=1e-4)
    assert exact < bound < exact + 0.01


def test_the_bound_holds_for_draws_of_any_shape():
    """Share of samples in which all differ, against what the bound allows."""
    rng = np.random.default_rng(4)
    shapes = (
        lambda: rng.integers(0, 2000, 60),
        lambda: np.clip(rng.normal(1000, 400, 60), 0, 1999).astype(np.int64),
        lambda: np.clip(rng.exponential(400, 60), 0, 1999).astype(np.int64),
    )
    for draw in shapes:
        samples = [np.sort(draw()) for _ in range(400)]
        bound = [
            math.exp(-uniqueness_evidence(60 * 59 / 2, values[-1] - values[0] + 1))
            for values in samples
        ]
        differ = [differing_pairs(values) > 0 for values in samples]
        assert np.mean(differ) <= np.mean(bound) + 0.07
