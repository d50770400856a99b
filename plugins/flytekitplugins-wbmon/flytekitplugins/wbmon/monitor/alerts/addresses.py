"""Finds the number that a rule's metric refers to, among all numbers of a window's reports."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from itertools import islice

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import on_one_line, quoted_name
from flytekitplugins.wbmon.reports.measurement import Measurement, gate
from flytekitplugins.wbmon.reports.report import Report

logger = logging.getLogger(__name__)

_SHOWN = 12
# letters of an address, which holds several names and is to be copied from a message
_LONGEST = 200
_VIOLATED = "violated"
# names of release 0.2, by kind; a name stands for all that begin with it and a dot
RENAMED: Mapping[str, Mapping[str, str]] = {
    "performance": {
        "overrated": "overestimated",
        "calibration.error": "calibration_error",
        "calibration.p_value": "calibration_p_value",
    },
    "estimate": {
        "calibration.error": "calibration_error",
        "calibration.p_value": "calibration_p_value",
    },
    "scoring": {"top_share": "top_prediction_share"},
    "serving": {"first_chunk_ms": "time_to_first_chunk_ms", "top_share": "top_prediction_share"},
    "usage": {"retried_rate": "retry_rate"},
    "rag": {"with_stale_rate": "stale_rate", "with_duplicates_rate": "duplicate_rate"},
}


class Measurements:
    """The numbers of a window's reports, by address.

    Args:
        reports: At most one of a kind; None for one that is missing. The objectives of a scoring
            report and those of a service are one kind, `slo`.
        own: Numbers of the monitor itself, with their kind; a report of that kind takes precedence.

    Raises:
        ConfigError: If two reports are of one kind, two objectives have one name, or one is no
            report.
    """

    def __init__(self, reports: Iterable[Report | None], own: Iterable[Measurement] = ()) -> None:
        self._reports: dict[str, Report] = {}
        self._by_kind: dict[str, dict[str, Measurement]] = {}
        self._ambiguous: set[str] = set()
        given = list(reports)
        require_reports(given)
        for report in given:
            if report is not None:
                self._add(report)
        objectives = self._by_kind.get("slo")
        if objectives:
            self._by_kind["slo"] = {_VIOLATED: _any_missed(objectives.values()), **objectives}
        for each in own:
            if each.kind not in self._reports:
                self._by_kind.setdefault(each.kind, {})[each.name] = each

    def of_kind(self, kind: str) -> Mapping[str, Measurement]:
        """The numbers of one report, by name; empty if it is not there."""
        return self._by_kind.get(kind, {})

    def baseline_input(self, kind: str) -> str:
        """The input of the node of a report with which the report is compared."""
        report = self._reports.get(kind)
        return Report.BASELINE_INPUT if report is None else report.BASELINE_INPUT

    def resolve(self, address: str) -> Measurement | None:
        """The number at an address; None if its report is not there.

        Raises:
            ConfigError: If the report is there and cannot have such a number.
        """
        kind, _, name = address.partition(".")
        if kind not in self._by_kind:
            return None
        if address in self._ambiguous:
            raise ConfigError(
                f"metric {quoted_name(address)} stands for two numbers of the report, whose "
                "names read alike when joined by dots; give the segment, class or feature a name "
                "without dots"
            )
        found = self._named(kind, name)
        if found is None and (new := _renamed(kind, name)) is not None:
            _warn_renamed(address, f"{kind}.{new}")
            found = self._named(kind, new)
        if found is None:
            hint = _hint(kind, name, self._by_kind[kind])
            raise ConfigError(f"metric {quoted_name(address)} is not in the {kind} report; {hint}")
        return found

    def _add(self, report: Report) -> None:
        if report.kind in self._reports:
            raise _twice(report.kind)
        self._reports[report.kind] = report
        for kind in (report.kind, *report.OTHER_KINDS):
            self._by_kind.setdefault(kind, {})
        own: set[str] = set()
        for each in report.measurements():
            known = self._by_kind[each.kind]
            if each.address in own:
                self._ambiguous.add(each.address)
            elif each.name in known:
                raise _twice(each.address)
            own.add(each.address)
            known[each.name] = each

    def _named(self, kind: str, name: str) -> Measurement | None:
        known = self._by_kind[kind]
        if name in known:
            return known[name]
        whole = known.get(name.rpartition(".")[0])
        if whole is not None:
            for each in whole.derived():
                if each.name == name:
                    return each
        report = self._reports.get(kind)
        return None if report is None else report.absent(name)


def require_reports(reports: Iterable[object]) -> None:
    """Refuse what is no report and not None.

    Raises:
        ConfigError: If one of them is none.
    """
    for each in reports:
        if each is not None and not isinstance(each, Report):
            raise ConfigError(
                "reports must be what a node reports, such as DriftReport or PerformanceReport; "
                f"got {type(each).__name__}"
            )


def _twice(what: str) -> ConfigError:
    return ConfigError(
        f"reports must hold one of a kind, got two for {what}; evaluate each window and model on "
        "its own"
    )


def _any_missed(objectives: Iterable[Measurement]) -> Measurement:
    gates = [each for each in objectives if each.is_gate]
    judged = [each for each in gates if not math.isnan(each.value)]
    if not judged:
        return gate(_VIOLATED, value=None, reason="no objective could be judged")
    missed = [each for each in judged if each.value]
    if not missed:
        n_unknown = len(gates) - len(judged)
        unknown = f"; {n_unknown} of {len(gates)} could not be judged" if n_unknown else ""
        return gate(_VIOLATED, value=False, reason=f"no objective was missed{unknown}")
    reason = "; ".join(f"{each.told}: {each.reason}" for each in missed)
    return gate(_VIOLATED, value=True, reason=reason)


def _renamed(kind: str, name: str) -> str | None:
    for old, new in RENAMED.get(kind, {}).items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None


@cache
def _warn_renamed(old: str, new: str) -> None:
    """Say once in a process that a name will stop working."""
    logger.warning(
        "the metric %s is called %s now; the next release will not know the old name: change the "
        "rule",
        on_one_line(old),
        on_one_line(new),
    )


def _hint(kind: str, name: str, known: Mapping[str, Measurement]) -> str:
    """The address that was probably meant, or which there are.

    A name in the report may be empty or a single blank. Close to every name that is not there, it
    is offered only to somebody who wrote such a name.
    """
    whose = [each for each in known if each.startswith(f"{name}.")]
    if whose:
        return f"say whose: it has {_some(kind, whose)}"
    blank = not name.rpartition(".")[2].strip()
    near = [each for each, seen in known.items() if blank or seen.path[-1].strip()]
    close = difflib.get_close_matches(name, near, n=1)
    if close:
        return f"did you mean {quoted_name(f'{kind}.{close[0]}', _LONGEST)}?"
    return f"it has {_some(kind, known)}"


def _some(kind: str, known: Collection[str]) -> str:
    named = ", ".join(quoted_name(f"{kind}.{name}", _LONGEST) for name in islice(known, _SHOWN))
    more = len(known) - _SHOWN
    return named + (f" and {more} more" if more > 0 else "") or "no metrics"
