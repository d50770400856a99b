"""Similarity of two texts, and of two vectors."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """The text in lower case, without punctuation, English articles and extra white space.

    References:
        Rajpurkar et al. (2016), SQuAD, whose evaluation compares answers in this form.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, expected: str) -> float:
    """1 if the normalised texts are equal, else 0."""
    return float(normalised(answer) == normalised(expected))


def token_f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall over the words of the normalised texts; in [0, 1].

    Two empty texts give 1, one empty text gives 0.

    References:
        Rajpurkar et al. (2016), SQuAD: 100,000+ questions for machine comprehension of text.
    """
    given, wanted = normalised(answer).split(), normalised(expected).split()
    n_common = sum((Counter(given) & Counter(wanted)).values())
    n_words = len(given) + len(wanted)
    # what the harmonic mean comes to, without a division by 0 for one empty text
    return 2 * n_common / n_words if n_words else 1.0


def cosine_similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of the angle between two vectors, in [-1, 1]; `nan` if one has length 0."""
    length = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / length if length else math.nan
