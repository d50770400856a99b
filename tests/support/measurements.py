"""The page of all numbers that reports have: `python -m tests.support.measurements` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugins" / "flytekitplugins-wbmon")]

from flytekitplugins.wbmon.monitor.alerts.addresses import RENAMED  # noqa: E402
from flytekitplugins.wbmon.reports.measurement import Measurement  # noqa: E402
from support.examples import REPORTS  # noqa: E402
from support.real_reports import real_reports  # noqa: E402

PAGE = ROOT / "docs" / "measurements.md"
# the parts of the examples that stand for a name of the user's
NAMES = {
    "amount": "feature", "hour": "feature", "eu": "segment", "us": "segment", "fraud": "class",
    "ValueError": "error", "yes": "class", "no": "class", "p99": "percentile",
    "p50": "percentile", "p90": "percentile", "p95": "percentile", "p5": "quantile",
    "up": "objective", "/predict": "route", "acme": "tenant", "old": "variant", "new": "variant",
    "too_long": "label", "exact": "score", "search": "step", "retrieve": "stage",
    "month": "period",
}  # fmt: skip
HEAD = """# The numbers of every report

A number has one name. A rule calls it `<report>.<name>` ([alerts.md](alerts.md)); in W&B it is
`<report>/<name>`, with slashes for the dots. There, in a name of yours, `~` and two digits a byte
stand for what cannot be seen and for ``~ / . \\ * " ` < >`` (`sepal.length` is `sepal~2Elength`),
and `~empty` for no name; one of more than 100 letters is cut and ends in `~~` and a digest. A
number with an interval or a baseline has `….low`, `….high` and `….baseline` too; a class or
feature that is itself named `low` comes first.
*Worse* is the side that a rule `beyond_sd` or `trend` looks at; where there is none, either side
is. A gate is 0 or 1 and takes `above: 0`. *Shown* is where a number appears without being asked
for: in W&B, in the history of windows beside the state file, or also in "what changed since the
window before"; a rule reaches them all.

| rule | worse | unit | shown |
|--|--|--|--|
"""
WORSE = {None: "", True: "lower", False: "higher"}
SHOWN = {"rule": "", "chart": "W&B", "history": "W&B, history", "news": "W&B, history, changes"}


def page_of_measurements() -> str:
    """The content of the page."""
    kinds: dict[str, dict[str, str]] = {}
    for report in (*REPORTS, *real_reports()):
        for each in report.measurements():
            kinds.setdefault(each.kind, {}).setdefault(_address(each), _row(each))
    # of all objectives of a window, so no report has it
    kinds["slo"] = {"slo.violated": "| `slo.violated` | gate |  |  |", **kinds["slo"]}
    rows = [row for of_kind in kinds.values() for row in of_kind.values()]
    renamed = [
        f"| `{kind}.{old}` | `{kind}.{new}` |"
        for kind, names in RENAMED.items()
        for old, new in names.items()
    ]
    tail = "\n## Names of release 0.2\n\nThey work in this release; the log names the new one.\n\n"
    table = "\n".join(["| before | now |", "|--|--|", *renamed])
    return HEAD + "\n".join(rows) + f"\n{tail}{table}\n"


def _address(each: Measurement) -> str:
    first, *rest = each.path
    if each.kind == "slo" and first != "violated":
        first = "<objective>"
    if each.kind == "evaluation" and first == "exact":
        first = "<score>"
    parts = [f"<{NAMES[part]}>" if part in NAMES else part for part in rest]
    return ".".join((each.kind, first, *parts))


def _row(each: Measurement) -> str:
    worse = "gate" if each.is_gate else WORSE[each.higher_is_better]
    return f"| `{_address(each)}` | {worse} | {each.unit} | {SHOWN[each.prominence]} |"


if __name__ == "__main__":
    PAGE.write_text(page_of_measurements())
