"""Metrics of a ranking of retrieved documents, given the relevant documents."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from flytekitplugins.wbmon.errors import DataError


class RetrievalMetrics(NamedTuple):
    """The standard metrics of one ranking, each in [0, 1]; `nan` where undefined.

    Attributes:
        recall: Number of relevant documents among the first `k`, divided by all relevant ones.
        precision: Number of relevant documents among the first `k`, divided by `k`.
        mrr: Reciprocal rank of the first relevant document; 0 if none is found.
        ndcg: Discounted cumulative gain, divided by that of the best possible ranking.
        hit_rate: 1 if any relevant document is found, else 0.
    """

    recall: float
    precision: float
    mrr: float
    ndcg: float
    hit_rate: float


_UNDEFINED = RetrievalMetrics(math.nan, math.nan, math.nan, math.nan, math.nan)


def retrieval_metrics(
    *,
    retrieved: Sequence[str],
    relevant: Collection[str] | Mapping[str, float],
    k: int | None = None,
) -> RetrievalMetrics:
    """Metrics of the ranking of one query.

    A document that was retrieved twice counts once, at its better rank; its second place counts as
    not relevant. The gain of a document is its grade, divided by `log2(rank + 1)`.

    Args:
        retrieved: Ids of the retrieved documents, best first; may be empty.
        relevant: Ids of the relevant documents, or a mapping of ids to grades (0 is not relevant).
        k: Number of places that count, from the top; None counts all.

    Returns:
        The metrics. All are `nan` if no document is relevant, because nothing could be found.
        Precision is also `nan` if nothing was retrieved and `k` is None.

    Raises:
        DataError: If `k` is smaller than 1, `relevant` is a string, or a grade is negative.

    References:
        Järvelin & Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.
    """
    grades = _grades(relevant)
    if k is not None and k < 1:
        raise DataError(f"k must be at least 1, got {k}")
    if not grades:
        return _UNDEFINED
    places = list(retrieved)[:k]
    seen: set[str] = set()
    gains = []
    for document in places:
        gains.append(0.0 if document in seen else grades.get(document, 0.0))
        seen.add(document)
    ranks = [rank for rank, gain in enumerate(gains, start=1) if gain > 0]
    size = len(places) if k is None else k
    # the best possible ranking is cut at k, too; otherwise NDCG could not reach 1
    best = sorted(grades.values(), reverse=True)[: k or None]
    return RetrievalMetrics(
        recall=len(ranks) / len(grades),
        precision=len(ranks) / size if size else math.nan,
        mrr=1 / ranks[0] if ranks else 0.0,
        ndcg=_discounted(gains) / _discounted(best),
        hit_rate=float(bool(ranks)),
    )


def average_precision(verdicts: Sequence[bool]) -> float:
    """Average precision of a ranking in which the document at each rank was judged.

    The mean, over the ranks of useful documents, of the precision up to that rank. It is higher if
    the useful documents are ranked higher.

    Args:
        verdicts: Whether the document at each rank is useful, best rank first.

    Returns:
        In [0, 1]; 0 if no document is useful, `nan` if `verdicts` is empty.
    """
    if not verdicts:
        return math.nan
    useful = 0
    total = 0.0
    for rank, verdict in enumerate(verdicts, start=1):
        if verdict:
            useful += 1
            total += useful / rank
    return total / useful if useful else 0.0


def _grades(relevant: Collection[str] | Mapping[str, float]) -> dict[str, float]:
    # a string is a collection of strings, too: its characters would be taken for ids
    if isinstance(relevant, str):
        raise DataError(f"relevant must be a set of ids or a mapping to grades, got {relevant!r}")
    if not isinstance(relevant, Mapping):
        return dict.fromkeys(relevant, 1.0)
    # `not >=` instead of `<`, so that nan is refused as well
    if any(not grade >= 0 for grade in relevant.values()):
        raise DataError("grades of relevant documents must be 0 or more")
    return {name: float(grade) for name, grade in relevant.items() if grade > 0}


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
