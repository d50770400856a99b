"""What each answer was rated, read from a feedback log.

An answer may be rated under several names and by several sources. Each of them has its own last
word; of these, the source that comes first decides, and of its names the one that spoke last.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flytekitplugins.wbmon.monitor.llm.feedback.scale import RatingScale, ScaleTable
from flytekitplugins.wbmon.monitor.prediction_log.feedback import last_words, source_of

_GOOD = {"👍", "good", "up", "like", "yes", "positive", "correct"}
_BAD = {"👎", "bad", "down", "dislike", "no", "negative", "incorrect", "wrong"}
# a name without a scale of its own is not read if more of its scores are off the usual one
_MAX_OFF_SCALE = 0.05


@dataclass(slots=True, kw_only=True)
class Rating:
    """The ratings of one request.

    Attributes:
        good: Whether it is liked; None if nobody said.
        score: The score that says so; `nan` if a label does.
        level: The score from 0 to 1, see `RatingScale.level`.
        labels: Complaints, in the order of their first occurrence.
        comment: The last comment.
        is_disputed: Whether sources or names disagree about whether it is liked.
    """

    good: bool | None = None
    score: float = math.nan
    level: float = math.nan
    labels: list[str] = field(default_factory=list)
    comment: str = ""
    is_disputed: bool = False


class Ratings(NamedTuple):
    """The ratings of a feedback log.

    Attributes:
        by_request: Rating by request id, of requests with a rating or a complaint.
        n_unreadable: Number of scores that are none, or not of their scale.
        unscaled: Names that are not read until their scale is declared.
        n_without_request: Number of ratings of whole sessions.
    """

    by_request: Mapping[str, Rating]
    n_unreadable: int = 0
    unscaled: tuple[str, ...] = ()
    n_without_request: int = 0


def read_ratings(
    rows: Iterable[Mapping[str, Any]],
    scales: ScaleTable,
    sources: Sequence[str],
    unscaled: Collection[str] = (),
) -> Ratings:
    """Read the ratings of each request.

    Args:
        rows: Rows of the feedback log.
        scales: Scales by name.
        sources: The sources to use; of those that disagree the first one decides.
        unscaled: Names that had scores off the usual scale before.
    """
    spoken = last_words(row for row in rows if source_of(row) in sources)
    used = [row for row in spoken if row["request_id"] is not None]
    off = _unscaled(used, scales, unscaled)
    found: dict[str, dict[tuple[str, str], Rating]] = defaultdict(dict)
    n_unreadable = 0
    for row in used:
        name = row["name"] or ""
        scale = None if name in off else scales.scale(name)
        opinions = found[row["request_id"]]
        key = (source_of(row), name)
        # taken out first, so that the last one is that which spoke last
        rating = opinions.pop(key, None) or Rating()
        opinions[key] = rating
        n_unreadable += not _hear(rating, row, scale)
    decided = {name: _decided(each, sources) for name, each in found.items()}
    return Ratings(
        {name: r for name, r in decided.items() if r.good is not None or r.labels},
        n_unreadable,
        tuple(sorted(off)),
        len(spoken) - len(used),
    )


def _unscaled(
    rows: Sequence[Mapping[str, Any]], scales: ScaleTable, before: Collection[str]
) -> set[str]:
    """Names that are not read: they have no scale of their own, and not the usual one either."""
    n, n_off = Counter[str](), Counter[str]()
    found = {name for name in before if not scales.is_declared(name)}
    for row in rows:
        name, score = row["name"] or "", _number(row["score"])
        if score is None or scales.is_declared(name):
            continue
        scale = scales.scale(name)
        n[name] += 1
        n_off[name] += scale is None or not scale.reads(score)
        if scale is None:
            found.add(name)
    return found | {name for name in n if n_off[name] > _MAX_OFF_SCALE * n[name]}


def _hear(rating: Rating, row: Mapping[str, Any], scale: RatingScale | None) -> bool:
    """Add what a row says; returns whether it could be read."""
    label = str(row["label"] or "").strip()
    word = label.casefold()
    score = _number(row["score"])
    rating.comment = row["comment"] or rating.comment
    if label and word not in _GOOD | _BAD and label not in rating.labels:
        rating.labels.append(label)
    if score is not None and scale is not None and scale.reads(score):
        rating.good, rating.score, rating.level = (
            score >= scale.good_from,
            score,
            scale.level(score),
        )
    elif word in _GOOD | _BAD:
        rating.good = word in _GOOD
        rating.score, rating.level = math.nan, float(rating.good)
    else:
        return score is None
    return True


def _number(score: Any) -> float | None:
    """A score; None if there is none, infinite if it is no number, which no scale reads."""
    try:
        number = math.nan if score is None else float(score)
    except (TypeError, ValueError):
        return math.inf
    return None if math.isnan(number) else number


def _decided(opinions: Mapping[tuple[str, str], Rating], sources: Sequence[str]) -> Rating:
    last_first = list(opinions.items())[::-1]
    # the sort keeps that order among those of one source
    by_rank = sorted(last_first, key=lambda each: sources.index(each[0][0]))
    known = [rating for _, rating in by_rank if rating.good is not None]
    first = known[0] if known else Rating()
    labels = [label for rating in opinions.values() for label in rating.labels]
    comments = [rating.comment for rating in opinions.values() if rating.comment]
    return Rating(
        good=first.good,
        score=first.score,
        level=first.level,
        labels=list(dict.fromkeys(labels)),
        comment=comments[-1] if comments else "",
        is_disputed=len({rating.good for rating in known}) > 1,
    )
