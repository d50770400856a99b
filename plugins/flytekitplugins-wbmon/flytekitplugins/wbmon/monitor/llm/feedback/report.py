"""The report on the feedback of users on the answers of a language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

_CHARTED_ISSUES = 50
_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal

ChangeVerdict = Literal["ok", "worse", "better", "unknown"]
FEWEST_RATED = 10
"""Ratings of a window that a verdict needs, unless fewer already differ beyond chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRate(ByContent):
    """The share of positive ratings in a group of answers.

    Attributes:
        key: The model, tenant, prompt … of the group; empty for all answers.
        n_rated: Number of answers with a rating.
        n_calls: Number of answers, rated or not, as the sum of the weights of the rows.
        n_good: Number of answers with a positive rating.
        rate: `n_good / n_rated`, with a judge corrected by its scores; `nan` without a rating.
        low: Lower end of the 95 % interval of the rate.
        high: Upper end of that interval.
        before: Rate of the windows before, of a group that of the window before; `nan` without.
        change_low: Lower end of the 95 % interval of the change.
        change_high: Upper end of that interval.
        verdict: `worse` or `better` if the whole interval of the change lies on that side of 0;
            `unknown` if it does not and either side has fewer than ten ratings.
        n_proxy: Number of answers without a rating that count by the score of a judge; 0 if none.
        worth: Number of ratings that alone would have as short an interval; `nan` without a judge.
    """

    key: str = ""
    n_rated: int
    n_calls: float
    n_good: int
    rate: float
    low: float = math.nan
    high: float = math.nan
    before: float = math.nan
    change_low: float = math.nan
    change_high: float = math.nan
    verdict: ChangeVerdict = "unknown"
    n_proxy: int = 0
    worth: float = math.nan

    @property
    def n_effective(self) -> float:
        """Number of ratings that the interval is as short as."""
        return float(self.n_rated) if math.isnan(self.worth) else self.worth

    @property
    def coverage(self) -> float:
        """Rated over all; `nan` without calls."""
        return self.n_rated / self.n_calls if self.n_calls else math.nan

    @property
    def standard_errors_worse(self) -> float:
        """The change to the worse in standard errors, by its interval; `nan` without one."""
        change = self.rate - self.before
        # the end that is nearer to no change is 1.96 standard errors away
        reach = self.change_high - change if change < 0 else change - self.change_low
        return -change / reach * _Z95 if reach else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRate(ByContent):
    """The ratings of a past window, or of several.

    Attributes:
        n: Number of ratings, or how many it is worth with a judge.
        n_good: How many of them are positive.
    """

    n: float
    n_good: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue(ByContent):
    """A recurring complaint.

    Attributes:
        label: Label of the complaint in the feedback log.
        n: Number of ratings with this label.
        share: `n` divided by the number of rated answers.
        before: Share in the previous window; `nan` without one.
        verdict: `worse` if the share has increased significantly.
    """

    label: str
    n: int
    share: float
    before: float = math.nan
    verdict: ChangeVerdict = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRated(ByContent):
    """An answer that was not liked, for the next evaluation."""

    request_id: str
    question: str = ""
    answer: str = ""
    score: float = math.nan
    label: str = ""
    comment: str = ""
    model: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReport(Report):
    """The analysis of the feedback of a window.

    Attributes:
        start_at: Time of the first call; None without calls.
        end_at: Time of the last call.
        total: Rate over all answers.
        groups: Rates of groups by dimension (`model`, `tenant`, `prompt` …), the worst first.
        issues: Recurring complaints, the most frequent first.
        n_unmatched: Number of rated requests that are not in the log, and of ratings of sessions.
        low_rated: The answers with the worst ratings.
        n_commented: Number of answers with a rating or a complaint, of which issues are shares.
        n_unreadable: Number of scores that are no number, or not of the scale of their name.
        unscaled: Names of feedback whose scores are not read until their scale is declared.
        n_disputed: Number of answers that sources or names of feedback rate differently.
        n_repeated: Number of rows of the log left out as a later one has the same request id.
        other_sources: Number of rows of the feedback log by source, of sources that are not used.
        history: The last 30 windows that were not worse than those before, oldest first, with this
            one; what the next one is compared with.
        recent: The last 30 windows, worse or not, which tell how far usual windows differ.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "feedback"
    BASELINE_INPUT: ClassVar[str] = "previous"

    start_at: datetime | None
    end_at: datetime | None
    total: FeedbackRate
    groups: Mapping[str, tuple[FeedbackRate, ...]] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    n_unmatched: int = 0
    low_rated: tuple[LowRated, ...] = ()
    n_commented: int = 0
    n_unreadable: int = 0
    unscaled: tuple[str, ...] = ()
    n_disputed: int = 0
    n_repeated: int = 0
    other_sources: Mapping[str, int] = field(default_factory=dict)
    history: tuple[PastRate, ...] = ()
    recent: tuple[PastRate, ...] = ()
    reason: str

    @property
    def worse(self) -> bool:
        """Whether all answers together are liked less than before, beyond chance."""
        return self.total.verdict == "worse"

    @property
    def unmeasured(self) -> str:
        """Why it is not known how answers are liked: no readable rating, or too few of them."""
        total = self.total
        if total.n_rated:
            if total.verdict in ("worse", "better") or total.n_effective >= FEWEST_RATED:
                return ""
            n, of = f"{total.n_rated:,}", f"{total.n_calls:,.0f}"
            return f"{n} of {of} answers are rated, a verdict needs {FEWEST_RATED}"
        if not self.total.n_calls:
            return "no answer in this window"
        readable = "readable " if self.n_unreadable else ""
        why = f"no {readable}rating for {self.total.n_calls:,.0f} answers"
        if self.n_unreadable:
            why += f"; {self.unreadable}"
        if self.n_unmatched:
            why += f"; {self.n_unmatched:,} ratings are of requests that are not in the log"
        if self.other_sources:
            names = ", ".join(map(quoted_name, sorted(self.other_sources)))
            n_rows = sum(self.other_sources.values())
            why += f"; {n_rows:,} rows are of sources that are not used: {names} (sources=)"
        return why

    @property
    def unreadable(self) -> str:
        """How many scores could not be read, and what to do; empty if all could."""
        if not self.n_unreadable:
            return ""
        words = f"{self.n_unreadable:,} scores are not of their scale"
        if self.unscaled:
            names = ", ".join(repr(name) for name in self.unscaled)
            words += f"; declare the scale of {names} (scales=)"
        return words

    def absent(self, name: str) -> Measurement | None:
        """A complaint that nobody made."""
        stem, _, label = name.partition(".")
        if stem != "issue" or not label:
            return None
        value = 0.0 if self.total.n_rated else math.nan
        return number(stem, label, value=value, reason="no answer is rated")

    def _measured(self) -> Iterable[Measurement]:
        total = self.total
        is_compared = total.verdict != "unknown" and not self.unmeasured
        why = "" if self.unmeasured or is_compared else "too few ratings before to compare with; "
        chance = {
            "p_value": normal_sf(total.standard_errors_worse),
            "distance": total.standard_errors_worse,
        }
        yield gate(
            "worse",
            value=self.worse if is_compared else None,
            reason=f"{why}{self.reason}",
            **chance,
        )
        yield number(
            "rate",
            value=total.rate,
            low=total.low,
            high=total.high,
            baseline=total.before,
            higher_is_better=True,
            verdict=total.verdict,
            prominence="news",
            reason="no answer is rated",
            **chance,
        )
        yield number("n_rated", value=total.n_rated)
        for name in ("n_unmatched", "n_unreadable", "n_disputed", "n_repeated"):
            yield number(name, value=getattr(self, name), higher_is_better=False)
        n_scores = total.n_rated + self.n_unreadable
        yield number(
            "unreadable_rate",
            value=self.n_unreadable / n_scores if n_scores else math.nan,
            higher_is_better=False,
            reason="no answer is rated",
        )
        yield number(
            "coverage",
            value=total.coverage,
            higher_is_better=True,
            reason="no LLM call in this window",
        )
        for index, issue in enumerate(self.issues):
            yield number(
                "issue",
                issue.label,
                value=issue.share,
                baseline=issue.before,
                higher_is_better=False,
                prominence="chart" if index < _CHARTED_ISSUES else "rule",
            )
