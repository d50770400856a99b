from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg

p_values = st.lists(st.floats(0, 1), max_size=30)


def test_the_published_example_rejects_the_first_four():
    # Benjamini & Hochberg (1995), section 3: fifteen p-values of a thrombolysis study
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]

    assert (benjamini_hochberg(p) <= 0.05).tolist() == [True] * 4 + [False] * 11


@given(p_values)
def test_q_values_are_never_below_the_p_values_and_keep_their_order(p):
    q = benjamini_hochberg(p)

    assert (q >= np.array(p) - 1e-12).all()
    assert (q <= 1).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()


@given(p_values, st.randoms(use_true_random=False))
def test_the_order_of_the_hypotheses_does_not_matter(p, order):
    shuffled = list(range(len(p)))
    order.shuffle(shuffled)

    q = benjamini_hochberg([p[i] for i in shuffled])

    np.testing.assert_array_equal(q, benjamini_hochberg(p)[shuffled])


def test_what_could_not_be_tested_is_no_hypothesis():
    q = benjamini_hochberg([0.01, np.nan, 0.04])

    assert np.isnan(q[1])
    np.testing.assert_allclose(q[[0, 2]], benjamini_hochberg([0.01, 0.04]))
    assert benjamini_hochberg([]).tolist() == []


@given(p_values)
def test_q_values_are_the_smallest_scaled_p_value_of_those_at_least_as_large(p):
    ranked = sorted(p)
    scaled = [len(p) * value / (rank + 1) for rank, value in enumerate(ranked)]
    expected = {value: min([1.0, *scaled[ranked.index(value) :]]) for value in p}

    np.testing.assert_allclose(benjamini_hochberg(p), [expected[value] for value in p], rtol=1e-12)


def test_p_values_of_single_precision_are_not_rounded_again():
    p = np.array([0.1, 0.2, 0.7], dtype=np.float32)

    assert benjamini_hochberg(p).tolist() == benjamini_hochberg(p.astype(np.float64)).tolist()
