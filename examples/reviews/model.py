"""Is a review kind or not: words counted, so that the example needs no download."""

from __future__ import annotations

KIND = frozenset({"good", "great", "love", "like", "nice", "fine", "excellent", "happy"})
UNKIND = frozenset({"bad", "awful", "hate", "poor", "broken", "sad", "terrible", "slow"})


def judge(review: str) -> dict[str, float]:
    """The probability of each label.

    Args:
        review: A text that is not empty.

    Raises:
        ValueError: If it is.
    """
    words = review.lower().split()
    if not words:
        raise ValueError("write something first")
    kind = sum(word.strip(".,!?") in KIND for word in words)
    unkind = sum(word.strip(".,!?") in UNKIND for word in words)
    share = (kind + 1) / (kind + unkind + 2)
    return {"kind": share, "unkind": 1 - share}
