"""Explanations of the findings, as sentences for the report."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timezone

from flytekitplugins.wbmon.monitor.drift.comparison import RATES, Comparison
from flytekitplugins.wbmon.monitor.drift.identifiers import are_indistinct
from flytekitplugins.wbmon.monitor.drift.report import (
    Bin,
    Check,
    FeatureDrift,
    Level,
    Status,
    Verdict,
)
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.tails import most_changed_tail
from flytekitplugins.wbmon.names import quoted_name, shown_name

_NAMES_SHOWN = 3
_MANY_A_ROW = ("words", "elements")  # parts of which a row has several
_SIGNIFICANT = 0.05
_SENTENCES = {
    "earlier": "{effect} of rows are earlier than any of the reference",
    "one_time": "{effect} of rows are at one time, and rows of the reference are at different ones",
    "repeats": "{effect} more rows repeat a value than in the reference",
    "new_values": "{effect} of rows have whole numbers that the reference never had; if they are "
    "codes, declare the column as a category with kinds=",
    "uncounted_values": "{effect} of rows moved between values that are too many for a count of "
    "their own",
    "new_identifiers": "{effect} of rows have values that the reference never had, where known "
    "ones should recur",
}
_UNDECIDED = (
    "; past windows (past=) tell whether that is usual, and a column of categories is declared "
    "with kinds="
)
_TEXTS = {"string", "large_string", "string_view"}
_NUMBERS = re.compile(r"(u?int|decimal)\d+|float|double|halffloat")
_OF_TEXT = {"bool": "boolean", "timestamp": "time", "date32": "time", "date64": "time"}
"""Types of Arrow that are often written as text, and the kind that reads both."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TIMES_FROM, _TIMES_TO = 946_684_800, 4_102_444_800  # 2000 to 2100, in seconds since 1970


def explain_feature(
    found: Comparison, checks: Sequence[Check], level: Level, bins: Sequence[Bin], rule: DriftRule
) -> str:
    """Summarise the findings about a feature in one sentence."""
    fact = _fact(found, rule)
    if fact and not checks:
        return fact
    telling = [check for check in checks if check.level == level] if level != "none" else []
    if not telling:
        return fact or _quiet(checks)
    parts = [_describe_facet(found, check, rule) for check in telling]
    of_bins = next((check for check in telling if check.name == "distribution"), None)
    if found.status == "ok" and of_bins:
        parts.extend(_of_parts(text, of_bins.facet) for text in _details(found, bins))
    text = "; ".join(parts)
    if all(check.name == "new_identifiers" for check in telling):
        text += _UNDECIDED if level == "negligible" else ""
    elif level == "negligible":
        text = f"significant but too small to matter: {text}"
    return f"{text} ({fact})" if fact and found.status != "all_missing" else text


def explain_window(
    features: Sequence[FeatureDrift], verdict: Verdict, n_reference: int, n_current: int
) -> str:
    """Summarise the findings about the whole window in one sentence."""
    if verdict == "insufficient":
        if not n_reference or not n_current:
            which = "window" if not n_current else "reference"
            return f"the {which} has no rows, so nothing can be said about drift"
        few = [feature for feature in features if feature.status == "insufficient"]
        if few and few[0].n_current < n_current:
            # there are rows, and hardly a value in them, or hardly one that weighs
            return f"too few values for any answer: {quoted_name(few[0].name)}, {few[0].reason}"
        if few or not features:
            return (
                f"too few rows for any answer: the window has {n_current:,}, the reference "
                f"{n_reference:,}"
            )
        return f"no answer: none of {len(features)} columns can be tested, {features[0].reason}"
    tested = [feature for feature in features if feature.tested]
    seen = (
        f" ({len(tested)} of {len(features)} columns tested)" if len(tested) < len(features) else ""
    )
    if verdict == "ok":
        return f"no drift in any of {len(tested)} features{seen}"
    level = "drift" if verdict == "drift" else "warning"
    named = [shown_name(feature.name) for feature in features if feature.level == level]
    listed = ", ".join(named[:_NAMES_SHOWN]) + (", …" if len(named) > _NAMES_SHOWN else "")
    did = "drifted" if verdict == "drift" else "moved enough for a warning"
    return (
        f"{len(named)} of {len(tested)} features {did}{seen}: {listed}; worst: {features[0].reason}"
    )


def _fact(found: Comparison, rule: DriftRule, part: str = "column") -> str:
    """Explanation of a status that needs no test; empty if the feature was tested as usual."""
    if found.changed:
        told = [f"{'.'.join(path)}: {_fact(c, rule, 'field')}" for path, c in found.changed.items()]
        more = [f"and {len(told) - _NAMES_SHOWN} more"] if len(told) > _NAMES_SHOWN else []
        return "; ".join(told[:_NAMES_SHOWN] + more)
    reference, current = found.reference, found.current
    facts: dict[Status, str] = {
        "missing_column": f"the {part} is missing in the current window",
        "new_column": f"the {part} is new: the reference does not have it",
        "type_changed": _retyped(found, part),
        "constant": "every value is the same in both windows",
        "identifier": "no two rows of a window were found to have the same value, though they lie "
        "so close that measured ones would repeat: they count something off and have no "
        "distribution to test; name the column in the rule's features to have it tested",
        "untested": _untested(found),
        "unreadable": _unreadable(found),
        "all_missing": "no value at all in "
        + _windows(reference.n_missing == reference.n_rows, current.n_missing == current.n_rows),
        "insufficient": _insufficient(found, rule),
    }
    return facts.get(found.status, "")


def _retyped(found: Comparison, part: str) -> str:
    reference, current = found.reference, found.current
    told = f"the type changed from {reference.dtype} to {current.dtype}"
    stored = {re.split(r"\W", each.dtype)[0] for each in (reference, current)} - _TEXTS
    # a struct that became text is no other way to write the same
    (native,) = stored if len(stored) == 1 else ("",)
    kind = _OF_TEXT.get(native) or (reference.kind if _NUMBERS.fullmatch(native) else "")
    has_text = not {reference.dtype, current.dtype}.isdisjoint(_TEXTS)
    if part == "field" or not has_text or not kind:
        return told
    said = f"kinds={{{quoted_name(reference.name)}: '{kind}'}}"
    return f"{told}; if the text means the same, declare the column with {said}"


def _windows(reference: bool, current: bool) -> str:
    if reference and current:
        return "the reference nor in the current window"
    return "the reference" if reference else "the current window"


def _untested(found: Comparison) -> str:
    reference, current = found.reference, found.current
    if reference.kind == "time" and reference.counts is not None and current.n_values:
        return (
            "no row is earlier than the first of the reference, and of later ones nothing can be "
            "compared: all of a window may be of one day or batch"
        )
    if reference.n_values and current.n_values and are_indistinct(reference, current):
        return (
            "its numbers differ, if at all, in digits that floats do not have; declare the column "
            f"as a category with kinds={{{quoted_name(reference.name)}: 'category'}}"
        )
    if reference.n_values and current.n_values:
        return f"of {reference.dtype or reference.kind} only missing values are tested"
    where = _windows(not reference.n_values, not current.n_values)
    return f"no finite value in {where}; only the share of infinite ones is tested"


def _unreadable(found: Comparison) -> str:
    kind = found.reference.kind
    # a column of which nothing is known is not read as anything
    what = "" if kind in ("empty", "other") else f" as {kind}"
    if kind == "vector":
        lengths = ", ".join(found.current.examples)
        return f"the dimension changed from {found.reference.dimension} to {lengths}"
    without = [each for each in (found.current, found.reference) if not each.n_values]
    examples = next((each.examples for each in without if each.examples), ())
    shown = ", ".join(map(repr, examples))
    text = f"no value can be read{what}"
    return f"{text}, such as {shown}{_other_unit(kind, examples)}" if shown else text


def _other_unit(kind: str, examples: Sequence[str]) -> str:
    """Advice for numbers that are declared to be times, and are none in seconds."""
    numbers = [float(text) for text in examples if _NUMBER.fullmatch(text)]
    if kind != "time" or not numbers:
        return ""
    text = "; numbers that are declared to be times are seconds since 1970"
    for unit, scale in _EPOCH_UNITS.items():
        if all(_TIMES_FROM <= number / scale < _TIMES_TO for number in numbers):
            day = datetime.fromtimestamp(numbers[0] / scale, tz=timezone.utc)
            cure = f"divide them by {scale:,}" if scale > 1 else "make numbers of their text"
            return (
                f"{text}, and these read as {unit} (from {day:%Y-%m-%d %H:%M}): {cure}, or store "
                "timestamps"
            )
    return f"{text}; convert them, or store timestamps"


def _insufficient(found: Comparison, rule: DriftRule) -> str:
    n, m = found.reference.effective_values, found.current.effective_values
    counted = f"{_count(n)} in the reference, {_count(m)} in the current window"
    if min(n, m) >= rule.min_rows:
        return f"no value has enough rows for a test, of {counted}"
    return f"too few values: {counted}, {rule.min_rows} needed in each"


def _quiet(checks: Sequence[Check]) -> str:
    check = checks[0]
    text = f"no drift: effect {check.effect_size:.1%}, {_q(check)}"
    # significant over the rows, and still no finding: only the past windows can be the reason
    usual = not math.isnan(check.window_q_value) and check.q_value <= _SIGNIFICANT
    return f"{text}; past windows differ as much from each other" if usual else text


def _describe_facet(found: Comparison, check: Check, rule: DriftRule) -> str:
    text = _describe(found.of(check.facet), check, rule)
    text = _of_parts(text, check.facet)
    return f"{'.'.join(check.facet)}: {text}" if check.facet else text


def _of_parts(text: str, facet: Sequence[str]) -> str:
    """The text about a facet of which a row has several parts, each a part of the row."""
    parts = next((part for part in facet if part in _MANY_A_ROW), "rows")
    return re.sub(r"\bof rows\b", f"of {parts}", text)


def _describe(found: Comparison, check: Check, rule: DriftRule) -> str:
    if check.name == "tails":
        tail = most_changed_tail(found.reference, found.current, rule)
        return f"rows {tail.where} went from {tail.reference:.2%} to {tail.current:.2%}"
    if check.name in RATES:
        return _describe_rate(found, check)
    if check.name in _SENTENCES:
        return _SENTENCES[check.name].format(effect=f"{check.effect_size:.1%}")
    if check.name == "new_categories":
        named = ", ".join(map(quoted_name, found.new_categories[:_NAMES_SHOWN]))
        return f"{check.effect_size:.1%} of rows carry categories the reference never had: {named}"
    if check.test == "sliced_ks":
        return (
            f"{check.effect_size:.1%} of rows moved along the direction that moved most "
            f"(sliced KS, {_q(check)})"
        )
    name = "KS" if check.test == "ks" else "chi-squared"
    return f"{check.effect_size:.1%} of rows moved ({name} {check.statistic:.3g}, {_q(check)})"


def _describe_rate(found: Comparison, check: Check) -> str:
    reference, current = found.reference, found.current
    share = RATES[check.name]
    what = share.removesuffix("_share")
    text = (
        f"{what} values went from {getattr(reference, share):.1%} to "
        f"{getattr(current, share):.1%} of rows"
    )
    examples = current.examples or reference.examples
    if check.name != "unreadable_rate" or not examples:
        return text
    shown = ", ".join(map(repr, examples))
    unit = _other_unit(reference.kind, examples)
    return f"{text}: no {reference.kind} are, for example, {shown}{unit}"


def _details(found: Comparison, bins: Sequence[Bin]) -> list[str]:
    details = []
    before, now = found.reference.mean, found.current.mean
    if math.isfinite(before) and math.isfinite(now):
        details.append(f"mean {before:.4g} → {now:.4g}")
    if _lies_beyond(found):
        details.append(_growing(found))
    if bins:
        most = max(bins, key=lambda bar: abs(bar.current - bar.reference))
        details.append(
            f"{shown_name(most.label)}: {most.reference:.1%} → {most.current:.1%} of rows"
        )
    return details


def _lies_beyond(found: Comparison) -> bool:
    return (
        found.reference.kind == "number"
        and _is_whole(found)
        and found.current.minimum > found.reference.maximum
    )


def _is_whole(found: Comparison) -> bool:
    return found.reference.edges is not None and found.reference.edges.dtype.kind == "i"


def _growing(found: Comparison) -> str:
    """Advice for a column of integers that are all above those of the reference.

    It may be a running number or a time. It is tested all the same, because a measurement can jump,
    too.
    """
    text = "every value is above all of the reference"
    ends = (found.reference.minimum, found.current.maximum)
    for unit, scale in _EPOCH_UNITS.items():
        # both ends must be plausible times, or many counters would be taken for one
        if all(_TIMES_FROM <= end / scale < _TIMES_TO for end in ends):
            moment = datetime.fromtimestamp(found.current.minimum / scale, tz=timezone.utc)
            return (
                f"{text}, and they read as times in {unit} (from {moment:%Y-%m-%d %H:%M}): if they "
                "are, store them as timestamps or leave the column out"
            )
    return f"{text}: if it is a running number or a time, leave the column out"


def _q(check: Check) -> str:
    return "q < 0.001" if check.q_value < 0.001 else f"q = {check.q_value:.3f}"  # noqa: PLR2004


def _count(value: float) -> str:
    return f"{value:,.0f}"
