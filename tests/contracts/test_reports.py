"""Every class of report describes itself once, and all who show or judge it say the same."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine

import wandb
from flytekitplugins.wbmon import (
    SLO,
    AlertRule,
    Answer,
    DegradationAlert,
    ServingSLO,
    Variant,
    check_performance,
    drift_series,
    evaluate_rules,
    monitor,
    profile_data,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte import type_transformers  # noqa: F401 - registers the records
from flytekitplugins.wbmon.llm import evaluate_variants
from flytekitplugins.wbmon.monitor.alerts import addresses
from flytekitplugins.wbmon.monitor.alerts.addresses import RENAMED, Measurements
from flytekitplugins.wbmon.monitor.alerts.decision import KINDS
from flytekitplugins.wbmon.monitor.alerts.evaluate import unmeasured_reports
from flytekitplugins.wbmon.publish.dashboard import CLASSIFICATION, nightly_workspace
from flytekitplugins.wbmon.publish.lineage import publish_lineage
from flytekitplugins.wbmon.publish.report import publish_reports
from flytekitplugins.wbmon.publish.run_log import scalars
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.environment import ROOT
from support.examples import REPORTS
from support.measurements import page_of_measurements
from support.real_reports import real_reports
from support.wandb_log import find_run

# what is no number: pages, tables and words
NO_NUMBERS = {
    "report", "features", "verdict", "winner", "segments", "chunks", "worst_segment",
    "severity", "reason", "night", "positive_class", "prediction_is", "unit", "unreadable",
}  # fmt: skip


def report_classes() -> set[type[Report]]:
    """Every report of the package, once all of its modules are loaded."""
    for module in pkgutil.walk_packages(monitor.__path__, f"{monitor.__name__}."):
        importlib.import_module(module.name)
    found: set[type[Report]] = set()
    ahead = list(Report.__subclasses__())
    while ahead:
        one = ahead.pop()
        ahead += one.__subclasses__()
        # a dataclass with slots is made of a class that stays behind in the list of subclasses
        still = getattr(sys.modules[one.__module__], one.__name__, None) is one
        if still and one.__module__.startswith(f"{monitor.__name__}."):
            found.add(one)
    return found


def test_every_class_of_report_has_an_example() -> None:
    assert report_classes() == {type(report) for report in REPORTS}


def test_no_two_reports_are_of_one_kind_and_rules_know_all_kinds() -> None:
    assert sorted(report.kind for report in REPORTS) == sorted(KINDS)


QUIET = wandb.Settings(
    silent=True, x_save_requirements=False, x_disable_stats=True, disable_git=True
)

every_report = pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.kind)


@every_report
def test_each_number_has_an_address_of_its_own_that_a_rule_can_use(report: Report) -> None:
    measured = list(report.measurements())
    assert measured
    assert len({each.address for each in measured}) == len(measured)
    found = Measurements([report])
    for each in measured:
        seen = found.resolve(each.address)
        assert seen is not None
        assert (seen.address, seen.is_gate) == (each.address, each.is_gate)
        limit = 0 if each.is_gate else 1e12
        (alert,) = evaluate_rules([AlertRule(metric=each.address, above=limit)], [report]).alerts
        assert alert.phase == ("no_data" if math.isnan(seen.value) else alert.phase)


@every_report
def test_the_names_in_wandb_are_the_addresses_of_rules(report: Report, tmp_path: Path) -> None:
    with wandb.init(mode="offline", dir=tmp_path, settings=QUIET) as run:
        publish_reports([report], run=run)
    rows = find_run(tmp_path).history
    logged = {name for row in rows for name in row if not name.startswith("_")}
    found = Measurements([report])
    assert logged >= set(scalars(report))
    for name in logged - {"night", "drift_series/window/start"}:
        kind, _, rest = name.partition("/")
        if rest in NO_NUMBERS or rest.startswith("by_"):
            continue
        places = {each.metric: each.address for each in report.measurements()}
        address = places.get(name, f"{kind}.{rest.replace('/', '.')}")
        seen = found.resolve(address)
        assert seen is not None, name
        assert rows[-1].get(name, seen.value) == seen.value or "window" in name


def test_reports_of_real_data_keep_these_promises_too(tmp_path: Path) -> None:
    for number, report in enumerate(real_reports()):
        test_each_number_has_an_address_of_its_own_that_a_rule_can_use(report)
        test_the_names_in_wandb_are_the_addresses_of_rules(report, tmp_path / str(number))


def test_a_class_named_low_is_meant_by_its_name() -> None:
    names = ["low", "high"] * 50
    data = pd.DataFrame({"y": names, "q": ["low", *names[1:-1], "low"]})
    report = check_performance(data, task="classification", label="y", prediction="q")
    found = Measurements([report]).resolve("performance.recall.low")
    assert found is not None
    assert found.value == report.per_class["low"]["recall"]
    ends = Measurements([report]).resolve("performance.accuracy.low")
    assert ends is not None
    assert ends.value == report.metrics["accuracy"].low


@pytest.mark.parametrize("n_labels", [0, 10, 400])
def test_a_night_without_labels_leaves_no_rule_without_an_answer(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    score = rng.random(400)
    label = (rng.random(400) < score).astype(float)
    data = pd.DataFrame({"y": label, "p": score, "s": ["a", "b"] * 200})
    given = {"task": "classification", "label": "y", "prediction": "p", "segments": ["s"]}
    whole = check_performance(data, **given)
    few = data.assign(y=np.where(np.arange(400) < n_labels, label, np.nan))
    report = check_performance(few, baseline=whole, **given)
    for each in whole.measurements():
        if each.name.partition(".")[2] in ("low", "high", "baseline"):
            continue
        seen = Measurements([report]).resolve(each.address)
        assert seen is not None, each.address
        if n_labels < 30 and each.name.startswith(("calibration", "recall", "support", "roc_auc")):
            assert math.isnan(seen.value)
            assert seen.reason


def test_a_budget_of_somebody_who_made_no_call_cannot_be_judged() -> None:
    usage = next(each for each in REPORTS if each.kind == "usage")
    found = Measurements([usage])
    for address in ("usage.spent_share.month.tenant.bolt", "usage.forecast_share.day.global"):
        seen = found.resolve(address)
        assert seen is not None
        assert math.isnan(seen.value)
    with pytest.raises(ConfigError):
        found.resolve("usage.spent_share.fortnight.tenant.acme")


def test_a_name_in_wandb_is_one_number_also_of_a_class_named_low(tmp_path: Path) -> None:
    data = pd.DataFrame({"y": ["low", "high"] * 50, "q": ["low"] * 50 + ["high"] * 50})
    report = check_performance(data, task="classification", label="y", prediction="q")
    numbers = {each.metric: each.value for each in report.measurements()}
    logged = scalars(report)
    assert logged["performance/accuracy/low"] == report.metrics["accuracy"].low
    assert {name: logged[name] for name in logged if name in numbers} == {
        name: value for name, value in numbers.items() if name in logged
    }
    assert "performance/recall/low" not in logged


def test_names_that_rules_need_for_something_else_are_refused() -> None:
    for make in (lambda: ServingSLO(name="violated"), lambda: SLO(name="violated", value=1.0)):
        with pytest.raises(ConfigError, match="another name than 'violated'"):
            make()
    old, new = (Variant.of_text(name, "{question}") for name in ("old", "new"))
    items = [{"question": "?", "expected": "a"}] * 2
    with pytest.raises(ConfigError, match="'latency_ms' is that of another number"):
        evaluate_variants(
            items, [old, new], lambda *_: Answer(text="a"), scorers={"latency_ms": lambda *_: 1.0}
        )


def test_names_that_read_alike_are_refused_where_a_rule_uses_them() -> None:
    """Feature `b.c` of segment `a`, and feature `c` of segment `a.b`."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"s": ["a", "a.b"] * 200, "b.c": rng.normal(size=400)})
    data["c"] = rng.normal(size=400)
    reference = profile_data(data[["b.c", "c"]])
    series = drift_series(data, like=reference, segment="s")
    found = Measurements([series])
    assert found.resolve("drift_series.n_windows") is not None
    assert found.resolve("drift_series.window.drifted.a.c") is not None
    with pytest.raises(ConfigError, match="stands for two numbers of the report"):
        found.resolve("drift_series.window.drifted.a.b.c")


@every_report
def test_a_report_is_an_artifact_a_page_and_a_file(report: Report, tmp_path: Path) -> None:
    with wandb.init(mode="offline", dir=tmp_path, settings=QUIET) as run:
        publish_lineage({}, [report], run=run)
    (artifact,) = find_run(tmp_path).artifacts
    assert artifact.name == report.artifact_name
    html = report.to_html()
    assert html.startswith("<!doctype html>")
    assert not re.search(r"\b(nan|inf|None)\b", html.split("</style>")[-1])
    again = record_from_json(type(report), record_to_json(report))
    assert record_to_json(again) == record_to_json(report)


@pytest.mark.parametrize(
    "report", [each for each in REPORTS if each.kind != "heartbeat"], ids=lambda each: each.kind
)
def test_a_report_crosses_a_task_border(report: Report) -> None:
    context, kind = FlyteContextManager.current_context(), type(report)
    literal = TypeEngine.to_literal(context, report, kind, TypeEngine.to_literal_type(kind))
    again = TypeEngine.to_python_value(context, literal, kind)
    assert record_to_json(again) == record_to_json(report)


@pytest.mark.parametrize(
    "report",
    [each for each in REPORTS if each.kind not in ("heartbeat", "alerts")],
    ids=lambda each: each.kind,
)
def test_the_alert_node_takes_it_by_the_name_of_its_kind(report: Report) -> None:
    first = next(each for each in report.measurements() if not each.is_gate)
    name = f"contract.{report.kind}"
    node = DegradationAlert(name, rules=[AlertRule(metric=first.address, above=-1e12)])
    decided = node(**{report.kind: report})
    assert decided.fired
    assert decided.decision.findings == unmeasured_reports([report])
    assert node().decision.findings == (
        f"no {report.kind} report came; its rules cannot be judged",
    )


def test_the_dashboard_draws_what_is_logged() -> None:
    known = {name for report in REPORTS for name in scalars(report)}
    metrics = ("accuracy",)
    workspace = nightly_workspace("ops", "payments", metrics)
    drawn = [
        metric if isinstance(metric, str) else metric.name
        for section in workspace.sections
        for panel in section.panels
        for metric in panel.y
    ]
    assert set(drawn) - known <= {"scoring/latency_ms/p50"}
    assert set(metrics) < set(CLASSIFICATION)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [(kind, old, new) for kind, names in RENAMED.items() for old, new in names.items()],
)
def test_an_old_address_works_and_the_log_names_the_new_one(
    kind: str, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    addresses._warn_renamed.cache_clear()  # another test may have used the old name before
    report = next(each for each in REPORTS if each.kind == kind)
    names = [each.name for each in report.measurements()]
    assert not any(name == old or name.startswith(f"{old}.") for name in names)
    tail = next((n.removeprefix(new) for n in names if n == new or n.startswith(f"{new}.")), None)
    if tail is None:  # what an estimate has only together with probabilities
        assert kind == "estimate"
        return
    seen = Measurements([report]).resolve(f"{kind}.{old}{tail}")
    assert seen is not None
    assert seen.address == f"{kind}.{new}{tail}"
    assert f"{kind}.{new}{tail}" in caplog.text


def test_the_page_of_measurements_is_what_the_reports_say() -> None:
    page = (ROOT / "docs" / "measurements.md").read_text()
    assert page == page_of_measurements(), "write it anew: python -m tests.support.measurements"
