"""Labels and predictions of numbers and text together: which of the words are classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import check_performance
from flytekitplugins.wbmon.errors import DataError


def outcomes(labels: list, predictions: list, seed: int = 0) -> pd.DataFrame:
    """Rows in random order, in columns of objects."""
    frame = pd.DataFrame(
        {"label": pd.Series(labels, dtype=object), "said": pd.Series(predictions, dtype=object)}
    )
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


def measured(frame: pd.DataFrame, **settings):
    return check_performance(
        frame, task="classification", label="label", prediction="said", **settings
    )


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.45, 0.55, 0.9])
def test_words_that_are_predicted_are_classes_however_frequent_they_are(share):
    n = int(1000 * share)
    labels = [*["A"] * n, *[i % 2 for i in range(1000 - n)]]
    # every tenth is wrong
    said = [("A" if i % 3 else 1) if i % 10 == 0 else label for i, label in enumerate(labels)]
    truth = float(np.mean([str(a) == str(b) for a, b in zip(labels, said, strict=True)]))

    report = measured(outcomes(labels, said))

    assert report.classes == ("0", "1", "A")
    assert (report.n_labelled, report.n_unreadable) == (1000, 0)
    assert report.metrics["accuracy"].value == pytest.approx(truth)


@pytest.mark.parametrize(("n_words", "classes"), [(20, ("0", "1")), (300, ("0", "1", "A", "B"))])
def test_several_words_are_classes_if_they_are_not_few(n_words, classes):
    labels = [*["A", "B"] * (n_words // 2), *[0, 1] * ((1000 - n_words) // 2)]

    report = measured(outcomes(labels, [0, 1] * 500))

    assert set(report.classes) == set(classes)
    assert report.n_unreadable == (n_words if len(classes) == 2 else 0)
    assert report.n_labelled == 1000 - report.n_unreadable


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_one_word_that_nobody_predicts_stands_for_labels_that_have_not_come(share):
    n = int(1000 * share)
    labels = [*["n/a"] * n, *[i % 2 for i in range(1000 - n)]]

    report = measured(outcomes(labels, [i % 2 for i in range(1000)]))

    assert report.classes == ("0", "1")
    assert (report.n_labelled, report.n_unreadable) == (1000 - n, n)


@pytest.mark.parametrize("words", [["A", "B"], ["A"], ["pending", "lost"]])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_baseline_knows_which_words_are_classes(words, share):
    numbers = measured(outcomes([0, 1] * 500, [0, 1, 1, 1] * 250))
    n = int(1000 * share)
    labels = [*(words * 1000)[:n], *[i % 2 for i in range(1000 - n)]]

    report = measured(outcomes(labels, [i % 2 for i in range(1000)]), baseline=numbers)

    assert report.classes == ("0", "1")
    assert (report.n_labelled, report.n_unreadable) == (1000 - n, n)


def test_numbers_against_text_alone_are_refused():
    with pytest.raises(DataError, match="must hold the same classes"):
        measured(pd.DataFrame({"label": [0, 1] * 50, "said": ["no", "yes"] * 50}))


def test_many_different_texts_among_numbers_cost_their_rows():
    labels = [*[f"error {i}" for i in range(1200)], *[i % 2 for i in range(28_800)]]
    frame = outcomes(labels, [i % 2 for i in range(30_000)])

    report = measured(frame)

    assert report.classes == ("0", "1")
    assert (report.n_labelled, report.n_unreadable) == (28_800, 1200)


def test_probabilities_of_text_beside_mixed_labels_are_probabilities():
    rng = np.random.default_rng(0)
    labels = [*["n/a"] * 20, *[i % 2 for i in range(2980)]]

    report = measured(outcomes(labels, [f"{p:.9f}" for p in rng.random(3000)]))

    assert report.classes == ("0", "1")
    assert report.metrics["brier"].value > 0.2


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        (["True", "False"], ["true", "false"]),
        (["True", "False"], ["1", "0"]),
        (["True", "False"], ["yes", "no"]),
        (["True", "False"], [True, False]),
        (["1.0", "0.0"], ["1", "0"]),
        (["1", "0"], ["1.0", "0.0"]),
    ],
)
@pytest.mark.parametrize("others", [["spam"], []])
def test_values_that_became_text_beside_words_meet_labels_in_any_spelling(said, labels, others):
    frame = outcomes([*labels * 60, *[None] * len(others)], [*said * 60, *others])
    plain = measured(outcomes([1, 0] * 60, [1, 0] * 60))

    for baseline in (None, plain):
        report = measured(frame, baseline=baseline)

        assert (report.metrics["accuracy"].value, report.n_labelled) == (1.0, 120)
        assert {"0", "1"} <= {*report.classes}


def test_answers_meet_the_numbers_that_booleans_became_beside_words():
    labels = ["yes", "no", "spam", "3"] * 30

    report = measured(outcomes(labels, ["1", "0", "spam", "3"] * 30))
    assert report.metrics["accuracy"].value == 1.0
    assert report.classes == ("0", "1", "3", "spam")
    # a model that says both means two things
    apart = measured(outcomes(labels, ["yes", "0", "spam", "1"] * 30))
    assert apart.classes == ("0", "1", "3", "no", "spam", "yes")


def test_classes_that_are_spelled_alike_keep_their_names():
    report = measured(outcomes(["True", "False"] * 60, ["True", "False"] * 60))

    assert report.classes == ("False", "True")


def test_a_number_that_is_no_class_costs_its_row():
    report = measured(pd.DataFrame({"label": [1, 0] * 60, "said": [1.0, 0.0] * 59 + [1.0, 1e22]}))

    assert report.metrics["accuracy"].n == 119
