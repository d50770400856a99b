"""Analysis of user feedback joined to its calls: rates with intervals, complaints, low ratings.

An answer without a rating is unrated, not bad. An answer that was rated twice counts once; which
rating that is, `monitor.llm.feedback.ratings` says.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flytekitplugins.wbmon.arguments import is_number, listed, moment_read
from flytekitplugins.wbmon.data.open import Data, open_source
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.feedback.baseline import (
    PastRates,
    appended,
    past_rates,
    pooled,
    with_rate,
)
from flytekitplugins.wbmon.monitor.llm.feedback.ratings import Rating, read_ratings
from flytekitplugins.wbmon.monitor.llm.feedback.report import (
    FEWEST_RATED,
    ChangeVerdict,
    FeedbackRate,
    FeedbackReport,
    Issue,
    LowRated,
)
from flytekitplugins.wbmon.monitor.llm.feedback.scale import RatingScale, scales_of
from flytekitplugins.wbmon.monitor.prediction_log.feedback import source_of
from flytekitplugins.wbmon.stats.interval import newcombe_interval, wilson_interval

DIMENSIONS = ("model", "tenant", "prompt", "route", "variant")
_CALL_COLUMNS = (
    "request_id", "timestamp", "tenant", "route", "variant", "prompt_name", "prompt_version",
    "gen_ai_request_model", "gen_ai_response_model", "input_text", "output_text", "sample_weight",
)  # fmt: skip
_FEEDBACK_COLUMNS = (
    "request_id", "timestamp", "feedback_id", "source", "name", "score", "label", "comment",
)  # fmt: skip
_SHOWN = 50


class _Feedback(NamedTuple):
    """Ratings of requests by people, and by what stands in for them."""

    ratings: Mapping[str, Rating]
    judged: Mapping[str, Rating]


def analyse_feedback(
    calls: Data,
    feedback: Data,
    *,
    by: Sequence[str] = ("model", "tenant", "prompt"),
    good_from: float = 0.5,
    scales: Mapping[str, RatingScale] | None = None,
    sources: Sequence[str] = ("annotator", "user"),
    proxy: str = "",
    previous: FeedbackReport | None = None,
) -> FeedbackReport:
    """Join ratings to calls, and report rates by dimension and their changes.

    Args:
        calls: A call log or prediction log, see the data contract.
        feedback: A feedback log: `request_id`, `score` or `label`, `comment`.
        by: Dimensions to group by: `model`, `tenant`, `prompt`, `route`, `variant`.
        good_from: Minimum score of an answer that counts as liked, on the scale from 0 to 1.
        scales: Scales by the name of the feedback, where scores are not from 0 to 1. `thumbs` are
            from -1 or 0 to 1. For `stars`, `faces`, `rating`, `nps` and `csat` there are several
            usual scales: without a declared one they are not read. Scores off their scale are not
            read and counted; a name without a declared scale of which more than 5 % are off is not
            read at all, in the next windows too.
        sources: The sources of feedback to use. Where sources disagree about an answer the first
            one decides; where names of one source do, the last word.
        proxy: The source of scores that stand in for ratings where there are none, such as
            `llm_judge`. Rates then rest on both (prediction-powered inference): valid whatever the
            judge is worth, and with shorter intervals where it is good. The rated answers must be a
            random sample of all, as those that annotators are given.
        previous: The report of the previous window, for changes; None for none, or to begin anew.
            The rate of all answers is compared with that of the last 30 windows that were not worse
            than those before them, so that a fall stays one for as long as it lasts.

    Raises:
        ConfigError: If `by` or `sources` are no sequences, the proxy is one of the sources, or
            `good_from` or a scale is none.
        DataError: If a log lacks `request_id`, or a dimension is unknown.
    """
    by, sources = listed("by", by, "dimensions"), listed("sources", sources, "sources")
    if proxy in sources:
        raise ConfigError(f"proxy must be no source of ratings; got {proxy!r} for both")
    unknown = set(by) - set(DIMENSIONS)
    if unknown:
        raise DataError(f"by must be of {', '.join(DIMENSIONS)}; got {', '.join(sorted(unknown))}")
    table = scales_of(scales, good_from)
    every = _rows(calls, _CALL_COLUMNS, "call log")
    rows = _last_of_each(every)
    judgements = _rows(feedback, _FEEDBACK_COLUMNS, "feedback log")
    before = previous.unscaled if previous else ()
    read = read_ratings(judgements, table, sources, before)
    of_proxy = read_ratings(judgements, table, (proxy,) if proxy else (), before)
    both = _Feedback(read.by_request, of_proxy.by_request)
    others = Counter(
        each for row in judgements if (each := str(source_of(row))) not in (*sources, proxy)
    )
    known = {row["request_id"] for row in rows}
    past = past_rates(previous)
    recent = previous.recent if previous else ()
    total = _rate("", rows, both, pooled(past, recent))
    groups = {name: _groups(name, rows, both, previous) for name in by}
    rated = {name: rating for name, rating in read.by_request.items() if name in known}
    times = [row["timestamp"] for row in rows if row["timestamp"] is not None]
    issues = _issues(rated, previous)
    report = FeedbackReport(
        start_at=min(times, default=None),
        end_at=max(times, default=None),
        total=total,
        groups=groups,
        issues=issues,
        n_unmatched=len(read.by_request) - len(rated) + read.n_without_request,
        low_rated=_low_rated(rows, read.by_request),
        n_commented=len(rated),
        n_unreadable=read.n_unreadable + of_proxy.n_unreadable,
        unscaled=tuple(sorted({*read.unscaled, *of_proxy.unscaled})),
        n_disputed=sum(rating.is_disputed for rating in rated.values()),
        n_repeated=len(every) - len(rows),
        other_sources=dict(others.most_common(_SHOWN)),
        history=with_rate(past, total),
        recent=appended(recent, total),
        reason="",
    )
    return replace(report, reason=_reason(report))


def _last_of_each(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without those whose request id a later row has: a retry, of which one was answered."""
    in_order = sorted(rows, key=lambda row: (row["timestamp"] is not None, row["timestamp"]))
    last = {row["request_id"]: row for row in in_order}
    return [row for row in rows if row["request_id"] is None or last[row["request_id"]] is row]


def _rows(data: Data, columns: Sequence[str], what: str) -> list[dict[str, Any]]:
    source = open_source(data)
    if "request_id" not in source.names:
        raise DataError(f"a {what} must have a column 'request_id'; see the data contract")
    present = [name for name in columns if name in source.names]
    absent = dict.fromkeys(name for name in columns if name not in present)
    rows = [
        {**absent, **row} for part in source.parts() for batch in part(present)
        for row in batch.to_pylist()
    ]  # fmt: skip
    # rows are put in order by their times, which may be text or none
    return [{**row, "timestamp": moment_read(row["timestamp"])} for row in rows]


def _key(row: Mapping[str, Any], dimension: str) -> str:
    if dimension == "model":
        return str(row["gen_ai_response_model"] or row["gen_ai_request_model"] or "(none)")
    if dimension == "prompt":
        parts = (row["prompt_name"], (row["prompt_version"] or "")[:12])
        return "@".join(filter(None, parts)) or "(none)"
    return str(row[dimension] or "(none)")


def _groups(
    dimension: str,
    rows: Sequence[Mapping[str, Any]],
    feedback: _Feedback,
    previous: FeedbackReport | None,
) -> tuple[FeedbackRate, ...]:
    parts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        parts[_key(row, dimension)].append(row)
    # the groups of a report have no history: there may be one for each tenant
    before = {
        each.key: PastRates(n=each.n_effective, n_good=each.rate * each.n_effective)
        for each in (previous.groups.get(dimension, ()) if previous else ())
    }
    found = [_rate(key, part, feedback, before.get(key)) for key, part in parts.items()]
    # by the upper limit: groups that are surely bad come first, those without ratings last
    return tuple(sorted(found, key=lambda each: (each.high if each.n_rated else 2.0, each.key)))


def _rate(
    key: str,
    rows: Sequence[Mapping[str, Any]],
    feedback: _Feedback,
    before: PastRates | None,
) -> FeedbackRate:
    ratings, judged = feedback
    # in the order of the log, so that the same log gives the same sums
    names = [row["request_id"] for row in rows if row["request_id"] is not None]
    good = {name: ratings[name].good for name in names if name in ratings}
    known = {name: bool(liked) for name, liked in good.items() if liked is not None}
    n, n_good = len(known), sum(known.values())
    rate, worth = n_good / n if n else math.nan, math.nan
    n_proxy = sum(name in judged and name not in known for name in names)
    if n_proxy:
        rate, worth = _with_judge(names, known, judged)
    if math.isnan(worth):
        n_proxy = 0
    size = worth if n_proxy else n
    low, high = wilson_interval(rate * size, size)
    change, size_before = (math.nan, math.nan), math.nan
    if before is not None:
        size_before = before.n
        change = _change(before, rate, size)
    verdict = _verdict(*change)
    # a difference can be clear of few ratings, that there is none cannot
    if verdict == "ok" and min(size, size_before) < FEWEST_RATED:
        verdict = "unknown"
    weights = (_weight(row["sample_weight"]) for row in rows)
    return FeedbackRate(
        key=key,
        n_rated=n,
        n_calls=math.fsum(weights),
        n_good=n_good,
        rate=rate,
        low=low,
        high=high,
        before=before.n_good / before.n if before is not None and before.n else math.nan,
        change_low=change[0],
        change_high=change[1],
        verdict=verdict,
        n_proxy=n_proxy,
        worth=worth,
    )


def _change(before: PastRates, rate: float, size: float) -> tuple[float, float]:
    """The 95 % interval of the change: Newcombe's, and how far windows differ without a fault."""
    low, high = newcombe_interval(before.n_good, before.n, rate * size, size)
    if math.isnan(low) or not before.reach:
        return low, high
    found = rate - before.n_good / before.n
    low = found - math.hypot(found - low, before.reach)
    high = found + math.hypot(high - found, before.reach)
    return max(-1.0, low), min(1.0, high)


def _weight(value: Any) -> float:
    return float(value) if is_number(value) and value >= 0 else 1.0


def _with_judge(
    names: Sequence[str], known: Mapping[str, bool], judged: Mapping[str, Rating]
) -> tuple[float, float]:
    """The share of liked answers, and how many ratings it is worth; nan if scores add nothing."""
    import numpy as np

    from flytekitplugins.wbmon.stats.estimate import Share
    from flytekitplugins.wbmon.stats.prediction_powered import ProxyRows, powered_share

    scores = np.array([judged[name].level if name in judged else math.nan for name in names])
    is_judged = ~np.isnan(scores)
    # the mean says nothing of an answer, in rated and in other answers alike
    scores[~is_judged] = scores[is_judged].mean() if is_judged.any() else 0.0
    labelled = np.array([place for place, name in enumerate(names) if name in known], dtype=int)
    liked = np.array([known[names[place]] for place in labelled], dtype=bool)
    if not len(liked):
        return math.nan, math.nan
    alone = Share(float(liked.mean()), float(len(liked)))
    found = powered_share(liked, ProxyRows(scores, np.ones(len(scores)), labelled), alone)
    return found.estimate.value, alone.n * found.gain if found.tuning else math.nan


def _verdict(low: float, high: float) -> ChangeVerdict:
    if math.isnan(low):
        return "unknown"
    return "worse" if high < 0 else "better" if low > 0 else "ok"


def _issues(ratings: Mapping[str, Rating], previous: FeedbackReport | None) -> tuple[Issue, ...]:
    counts = Counter(label for rating in ratings.values() for label in rating.labels)
    n, n_before = len(ratings), _n_before(previous)
    before = {each.label: each.n for each in previous.issues} if previous else {}
    # of more complaints than are listed, those that are not were made, nobody knows how often
    n_unlisted = 0 if len(before) < _SHOWN else math.nan
    found = []
    for label, count in counts.most_common(_SHOWN):
        n_old = before.get(label, n_unlisted)
        # more of a complaint is worse, so the sides are the other way round
        change, share_before = (math.nan, math.nan), math.nan
        if n_before and not math.isnan(n_old):
            change, share_before = newcombe_interval(count, n, n_old, n_before), n_old / n_before
        found.append(
            Issue(
                label=label, n=count, share=count / n, before=share_before,
                verdict=_verdict(*change),
            )
        )  # fmt: skip
    return tuple(found)


def _n_before(previous: FeedbackReport | None) -> int:
    """The number of answers of which the issues of a report are shares."""
    if previous is None:
        return 0
    # reports of older versions say only the shares
    of_shares = (round(each.n / each.share) for each in previous.issues if each.share)
    return previous.n_commented or max(of_shares, default=previous.total.n_rated)


def _low_rated(
    rows: Sequence[Mapping[str, Any]], ratings: Mapping[str, Rating]
) -> tuple[LowRated, ...]:
    found = []
    for row in rows:
        rating = ratings.get(row["request_id"])
        if rating is None or rating.good is not False:
            continue
        found.append(
            LowRated(
                request_id=row["request_id"],
                question=row["input_text"] or "",
                answer=row["output_text"] or "",
                score=rating.score,
                label=", ".join(rating.labels),
                comment=rating.comment,
                model=_key(row, "model"),
                prompt=_key(row, "prompt"),
            )
        )
    levels = {name: rating.level for name, rating in ratings.items()}
    # a bare thumb down has no score and is the worst
    worst = sorted(found, key=lambda each: (not math.isnan(each.score), levels[each.request_id]))
    return tuple(worst[:_SHOWN])


def _reason(report: FeedbackReport) -> str:
    total = report.total
    if not total.n_rated:
        return report.unmeasured
    few = f"{report.unmeasured}; " if report.unmeasured else ""
    words = (
        f"{few}{total.rate:.0%} [{total.low:.0%}, {total.high:.0%}] of {total.n_rated:,} rated "
        "answers are liked"
    )
    if total.n_proxy:
        words += (
            f", by {total.n_proxy:,} scores of a judge worth {total.n_effective:,.0f} ratings; "
            "the rated answers must be a random sample of all"
        )
    if not math.isnan(total.before):
        words += f", {total.before:.0%} before ({total.verdict})"
    rising = [issue.label for issue in report.issues if issue.verdict == "worse"]
    if rising:
        words += f"; more often than before: {', '.join(rising)}"
    if report.n_unreadable:
        words += f"; {report.unreadable}"
    if report.n_disputed:
        words += f"; {report.n_disputed:,} answers are rated differently by sources or names"
    return words


def low_rated_table(report: FeedbackReport) -> Any:
    """The low-rated answers as a table of items for an evaluation."""
    import pyarrow as pa

    names = ("request_id", "question", "answer", "label", "comment", "model", "prompt")
    columns = {name: [getattr(each, name) for each in report.low_rated] for name in names}
    columns["id"] = columns.pop("request_id")
    schema = pa.schema([(name, pa.string()) for name in columns] + [("score", pa.float64())])
    columns["score"] = [each.score for each in report.low_rated]
    return pa.table(columns, schema=schema)
