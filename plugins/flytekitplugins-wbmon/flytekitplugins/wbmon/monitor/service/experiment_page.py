"""The page of an experiment's report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    interval,
    name_cell,
    number,
    section,
    state_cell,
    table,
    verdict,
)
from flytekitplugins.wbmon.stats.repeated_looks import validity

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.service.experiment_report import (
        ExperimentReport,
        VariantOutcome,
    )

_TONES = {"no_difference": "ok", "invalid": "error"}
# the page says the first of these that any variant has
_ORDER = ("invalid", "worse", "insufficient", "better", "no_difference")


def experiment_section(report: ExperimentReport) -> str:
    """The section of an experiment."""
    verdicts = {each.verdict for each in report.compared}
    worst = next((verdict for verdict in _ORDER if verdict in verdicts), "insufficient")
    state = _TONES.get(worst, worst)
    body = [
        verdict(state, f"{report.experiment}: {report.outcome}", report.reason),
        facts(
            f"control {report.control}",
            f"split p-value {number(report.split_p_value)}",
            f"differences are {validity(report.looks, report.planned_units, 'units')}",
            "intervals cover 95 %, those of means at one look",
            *([f"{report.n_crossed:,} units saw several variants"] if report.n_crossed else []),
        ),
        table(
            ("variant", "units", "mean", "interval", "difference", "interval", "p-value", ""),
            map(_variant_row, report.variants),
        ),
    ]
    return section("Experiment", body)


def _variant_row(each: VariantOutcome) -> Sequence[str]:
    return (
        name_cell(each.variant),
        cell(f"{each.n_measured:,} of {each.n_exposed:,}"),
        cell(number(each.mean)),
        cell(interval(each.low, each.high)),
        cell(number(each.difference)),
        cell(interval(each.difference_low, each.difference_high)),
        cell(number(each.p_value)),
        state_cell(each.verdict),
    )
