"""Evaluates the condition of a rule on the reports of one window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.addresses import Measurements
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.names import on_one_line, quoted_name
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.stats.evidence import cautious_p_value
from flytekitplugins.wbmon.stats.tail_probabilities import (
    normal_sf,
    student_t_isf,
)
from flytekitplugins.wbmon.stats.trend import mann_kendall_p_value, theil_sen_slope

MIN_PAST = 5
_RECENT = 7
_ENOUGH = 15  # past windows; with fewer the last week is among them
_ALPHA = 0.01
_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a rule's condition in one window.

    Attributes:
        breached: None if it is unknown.
        reason: One sentence.
        value: The number; `nan` without data.
        threshold: What it was compared with.
        p_value: Probability that chance alone makes the number at least this bad in this window;
            `nan` where nobody says.
        surprise: The same, given what the monitor has seen so far: at most `u` with probability `u`
            at most in each window, whatever the windows before. `nan` without enough of them.
        distance: How bad it is, for comparison with later windows; `nan` if they need it not.
        is_broken: Whether the rule itself is a mistake, such as a metric that its report does not
            have: then nothing is known of the window.
    """

    breached: bool | None
    reason: str
    value: float = math.nan
    threshold: float = math.nan
    p_value: float = math.nan
    surprise: float = math.nan
    distance: float = math.nan
    is_broken: bool = False


def finding_of(
    rule: AlertRule,
    measurements: Measurements,
    past: Sequence[float],
    distances: Sequence[float] = (),
    n_breached: int = 0,
) -> Finding:
    """Judge one rule by the number that it is about, and by its past.

    Args:
        rule: The rule.
        measurements: The numbers of all reports of the window.
        past: The number in past windows, oldest first.
        distances: How bad it was in them.
        n_breached: Number of the last of them that breached in a row. They are not held against
            themselves, nor is the last week where enough is known without it: a change may have
            begun there.

    Raises:
        ConfigError: If the report has no such number, or the condition cannot be asked of it.
    """
    seen = measurements.resolve(rule.metric)
    if seen is None:
        report = rule.metric.partition(".")[0]
        return Finding(
            breached=None, reason=f"{on_one_line(rule.metric)} is unknown: no {report} report"
        )
    known, distances = (_settled(each, n_breached) for each in (past, distances))
    if rule.drop is not None or rule.worse_than_baseline:
        return _by_chance(_against_baseline(rule, seen, measurements), seen, distances)
    if rule.beyond_sd is not None:
        return _against_past(rule.beyond_sd, seen, past[: max(0, len(past) - n_breached)])
    if rule.trend is not None:
        return _against_trend(rule.trend, seen, past, known)
    if seen.is_gate:
        return _by_chance(_against_gate(rule, seen), seen, distances)
    found = _against_limit(rule, seen)
    # a limit for a metric is not its baseline, which its p-value is about
    return found if seen.verdict is not None else _by_chance(found, seen, distances)


def _settled(values: Sequence[float], n_breached: int) -> Sequence[float]:
    n_recent = max(n_breached, min(_RECENT, len(values) - _ENOUGH))
    return values[: max(0, len(values) - n_recent)]


def _by_chance(found: Finding, seen: Measurement, distances: Sequence[float]) -> Finding:
    """The finding with its probability by chance, of rows and of the windows seen so far.

    Rows tell how far a window is from what it is compared with. They do not tell how far apart
    nights are without a fault, and every night is compared with one and the same sample: past
    windows tell both.
    """
    if math.isnan(found.value) or math.isnan(seen.p_value):
        return found
    if math.isnan(seen.distance) or len(distances) < MIN_PAST:
        return replace(found, p_value=seen.p_value, distance=seen.distance)
    p_value = max(seen.p_value, cautious_p_value(distances, seen.distance))
    return replace(found, p_value=p_value, surprise=p_value, distance=seen.distance)


def _unknown(seen: Measurement, why: str, threshold: float = math.nan) -> Finding:
    reason = f"{seen.told} is unknown: {why or 'undefined in this window'}"
    return Finding(breached=None, reason=reason, threshold=threshold)


def _against_gate(rule: AlertRule, seen: Measurement) -> Finding:
    if rule.above is None or not 0 <= rule.above < 1:
        raise ConfigError(
            f"{quoted_name(rule.metric)} is 0 or 1, so its condition must be above=0; got "
            f"{rule.condition!r}"
        )
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, rule.above)
    breached = seen.value > rule.above
    said = f"{seen.told}: {seen.reason}" if breached else f"not {seen.told}: {seen.reason}"
    return Finding(
        breached=breached,
        reason=said if seen.reason else said.rstrip(": "),
        value=seen.value,
        threshold=rule.above,
    )


def _against_limit(rule: AlertRule, seen: Measurement) -> Finding:
    if rule.below is not None:
        limit, side, breached = rule.below, "below", seen.value < rule.below
    else:
        limit = rule.above if rule.above is not None else math.nan
        side, breached = "above", seen.value > limit
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, limit)
    is_not = "is" if breached else "is not"
    return Finding(
        breached=breached,
        reason=f"{_shown(seen)} {is_not} {side} {limit:.4g}",
        value=seen.value,
        threshold=limit,
    )


def _against_past(k: float, seen: Measurement, past: Sequence[float]) -> Finding:
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason)
    if len(past) < MIN_PAST:
        why = f"{len(past)} past windows are known, {MIN_PAST} are needed"
        return Finding(breached=None, reason=f"{_shown(seen)}: {why}", value=seen.value)
    mean, sd = fmean(past), stdev(past)
    # prediction interval: the mean of n past windows has an error of its own, of sd / sqrt(n)
    error = sd * math.sqrt(1 + 1 / len(past))
    # sd of few windows are unsure: Student's quantile is passed as rarely as k by a normal variable
    reach = student_t_isf(normal_sf(k), degrees=len(past) - 1) * error
    distance = seen.value - mean
    if seen.higher_is_better is not None:
        worse = -distance if seen.higher_is_better else distance
        threshold = mean - reach if seen.higher_is_better else mean + reach
    else:
        worse = abs(distance)
        threshold = mean + math.copysign(reach, distance)
    # the floor is for a constant past (sd 0), where a rounding error would be a breach
    breached = worse > max(reach, 1e-9 * abs(mean))
    side = "above" if distance > 0 else "below"
    far = f"{abs(distance) / sd:.1f} sd " if sd > 0 else ""
    limit = f"{reach / sd if sd > 0 else k:.3g} sd {'are exceeded' if breached else 'are allowed'}"
    p_value = _chance_of_past(seen, past)
    return Finding(
        breached=breached,
        reason=f"{_shown(seen)} is {far}{side} {mean:.4g}, the mean of {len(past)} past windows, "
        f"{limit}",
        value=seen.value,
        threshold=threshold,
        p_value=p_value,
        surprise=p_value,
    )


def _chance_of_past(seen: Measurement, past: Sequence[float]) -> float:
    """Probability that the value is at least as far on the worse side, or on its side, by chance.

    That of the past windows or, if the number has an interval, that of its own rows: the larger
    one, as a share of few rows is not normal, and its interval knows.
    """
    mean, error = fmean(past), stdev(past) / math.sqrt(len(past))
    is_higher = seen.value > mean if seen.higher_is_better is None else not seen.higher_is_better
    side = 1 if is_higher else -1
    tail = cautious_p_value([side * value for value in past], side * seen.value)
    tail = max(tail, _chance_of_rows(seen, mean, error=error))
    return tail if seen.higher_is_better is not None else min(1.0, 2 * tail)


def _chance_of_rows(seen: Measurement, mean: float, *, error: float) -> float:
    """Probability that rows alone put the value so far from a mean; 0 without an interval."""
    end = seen.high if seen.value < mean else seen.low
    if math.isnan(end):
        return 0.0
    # the end of the interval that is nearer to the mean is 1.96 standard errors away
    reach = math.hypot((end - seen.value) / _Z95, error)
    return normal_sf(abs(seen.value - mean) / reach) if reach > 0 else 0.0


def _against_trend(
    n_windows: int, seen: Measurement, past: Sequence[float], known: Sequence[float]
) -> Finding:
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason)
    values = [*past, seen.value][-n_windows:]
    if len(values) < n_windows:
        why = f"{len(values)} windows are known, a trend over {n_windows} is asked for"
        return Finding(breached=None, reason=f"{_shown(seen)}: {why}", value=seen.value)
    chance = _one_sided(
        seen, mann_kendall_p_value([-value for value in values]), mann_kendall_p_value(values)
    )
    surprise = math.nan
    if len(known) >= MIN_PAST:
        # trends of overlapping windows depend on each other; how new each value is does not
        falls = cautious_p_value([-value for value in known], -seen.value)
        surprise = _one_sided(seen, falls, cautious_p_value(known, seen.value))
    breached = chance <= _ALPHA
    why = "more than chance explains" if breached else "which may be chance"
    return Finding(
        breached=breached,
        reason=f"{seen.told} went from {values[0]:.4g} to {values[-1]:.4g} over {n_windows} "
        f"windows ({theil_sen_slope(values):+.3g} a window), {why}",
        value=seen.value,
        threshold=values[0],
        p_value=chance,
        surprise=surprise,
    )


def _one_sided(seen: Measurement, falling: float, rising: float) -> float:
    """The p-value of the worse side; of both with Bonferroni's correction where neither is."""
    if seen.higher_is_better is None:
        return min(1.0, 2 * min(falling, rising))
    return falling if seen.higher_is_better else rising


def _against_baseline(rule: AlertRule, seen: Measurement, measurements: Measurements) -> Finding:
    if seen.verdict is None:
        raise ConfigError(
            f"{quoted_name(rule.metric)} has no baseline, so its condition must be below= or "
            "above=; "
            f"got {rule.condition!r}. Metrics of a performance report have one"
        )
    if all(math.isnan(each.baseline) for each in measurements.of_kind(seen.kind).values()):
        argument = measurements.baseline_input(seen.kind)
        if argument == "previous":
            # it is the first window, or nothing was rated in it and before
            why = seen.reason if math.isnan(seen.value) else "no window before it to compare with"
            return _unknown(seen, why)
        raise ConfigError(
            f"rule {quoted_name(rule.title)} needs a baseline and the {seen.kind} report has none; "
            f"pass {argument}= to its node"
        )
    threshold = _worst_allowed(rule, seen)
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, threshold)
    if math.isnan(seen.baseline):
        return _unknown(seen, "the baseline has no value for it")
    shown = f"{_shown(seen)} is {_compared(seen)} baseline {seen.baseline:.4g}"
    if rule.drop is None:
        if seen.verdict == "unknown":
            return _unknown(seen, "it has no interval to hold against the baseline", threshold)
        breached = seen.verdict == "worse"
        why = "more than chance explains" if breached else "not clearly worse"
    else:
        if seen.baseline == 0:
            return _unknown(seen, "its baseline is 0, of which no share can be lost")
        loss = seen.baseline - seen.value if seen.higher_is_better else seen.value - seen.baseline
        breached = loss > rule.drop * abs(seen.baseline)
        why = f"{rule.drop:.3%} is allowed".replace(".000%", "%")
        # without an interval nobody knows what chance does, and the drop counts as it is
        if breached and seen.verdict not in ("worse", "unknown"):
            breached, why = False, f"{why}, but it is not clearly worse"
    return Finding(
        breached=breached, reason=f"{shown}, {why}", value=seen.value, threshold=threshold
    )


def _worst_allowed(rule: AlertRule, seen: Measurement) -> float:
    allowed = (rule.drop or 0.0) * abs(seen.baseline)
    return seen.baseline - allowed if seen.higher_is_better else seen.baseline + allowed


def _shown(seen: Measurement) -> str:
    if math.isnan(seen.low) or math.isnan(seen.high):
        return f"{seen.told} {seen.value:.4g}"
    return f"{seen.told} {seen.value:.4g} [{seen.low:.4g}, {seen.high:.4g}]"


def _compared(seen: Measurement) -> str:
    change = seen.value - seen.baseline
    if change == 0:
        return "equal to"
    side = "above" if change > 0 else "below"
    if seen.baseline == 0:
        return f"{abs(change):.4g} {side}"
    return f"{abs(change / seen.baseline):.1%} {side}"
