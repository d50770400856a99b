"""The drift check: compares a window with the reference and gives a verdict for each feature.

Statistic, effect size and verdict are kept apart. A feature is *drifted* if one of its checks is
significant after the Benjamini-Hochberg correction over all checks of the run, and its effect size
is at least `min_effect`: statistical significance alone is no reason for an alarm.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

from flytekitplugins.wbmon.data.kind import declarations
from flytekitplugins.wbmon.data.open import Data, open_values
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.sources import known_names, stored_names
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.bars import bars
from flytekitplugins.wbmon.monitor.drift.compare_feature import compare_feature
from flytekitplugins.wbmon.monitor.drift.comparison import SCHEMA_LEVELS, Comparison
from flytekitplugins.wbmon.monitor.drift.exact import Pair, exact_pairs, fits_in_memory
from flytekitplugins.wbmon.monitor.drift.explain import explain_feature, explain_window
from flytekitplugins.wbmon.monitor.drift.past import Past, explain_past, n_calibrating, past_of
from flytekitplugins.wbmon.monitor.drift.past_windows import calibrate
from flytekitplugins.wbmon.monitor.drift.report import (
    Check,
    DriftReport,
    FeatureDrift,
    Level,
    Role,
    Verdict,
)
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.monitor.profiles.layout import before_new_column, missing_column
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.profiles.windows import TimeWindow
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg

_FREQUENT = 0.01  # share of rows from which on a tail that grew is drift
_LEVELS: tuple[Level, ...] = ("none", "negligible", "warning", "drift")


def check_drift(
    reference: Profile | Data,
    current: Profile | Data,
    *,
    rule: DriftRule | None = None,
    past: Iterable[Profile] | Mapping[TimeWindow, Profile] = (),
    start: datetime | None = None,
) -> DriftReport:
    """Compare a window with the reference, feature by feature.

    Two windows of data that fit in memory are compared exactly, by sorting. If one side is a
    profile, or is too large, both are counted into the grid of the reference, and each
    Kolmogorov-Smirnov distance has an error bound.

    Partition columns, whose values are only in folder names (`day=2026-01-01/…`), usually differ
    between windows. They are compared only if the rule names them in `features`.

    Args:
        reference: Profile of the reference window, or its data in any form `profile_data` accepts.
        current: Profile or data of the current window; a profile must have been made `like` the
            reference.
        rule: What counts as drift; `DriftRule()` by default.
        past: Profiles of earlier windows without known problems, made `like` the reference; at
            least 5, better 20 or more; or such profiles by window, as `profile_windows` has them.
            Rows of one window are rarely independent, and then every window differs significantly
            from the reference. With past windows, a finding must also be farther from them than
            they are from each other. The report names those that are unlike the others.
        start: When the current window began, UTC. With it, past windows that are given by window
            are compared with others of their weekday, and the current window with those of its
            own, of which there must be 3; how much windows differ is learned from all weekdays.

    Returns:
        The report. A feature that cannot be tested gives the reason in its `status`; the other
        features are tested all the same.

    Raises:
        ConfigError: If the rule is none, `past` is no sequence of profiles, or `start` is given
            and `past` does not say when its windows began.
        DataError: If the data cannot be read, the profiles do not share a layout, or the rule names
            a column that neither window has.
    """
    rule = DriftRule() if rule is None else rule
    if not isinstance(rule, DriftRule):
        raise ConfigError(f"rule must be a DriftRule, got {type(rule).__name__}")
    windows = past_of(reference, past, start)
    pairs, n_reference, n_current = _pairs(reference, current, rule)
    compared = [compare_feature(a, b, rule, exact) for a, b, exact in pairs]
    return _report(compared, windows, rule, n_reference, n_current)


def _pairs(
    reference: Profile | Data, current: Profile | Data, rule: DriftRule
) -> tuple[list[Pair], int, int]:
    asked = _asked(rule)
    if not isinstance(reference, Profile) and not isinstance(current, Profile):
        sources = open_values(reference, naming=asked), open_values(current, naming=asked)
        _require_known(rule, {name for source in sources for name in known_names(source)})
        if fits_in_memory(*sources):
            names = asked or tuple(dict.fromkeys(chain(*map(stored_names, sources))))
            said = declarations(rule.kinds, rule.missing_values)
            pairs = exact_pairs(*sources, names, said)
            return pairs, sources[0].n_rows or 0, sources[1].n_rows or 0
        # too large to sort: continue as if a reference profile had been given
        reference = profile_data(
            sources[0],
            columns=_present(asked, sources[0]),
            kinds=rule.kinds,
            missing_values=rule.missing_values,
        )
        current = sources[1]
    # a grid learned now from the reference data would differ from that of the current profile
    if not isinstance(reference, Profile):
        raise DataError(
            "the current window is a profile, so the reference must be the profile it was made "
            "like; profile the reference once, then each window with like=reference"
        )
    if not isinstance(current, Profile):
        current = _profile_current(open_values(current), reference, rule)
    if current.layout != reference.layout and not current.is_nothing:
        raise DataError(
            "both profiles must share a layout to be compared; make the current one with "
            "profile_data(data, like=reference)"
        )
    _require_known(rule, {*reference.features, *current.features})
    return _paired(reference, current, asked), reference.n_rows, current.n_rows


def _asked(rule: DriftRule) -> tuple[str, ...]:
    """The columns to check; empty for all columns."""
    if not rule.features:
        return ()
    return tuple(dict.fromkeys((*rule.features, *rule.predictions, *rule.labels)))


def _present(asked: Sequence[str], source: PlainSource) -> list[str] | None:
    return [name for name in asked if name in source.names] if asked else None


def _profile_current(source: PlainSource, reference: Profile, rule: DriftRule) -> Profile:
    _require_known(rule, {*reference.features, *known_names(source)})
    return profile_data(source, like=reference, columns=_asked(rule) or None)


def _require_known(rule: DriftRule, names: set[str]) -> None:
    said = (rule.features, rule.predictions, rule.labels, rule.kinds, rule.missing_values)
    unknown = [name for name in map(str, chain(*said)) if name not in names]
    if unknown:
        close = difflib.get_close_matches(unknown[0], sorted(names))
        hint = f"; did you mean {quoted_name(close[0])}?" if close else ""
        raise DataError(
            "the rule must name columns of the data, but neither window has "
            f"{listed_names(unknown)}{hint}"
        )


def _paired(reference: Profile, current: Profile, asked: Sequence[str]) -> list[Pair]:
    """Both sides of each column, with a stand-in where one profile lacks it."""
    names = asked or tuple(dict.fromkeys([*reference.features, *current.features]))
    pairs: list[Pair] = []
    for name in names:
        a, b = reference.features.get(name), current.features.get(name)
        # a profile made with `columns=` can lack features, so either side can be absent
        if a is None:
            b = current.features[name]
            pairs.append((before_new_column(b, reference.n_rows), b, None))
        else:
            pairs.append((a, b or missing_column(a, current.n_rows), None))
    return pairs


def _report(
    compared: Sequence[Comparison],
    past: Past,
    rule: DriftRule,
    n_reference: int,
    n_current: int,
) -> DriftReport:
    windows, outliers = calibrate(compared, past, rule)
    # one family: all checks of all features, so that the false discovery rate holds for the run
    p_values = [check.p_value for found in compared for check in found.checks]
    silent = sum(map(_found_no_earlier_time, compared))
    significance = zip(
        benjamini_hochberg([*p_values, *[1.0] * silent])[: len(p_values)].tolist(),
        windows,
        benjamini_hochberg(windows).tolist(),
        strict=True,
    )
    # `significance` has the order of `p_values`, and the loops below consume it check by check
    features = []
    for found in compared:
        checks = tuple(_judged(check, *next(significance), rule) for check in found.checks)
        features.append(_feature(found, checks, rule))
    # the name last, so that the order is the same in every run
    features.sort(key=lambda feature: (*_rank(feature), feature.name))
    n_least = min(n_reference, n_current)
    verdict = _verdict(features, n_least, enough_rows=n_least >= rule.min_rows)
    return DriftReport(
        rule=rule,
        n_reference=n_reference,
        n_current=n_current,
        n_past=n_calibrating(past),
        past_outliers=outliers,
        verdict=verdict,
        past_rows=tuple(window.profile.n_rows for window in past.windows),
        reason=explain_window(features, verdict, n_reference, n_current)
        + explain_past(past, outliers, rule),
        features={feature.name: feature for feature in features},
    )


def _found_no_earlier_time(found: Comparison) -> bool:
    """Whether times were looked at for one before the first of the reference, and had none.

    The reference has none by definition, so there is a check only where a window has some. In the
    family it counts always, or one early row among many columns would be judged alone.
    """
    is_seen = found.reference.kind == "time" and found.status not in SCHEMA_LEVELS
    return is_seen and not any(check.name == "earlier" for check in found.checks)


def _judged(
    check: Check, q_value: float, window_p_value: float, window_q_value: float, rule: DriftRule
) -> Check:
    """The check with its q-values and its level."""
    level: Level = "none"
    # nan, without enough past windows, compares as False: the test on rows then decides alone
    usual = window_q_value > rule.alpha
    # orders and sessions are new in every window, which one pair of windows cannot show
    is_decided = check.name != "new_identifiers" or not math.isnan(window_q_value)
    if q_value <= rule.alpha and not usual:
        level = _level_of(check, rule) if is_decided else "negligible"
    return replace(
        check,
        q_value=q_value,
        window_p_value=window_p_value,
        window_q_value=window_q_value,
        level=level,
    )


def _level_of(check: Check, rule: DriftRule) -> Level:
    """What a significant check counts as."""
    if check.effect_size >= rule.min_effect:
        return "drift"
    # nan, of a check of no tail, compares as False
    if check.odds_ratio >= rule.tail_odds:
        # the larger of two small shares, from their difference and their ratio
        is_frequent = check.effect_size / (1 - 1 / check.odds_ratio) >= _FREQUENT
        return "drift" if is_frequent else "warning"
    # values that no longer occur do less harm: a cap, or scores that are a little less extreme
    if check.odds_ratio < 1 / rule.tail_odds:
        return "warning"
    return "warning" if check.effect_size >= rule.warn_effect else "negligible"


def _feature(found: Comparison, checks: tuple[Check, ...], rule: DriftRule) -> FeatureDrift:
    reference, current = found.reference, found.current
    main = _main(checks)
    level = max([found.schema_level, *(check.level for check in checks)], key=_LEVELS.index)
    of_facet = found.of(main.facet if main else ())
    bins = bars(of_facet.reference, of_facet.current)
    return FeatureDrift(
        name=reference.name,
        kind=reference.kind,
        role=_role(reference.name, rule),
        status=found.status,
        n_reference=reference.n_values,
        n_current=current.n_values,
        missing_reference=reference.missing_share,
        missing_current=current.missing_share,
        unreadable_reference=reference.unreadable_share,
        unreadable_current=current.unreadable_share,
        examples=current.examples or reference.examples,
        test=main.test if main else "",
        statistic=main.statistic if main else math.nan,
        p_value=main.p_value if main else math.nan,
        q_value=main.q_value if main else math.nan,
        effect_size=main.effect_size if main else math.nan,
        effect_low=main.effect_low if main else math.nan,
        bound=found.bound,
        level=level,
        importance=rule.importance.get(reference.name, 1.0),
        checks=checks,
        distances=found.distances,
        mean_reference=reference.mean,
        mean_current=current.mean,
        mean_shift=found.mean_shift,
        spread_ratio=found.spread_ratio,
        new_categories=found.new_categories,
        vanished_categories=found.vanished_categories,
        bins=bins,
        reason=explain_feature(found, checks, level, bins, rule),
    )


def _main(checks: Sequence[Check]) -> Check | None:
    """The check whose numbers stand for the feature: its distribution, or that of a facet.

    What has facets has no distribution of its own; of several facets it is the one that moved most.
    """
    found = [check for check in checks if check.name == "distribution"]
    return max(found, key=lambda check: check.effect_size, default=None)


def _role(name: str, rule: DriftRule) -> Role:
    if name in rule.predictions:
        return "prediction"
    return "label" if name in rule.labels else "feature"


def _rank(feature: FeatureDrift) -> tuple[float, float]:
    """Sort key, worst first: by level, then by effect size times importance."""
    effects = [check.effect_size for check in feature.checks]
    if feature.status in SCHEMA_LEVELS:
        # a change of the schema affects every row
        effects.append(1.0)
    return -_LEVELS.index(feature.level), -max(effects, default=0.0) * feature.importance


def _verdict(features: Sequence[FeatureDrift], n_least: int, *, enough_rows: bool) -> Verdict:
    if n_least == 0:
        return "insufficient"
    levels = {feature.level for feature in features}
    if "drift" in levels:
        return "drift"
    if "warning" in levels:
        return "warning"
    # without checks, "ok" still needs enough rows: two tiny windows say nothing about drift
    answered = any(feature.tested and (feature.checks or enough_rows) for feature in features)
    return "ok" if answered else "insufficient"
