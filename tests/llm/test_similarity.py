"""Similarity by a real embedding model: what means the same scores high in other words."""

from __future__ import annotations

import numpy as np
import pytest

from flytekitplugins.wbmon import Answer, Variant
from flytekitplugins.wbmon.llm import Similar, evaluate_variants
from support.minilm import MiniLM, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="the embedding model is not installed")

PAIRS = [
    ("The meeting was moved to Friday.", "They postponed the meeting until Friday."),
    ("Paris is the capital of France.", "France's capital city is Paris."),
    ("The invoice has not been paid.", "Payment of the bill is outstanding."),
    ("She plays the violin very well.", "She is an excellent violinist."),
    ("The server is not reachable.", "We cannot connect to the host."),
    ("It will rain tomorrow.", "Rain is expected for tomorrow."),
    ("The parcel arrived damaged.", "The package was broken when it came."),
    ("He forgot his password.", "He does not remember his login secret."),
]


@pytest.fixture(scope="module")
def embed() -> MiniLM:
    return MiniLM()


def test_vectors_have_length_one_and_do_not_depend_on_their_neighbours(embed: MiniLM) -> None:
    together, alone = embed([PAIRS[0][0], PAIRS[1][0]]), embed([PAIRS[0][0]])

    assert np.linalg.norm(together[0]) == pytest.approx(1)
    assert together[0] == pytest.approx(alone[0])
    assert len(alone[0]) == 384


def test_the_same_in_other_words_is_nearer_than_anything_else(embed: MiniLM) -> None:
    first, second = (np.array(embed([pair[i] for pair in PAIRS])) for i in (0, 1))
    nearest = (first @ second.T).argmax(axis=1)

    assert nearest.tolist() == list(range(len(PAIRS)))


def test_answers_in_other_words_are_right_by_meaning_where_words_say_no(embed: MiniLM) -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        if variant.name == "rephrased":
            return Answer(text=item["other"])
        return Answer(text=PAIRS[(item["place"] + 3) % len(PAIRS)][0])

    items = [
        {"id": str(place), "place": place, "expected": expected, "other": other}
        for place, (expected, other) in enumerate(PAIRS)
    ]
    variants = [Variant.of_text("beside the point", "x"), Variant.of_text("rephrased", "y")]
    report = evaluate_variants(items, variants, ask, scorers={"similar": Similar(embed)})
    poor, good = (result.scores["similar"].mean for result in report.variants)

    assert good > 0.6
    assert poor < 0.3
    assert report.verdict == "ship"
