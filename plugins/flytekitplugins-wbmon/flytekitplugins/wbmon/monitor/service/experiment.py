"""Comparison of the variants of an online experiment, with a check of its validity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.monitor.prediction_log.feedback import EXPOSURE, experiment_rows
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.monitor.service.experiment_report import (
    MISMATCH,
    ExperimentReport,
    VariantOutcome,
)
from flytekitplugins.wbmon.stats.estimate import student_quantile
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.repeated_looks import Look, validity
from flytekitplugins.wbmon.stats.split import measured_share_p_value, split_p_value
from flytekitplugins.wbmon.stats.unpaired import unpaired_difference

_ALPHA = 0.05
# of each variant, units that differ from the most frequent value: successes or failures
_FEWEST_UNLIKE = 10


# a tenant and the name of one of its units, or of a session
_Unit = tuple[Any, Any]


class _Units(NamedTuple):
    """The units exposed to an experiment, in the order in which they entered it.

    Attributes:
        variant: The first variant of each unit.
        mean: The mean outcome of each measured unit.
        n_crossed: Number of units with several variants.
        n_unreadable: Number of their ratings without a finite score.
        n_before: Number of their ratings from before they entered.
        n_nameless: Number of ratings that name neither a unit nor a session.
    """

    variant: dict[_Unit, str]
    mean: dict[_Unit, float]
    n_crossed: int
    n_unreadable: int
    n_before: int
    n_nameless: int


class Arm(NamedTuple):
    """The units exposed to a variant: their number, and the mean outcome of each measured one."""

    n_exposed: int
    values: np.ndarray[Any, Any]


class ComparisonRule(NamedTuple):
    """What the comparisons of an experiment have in common; see `ExperimentPlan`.

    Attributes:
        min_units: Fewest measured units in each variant for a verdict.
        planned_units: Measured units with which the experiment ends; None without a plan.
        flaw: What makes every comparison invalid; empty if nothing does.
    """

    min_units: int = 30
    planned_units: int | None = None
    flaw: str = ""


def compare_variants(feedback: Any, plan: ExperimentPlan) -> ExperimentReport:
    """Compare the variants of an experiment by the ratings of their units.

    A unit is what was assigned to a variant (a session or a user). Several ratings of one unit are
    averaged, so each unit counts once; those from before its exposure are left out. Units without a
    rating have the outcome `plan.unrated`, or are exposed and not measured. If the share of units
    that were measured is another in each variant, beyond chance, the comparison is invalid: who
    got no answer often gives no rating. A unit that was exposed to several variants belongs to its
    first. Rows say their unit in the column `unit`; in those of earlier releases and of others,
    which have none, it is the session, and so it is of a rating whose unit was not exposed. Units
    of one name in two tenants are two; a row without a tenant is of the only one that others say
    of its unit.

    Outcomes of two values, such as 0 and 1, are compared by Newcombe's interval, others by the
    studentised permutation test. With more than two variants, intervals and p-values are
    Bonferroni-adjusted. The experiment may be looked at as often as one likes: with `planned_units`
    up to that number, without it for ever. The split is tested likewise (sample ratio mismatch).

    Args:
        feedback: The feedback log with all exposures and ratings since the experiment began; any
            data that `open_source` accepts.
        plan: The experiment. With `planned_units`, later units are not counted; without, intervals
            are wider, and the experiment needs about half as many units again.

    Returns:
        The report, control first.

    Raises:
        DataError: If the feedback log lacks a column, or scores are no numbers.
    """
    units = _units(experiment_rows(feedback), plan)
    arms = _arms(units, plan.planned_units)
    seen = sorted(arms)
    if arms:
        for name in (plan.control, *plan.shares):
            arms.setdefault(name, Arm(0, np.empty(0)))
    split, measured = _split(arms, plan.shares), _measured_alike(units)
    rule = ComparisonRule(plan.min_units, plan.planned_units, flaw=_flaw(split, measured))
    report = ExperimentReport(
        experiment=plan.experiment,
        control=plan.control,
        outcome=plan.outcome,
        split_p_value=split,
        measured_p_value=measured,
        variants=compare_arms(arms, plan.control, rule),
        looks="any" if plan.planned_units is None else "planned",
        planned_units=plan.planned_units,
        n_beyond_plan=len(units.mean) - sum(len(arm.values) for arm in arms.values()),
        n_crossed=units.n_crossed,
        n_unreadable=units.n_unreadable,
        n_before=units.n_before,
        min_units=plan.min_units,
        reason="",
    )
    said = [*_said(report, seen, rule.flaw)]
    if seen and units.n_nameless:
        said.append(f"{units.n_nameless:,} ratings name neither a unit nor a session")
    return replace(report, reason="; ".join(said))


def compare_arms(
    arms: Mapping[str, Arm], control: str, rule: ComparisonRule
) -> tuple[VariantOutcome, ...]:
    """The outcome of each variant, control first; see `compare_variants`.

    Args:
        arms: The units of each variant.
        control: The variant with which the others are compared; in `arms`, unless that is empty.
        rule: What is needed for a verdict.
    """
    names = sorted(arms, key=lambda name: (name != control, name))
    n = sum(len(arm.values) for arm in arms.values())
    alone = [_measured(name, arms[name], rule.min_units) for name in names]
    others = alone[1:]
    return (
        *alone[:1],
        *(
            _compared(each, arms[each.variant], arms[control], n, len(others), rule)
            for each in others
        ),
    )


def _units(rows: Sequence[Mapping[str, Any]], plan: ExperimentPlan) -> _Units:
    entered: dict[_Unit, Any] = {}
    variants: dict[_Unit, list[str]] = {}
    scores: dict[_Unit, list[float]] = {}
    n_unreadable = n_before = n_nameless = 0
    exposures = [
        row
        for row in rows
        if row["name"] == EXPOSURE
        and row["experiment"] == plan.experiment
        and row["variant"] is not None
    ]
    names_of = _names(exposures, rows)
    for row in exposures:
        for exposed in names_of(row)[:1]:
            variants.setdefault(exposed, []).append(_name_of(row["variant"]))
            entered.setdefault(exposed, row["timestamp"])
    for row in rows:
        if row["name"] != plan.outcome:
            continue
        score, names = row["score"], names_of(row)
        n_nameless += not names
        unit = next((each for each in names if each in variants), None)
        if unit is None:
            continue
        if None not in (row["timestamp"], entered[unit]) and row["timestamp"] < entered[unit]:
            n_before += 1
        elif score is None or not math.isfinite(score):
            n_unreadable += 1
        else:
            scores.setdefault(unit, []).append(score)
    if plan.unrated is not None:
        scores = {unit: scores.get(unit, [plan.unrated]) for unit in variants}
    return _Units(
        variant={unit: seen[0] for unit, seen in variants.items()},
        mean={unit: float(np.mean(scores[unit])) for unit in variants if unit in scores},
        n_crossed=sum(len(set(seen)) > 1 for seen in variants.values()),
        n_unreadable=n_unreadable,
        n_before=n_before,
        n_nameless=n_nameless,
    )


def _names(
    exposures: Iterable[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> Callable[[Mapping[str, Any]], list[_Unit]]:
    """Gives the units that a row may be of, the best first: its own, then that of its session."""
    unit_of, session_of = _named(rows, "unit"), _named(rows, "session_id")
    of_session: dict[_Unit | None, _Unit | None] = {}
    for row in (*exposures, *rows):
        session = session_of(row)
        of_session[session] = of_session.get(session) or unit_of(row)

    def names(row: Mapping[str, Any]) -> list[_Unit]:
        unit, session = unit_of(row), session_of(row)
        # the second where an app gives the tenant of ratings only
        known = (unit, unit and (None, unit[1]), session and (of_session.get(session) or session))
        return [each for each in known if each is not None]

    return names


def _named(
    rows: Iterable[Mapping[str, Any]], column: str
) -> Callable[[Mapping[str, Any]], _Unit | None]:
    """Gives the unit or session that a row names, with its tenant."""
    tenants: dict[Any, set[Any]] = {}
    for row in rows:
        if row.get("tenant") is not None:
            tenants.setdefault(row.get(column), set()).add(row["tenant"])

    def unit(row: Mapping[str, Any]) -> _Unit | None:
        name, tenant = row.get(column), row.get("tenant")
        if name is None:
            return None
        if tenant is None and len(known := tenants.get(name, set())) == 1:
            (tenant,) = known
        return tenant, name

    return unit


def _name_of(variant: Any) -> str:
    # a column of numbers with a null in it is one of floats
    return class_name(variant) if isinstance(variant, float) else str(variant)


def _arms(units: _Units, planned_units: int | None) -> dict[str, Arm]:
    n_exposed: dict[str, int] = {}
    for variant in units.variant.values():
        n_exposed[variant] = n_exposed.get(variant, 0) + 1
    values: dict[str, list[float]] = {variant: [] for variant in n_exposed}
    # after the planned end, each further look would be one more chance of a false finding
    for unit, mean in list(units.mean.items())[:planned_units]:
        values[units.variant[unit]].append(mean)
    return {name: Arm(n, np.array(values[name])) for name, n in n_exposed.items()}


def _split(arms: Mapping[str, Arm], shares: Mapping[str, float]) -> float:
    if not shares or not arms:
        return math.nan
    names = sorted({*shares, *arms})
    counts = [arms[name].n_exposed if name in arms else 0 for name in names]
    total = math.fsum(shares.values())
    return split_p_value(counts, [shares.get(name, 0.0) / total for name in names])


def _measured_alike(units: _Units) -> float:
    """p-value of the same share of measured units in every variant, before any planned end."""
    exposed = Counter(units.variant.values())
    measured = Counter(units.variant[unit] for unit in units.mean)
    return measured_share_p_value([measured[name] for name in exposed], [*exposed.values()])


def _flaw(split: float, measured: float) -> str:
    # written so that nan, which is no test, is no flaw
    if split < MISMATCH:
        return f"a split as uneven as this has p = {split:.2g}"
    if measured < MISMATCH:
        return (
            "the share of units with an outcome differs between the variants with "
            f"p = {measured:.2g}: say with `unrated` what the others count as"
        )
    return ""


def _measured(name: str, arm: Arm, min_units: int) -> VariantOutcome:
    n = len(arm.values)
    mean, low, high = _mean(arm.values)
    return VariantOutcome(
        variant=name,
        n_exposed=arm.n_exposed,
        n_measured=n,
        mean=mean,
        low=low,
        high=high,
        verdict="insufficient" if n < min_units else "no_difference",
        method="",
    )


def _mean(values: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """The mean with its 95 % interval: Wilson's of zeros and ones, else Student's."""
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    if n < 2:  # noqa: PLR2004 - one unit has no spread
        return mean, math.nan, math.nan
    if np.isin(values, (0.0, 1.0)).all():
        return mean, *wilson_interval(float(values.sum()), n)
    half = student_quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def _compared(
    measured: VariantOutcome,
    arm: Arm,
    control: Arm,
    n_measured: int,
    n_comparisons: int,
    rule: ComparisonRule,
) -> VariantOutcome:
    n, m = len(control.values), len(arm.values)
    if not n or not m:
        reason = f"0 units; {rule.min_units} are needed"
        return replace(measured, verdict="insufficient", reason=reason)
    # the units of two equal arms with the same error of the difference
    n_alike = 4 * n * m / (n + m)
    planned = rule.planned_units
    look = Look(n=n_alike if planned is None else n_measured, planned=planned)
    level = look.level(_ALPHA / n_comparisons)
    found = unpaired_difference(control.values, arm.values, alpha=level)
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "no_difference"
    reason = f"{found.value:+.4g} against the control"
    if missing := _missing(control, arm, rule.min_units):
        verdict, reason = "insufficient", missing
    elif rule.flaw:
        verdict, reason = "invalid", rule.flaw
    return replace(
        measured,
        difference=found.value,
        difference_low=found.low,
        difference_high=found.high,
        p_value=_adjusted(look.p_value(found.p_value), n_comparisons),
        verdict=verdict,  # type: ignore[arg-type]  # one of the literals above
        method=found.method,
        reason=reason,
    )


def _adjusted(p_value: float, n_comparisons: int) -> float:
    return p_value if math.isnan(p_value) else min(1.0, n_comparisons * p_value)


def _missing(control: Arm, arm: Arm, min_units: int) -> str:
    """What a verdict on an arm still needs; empty if nothing."""
    n = min(len(control.values), len(arm.values))
    if n < min_units:
        return f"{n} units; {min_units} are needed"
    known, counts = np.unique(np.concatenate((control.values, arm.values)), return_counts=True)
    usual = float(known[counts.argmax()])
    share = 1 - float(counts.max() / counts.sum())
    # of both arms: a variant without any success may be the worst of all, and is to be judged
    if n * share >= _FEWEST_UNLIKE:
        return ""
    needs = f", so about {math.ceil(_FEWEST_UNLIKE / share):,} units" if share else ""
    return (
        f"of {n} units about {n * share:.2g} differ from the usual {usual:g}; "
        f"{_FEWEST_UNLIKE} in each variant are needed{needs}"
    )


def _said(report: ExperimentReport, seen: Sequence[str], flaw: str) -> Iterator[str]:
    """What the reason of a report says."""
    compared = report.variants[1:]
    if not seen:
        yield "no unit was exposed"
    elif report.control not in seen:
        yield f"no unit was exposed to the control {report.control!r}; seen were {', '.join(seen)}"
    elif flaw:
        yield f"not to be trusted: {flaw}"
    elif not compared:
        yield "there is nothing to compare the control with"
    else:
        yield from (f"{each.variant} is {each.verdict.replace('_', ' ')}" for each in compared)
    if report.n_unreadable:
        yield f"{report.n_unreadable:,} ratings without a finite score are not counted"
    if report.n_before:
        yield f"{report.n_before:,} ratings from before the exposure of their unit are not counted"
    if flaw or not compared:
        return
    if report.n_beyond_plan:
        yield f"{report.n_beyond_plan:,} units after the planned end are not counted"
    if report.n_crossed:
        yield f"{report.n_crossed:,} units saw several variants"
    yield validity(report.looks, report.planned_units, "units")
