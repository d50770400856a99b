"""Comparison of the variants of an online experiment, with a check of its validity."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.feedback import feedback_rows
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport, VariantOutcome
from flytekitplugins.wbmon.stats.estimate import student_quantile
from flytekitplugins.wbmon.stats.tail_probabilities import chi_squared_sf, student_t_sf

# strict: a false alarm of this test invalidates the whole experiment
_MISMATCH = 0.001
_ALPHA = 0.05


class _Arm(NamedTuple):
    """The units exposed to a variant: their number, and the mean outcome of each measured one."""

    n_exposed: int
    values: np.ndarray[Any, Any]


def compare_variants(
    feedback: Any,
    *,
    experiment: str,
    outcome: str,
    control: str,
    shares: Mapping[str, float] | None = None,
    min_units: int = 30,
) -> ExperimentReport:
    """Compare the variants of an experiment by the ratings of their units.

    A unit is what was assigned to a variant (a session or a user). Several ratings of one unit are
    averaged, so each unit counts once. Units without a rating are counted as exposed and not
    imputed. Differences are tested with Welch's t-test; with more than two variants, intervals and
    p-values are Bonferroni-adjusted. The split is tested with a chi-squared test (sample ratio
    mismatch).

    Args:
        feedback: The feedback log with exposures and ratings; any data that `open_source` accepts.
        experiment: Name of the experiment.
        outcome: Name of the ratings used as outcome.
        control: The variant with which the others are compared.
        shares: Planned share of units by variant, with sum 1; None to skip the test of the split.
        min_units: Minimum number of measured units in each variant for a verdict.

    Returns:
        The report, control first.

    Raises:
        ConfigError: If the control is not one of the variants.
        DataError: If the feedback log lacks a column.
    """
    arms = _arms(feedback_rows(feedback), experiment, outcome)
    if arms and control not in arms:
        raise ConfigError(
            f"control must be a variant of {experiment!r}, got {control!r}; seen were "
            f"{', '.join(sorted(arms))}"
        )
    split = _split_p_value(arms, shares)
    names = sorted(arms, key=lambda name: (name != control, name))
    # written so that nan, no test of the split, counts as valid
    valid = not split < _MISMATCH
    outcomes = tuple(
        _outcome(name, arms[name], arms[control], name == control, len(names), min_units, valid)
        for name in names
    )
    return ExperimentReport(
        experiment=experiment,
        control=control,
        outcome=outcome,
        split_p_value=split,
        variants=outcomes,
        reason=_reason(outcomes, split, valid=valid),
    )


def _arms(rows: list[dict[str, Any]], experiment: str, outcome: str) -> dict[str, _Arm]:
    variant_of: dict[str, str] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        unit = row["session_id"]
        if unit is None:
            continue
        if row["name"] == "exposure" and row.get("experiment") == experiment:
            variant_of[unit] = row["variant"]
        elif row["name"] == outcome and row["score"] is not None:
            scores[unit].append(row["score"])
    units: dict[str, list[str]] = defaultdict(list)
    for unit, variant in variant_of.items():
        units[variant].append(unit)
    return {
        variant: _Arm(len(of), np.array([np.mean(scores[unit]) for unit in of if scores.get(unit)]))
        for variant, of in units.items()
    }


def _split_p_value(arms: Mapping[str, _Arm], shares: Mapping[str, float] | None) -> float:
    n = sum(arm.n_exposed for arm in arms.values())
    if shares is None or not n:
        return math.nan
    names = set(shares) | set(arms)
    # a unit in a variant without a planned share cannot come from this plan
    if any(not shares.get(name) for name in names):
        return 0.0
    statistic = sum(
        ((arms[name].n_exposed if name in arms else 0) - n * shares[name]) ** 2 / (n * shares[name])
        for name in names
    )
    return chi_squared_sf(statistic, degrees=len(names) - 1)


def _outcome(
    name: str,
    arm: _Arm,
    control: _Arm,
    is_control: bool,
    n_variants: int,
    min_units: int,
    valid: bool,
) -> VariantOutcome:
    n, mean, error = _moments(arm.values)
    half = student_quantile(max(n - 1, 1)) * error
    measured = VariantOutcome(
        variant=name,
        n_exposed=arm.n_exposed,
        n_measured=n,
        mean=mean,
        low=mean - half,
        high=mean + half,
        verdict="insufficient" if n < min_units else "no_difference",
    )
    if is_control:
        return measured
    return _compared(measured, arm, control, n_variants - 1, min_units, valid)


def _compared(
    measured: VariantOutcome,
    arm: _Arm,
    control: _Arm,
    n_comparisons: int,
    min_units: int,
    valid: bool,
) -> VariantOutcome:
    n_a, mean_a, error_a = _moments(control.values)
    n_b, mean_b, error_b = _moments(arm.values)
    error = math.hypot(error_a, error_b)
    difference = mean_b - mean_a
    degrees = _welch_degrees(error_a, n_a, error_b, n_b)
    quantile = student_quantile(degrees, z=_quantile(n_comparisons))
    low, high = difference - quantile * error, difference + quantile * error
    p_value = math.nan
    if error > 0:
        tail = student_t_sf(abs(difference) / error, degrees=degrees)
        p_value = min(1.0, 2 * n_comparisons * tail)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no_difference"
    reason = f"{difference:+.4g} against the control"
    if min(n_a, n_b) < min_units:
        verdict, reason = "insufficient", f"{min(n_a, n_b)} units; {min_units} are needed"
    elif not valid:
        verdict, reason = "invalid", "the split of units is not the planned one"
    return replace(
        measured,
        difference=difference,
        difference_low=low,
        difference_high=high,
        p_value=p_value,
        verdict=verdict,  # type: ignore[arg-type]  # one of the literals above
        reason=reason,
    )


def _moments(values: np.ndarray[Any, Any]) -> tuple[int, float, float]:
    n = len(values)
    if n < 2:  # noqa: PLR2004 - one unit has no spread
        return n, float(values[0]) if n else math.nan, math.nan
    return n, float(values.mean()), float(values.std(ddof=1) / math.sqrt(n))


def _welch_degrees(error_a: float, n_a: int, error_b: float, n_b: int) -> float:
    """Welch-Satterthwaite degrees of freedom for a difference of means with unequal variances."""
    if not error_a + error_b > 0:  # no spread, or nan with one unit: there is no interval either
        return 1.0
    a, b = error_a**2, error_b**2
    return (a + b) ** 2 / (a * a / (n_a - 1) + b * b / (n_b - 1))


def _quantile(n_comparisons: int) -> float:
    return NormalDist().inv_cdf(1 - _ALPHA / n_comparisons / 2)


def _reason(outcomes: tuple[VariantOutcome, ...], split: float, *, valid: bool) -> str:
    if not outcomes:
        return "no unit was exposed"
    if not valid:
        return f"not to be trusted: a split as uneven as this has p = {split:.2g}"
    said = [f"{each.variant} is {each.verdict.replace('_', ' ')}" for each in outcomes[1:]]
    return "; ".join(said) or "there is nothing to compare the control with"
