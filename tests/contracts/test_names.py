"""Names are names: whatever a column, class or segment is called, it is found under that name."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

import wandb
from flytekitplugins.wbmon import (
    AlertRule,
    DriftReport,
    DriftRule,
    PerformanceReport,
    Profile,
    check_drift,
    check_joint_drift,
    check_performance,
    drift_series,
    estimate_performance,
    evaluate_rules,
    join_labels,
    load_rules,
    permutation_importance,
    profile_data,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.alerts.addresses import Measurements
from flytekitplugins.wbmon.monitor.alerts.history import (
    diff_from_previous,
    headlines,
    summarise_window,
)
from flytekitplugins.wbmon.monitor.alerts.notifications import plan_notifications
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory
from flytekitplugins.wbmon.monitor.scoring.report import Watch
from flytekitplugins.wbmon.monitor.scoring.score import score_batches
from flytekitplugins.wbmon.publish.report import publish_reports
from flytekitplugins.wbmon.publish.run_log import scalars
from flytekitplugins.wbmon.reports.measurement import metric_part
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.odd_names import NOT_TEXT, ODD_NAMES
from support.wandb_log import LoggedRun, find_run

NAMES = list(ODD_NAMES.values())
N = 400

each_name = pytest.mark.parametrize("name", NAMES, ids=list(ODD_NAMES))
each_non_text = pytest.mark.parametrize("name", NOT_TEXT, ids=str)


def window(shift: float) -> pa.Table:
    """A column for each odd name, each with another number of missing values."""
    rng = np.random.default_rng(0)
    columns = []
    for index in range(len(NAMES)):
        values = rng.normal(shift, 1, N)
        values[: index + 1] = np.nan
        columns.append(pa.array(values, from_pandas=True))
    return pa.table(columns, names=NAMES)


@pytest.fixture(scope="module")
def report() -> DriftReport:
    """The drift of every odd name."""
    return check_drift(window(0), window(0.5))


@pytest.fixture(scope="module")
def by_class() -> PerformanceReport:
    """A model whose classes have odd names."""
    labels = [name for name in NAMES for _ in range(10)]
    guessed = [*labels[1:], labels[0]]
    data = pa.table({"y": labels, "q": guessed})
    return check_performance(data, task="classification", label="y", prediction="q")


def in_wandb(folder: Path, *reports: Report) -> LoggedRun:
    """An offline run that the reports were published to, read back from its file."""
    with wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True)) as run:
        publish_reports(reports, run=run)
    return find_run(folder)


class Page(HTMLParser):
    """The texts of a page that is well formed, and the elements it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# data


def test_drift_has_every_name_by_profiles_and_exactly(report: DriftReport) -> None:
    reference = profile_data(window(0))
    counted = check_drift(reference, profile_data(window(0.5), like=reference))
    assert set(report.features) == set(NAMES)
    assert set(reference.features) | {""} == set(counted.features) | {""} == set(NAMES)
    assert all(feature.name == name for name, feature in report.features.items())


def test_a_profile_and_a_report_are_read_back_with_every_name(
    report: DriftReport, by_class: PerformanceReport, tmp_path: Path
) -> None:
    reference = profile_data(window(0))
    reference.save(str(tmp_path / "profile"))
    assert list(Profile.load(str(tmp_path / "profile")).features) == list(reference.features)
    for each in (report, by_class):
        assert record_to_json(record_from_json(type(each), record_to_json(each))) == (
            record_to_json(each)
        )
    assert list(record_from_json(DriftReport, record_to_json(report)).features) == list(
        report.features
    )


def test_a_rule_is_carried_to_a_pod_with_every_name() -> None:
    rule = DriftRule(features=tuple(NAMES), importance=dict.fromkeys(NAMES, 0.5))
    assert record_from_json(DriftRule, record_to_json(rule)) == rule


@each_name
def test_a_rule_of_drift_means_the_column_that_it_names(name: str) -> None:
    data = pa.table([window(0.5).column(name), window(0.5).column(name)], names=[name, "other"])
    rule = DriftRule(features=(name,), predictions=(name,), importance={name: 0.5})
    (found,) = check_drift(data, data, rule=rule).features.values()
    assert (found.name, found.role, found.importance) == (name, "prediction", 0.5)


def outcomes() -> dict[str, Any]:
    """The columns of a window that a performance check can be asked for, by role."""
    rng = np.random.default_rng(0)
    p = rng.random(N)
    return {
        "label": (rng.random(N) < p).astype(int),
        "prediction": (p > 0.5).astype(int),
        "score": p,
        "weight": rng.integers(1, 3, N).astype(float),
        "time": pd.date_range("2026-01-01", periods=N, freq="h"),
        "segments": ["a", "b"] * (N // 2),
    }


@pytest.mark.parametrize("role", ["label", "prediction", "score", "weight", "time", "segments"])
@each_name
def test_every_role_of_a_column_may_have_any_name(name: str, role: str) -> None:
    called = {each: f"the {each}" for each in outcomes()} | {role: name}
    data = pa.table(list(outcomes().values()), names=[called[each] for each in outcomes()])
    given: dict[str, Any] = {**called, "segments": [called["segments"]]}
    seen = check_performance(data, task="classification", **given)
    plain = {each: each for each in outcomes()}
    same = check_performance(
        pa.table(outcomes()), task="classification", **(plain | {"segments": ["segments"]})
    )
    assert {key: each.value for key, each in seen.metrics.items()} == {
        key: each.value for key, each in same.metrics.items()
    }
    assert [part.by for part in seen.segments] == [called["segments"]] * 2
    assert {part.by for part in seen.chunks} == {called["time"]}


@each_name
def test_labels_are_joined_whatever_the_columns_are_called(name: str) -> None:
    made = pa.table([[1, 2], [0.1, 0.2]], names=["the id", "p"])
    times = ["2026-01-01", "2026-01-02"]
    came = pa.table([[1, 1], ["old", "new"], times], names=["the id", "the label", "at"])
    for role in ("the id", "the label", "at"):
        renamed = came.rename_columns(
            [name if each == role else each for each in came.schema.names]
        )
        left = made.rename_columns([name if role == "the id" else "the id", "p"])
        label = name if role == "the label" else "the label"
        on = name if role == "the id" else "the id"
        latest = name if role == "at" else "at"
        joined = join_labels(left, renamed, label=label, on=on, latest_by=latest)
        assert joined.table[label].to_pylist() == ["new", None]


@each_name
def test_what_needs_rows_takes_a_column_of_any_name(name: str) -> None:
    columns = outcomes()
    data = pa.table([columns["label"], columns["score"]], names=["the label", name])
    seen = estimate_performance(data, reference=data, label="the label", prediction=name)
    assert seen.metrics["accuracy"].value > 0.5
    values = estimate_performance(
        pa.table([columns["score"], columns["score"], columns["weight"]], names=["y", "q", name]),
        reference=pa.table(
            [columns["score"], columns["score"], columns["weight"]], names=["y", "q", name]
        ),
        task="regression",
        label="y",
        prediction="q",
        features=[name],
        weight=name,
    )
    assert values.metrics["mae"].value == pytest.approx(0, abs=1e-6)
    weights = permutation_importance(
        lambda batch: batch[name], data, features=[name], label="the label", kind="pandas"
    )
    assert weights == {name: 1.0}
    moved = pa.table([columns["score"] + 1], names=[name])
    assert check_joint_drift(data, moved, columns=[name]).contributions.keys() == {name}


@each_name
def test_a_model_is_given_and_may_return_columns_of_any_name(name: str, tmp_path: Path) -> None:
    data = pa.table([outcomes()["score"]], names=[name])
    scored = score_batches(
        lambda batch: pd.DataFrame({f"{name}!": batch[name] / 2}),
        data,
        str(tmp_path / "scored"),
        kind="pandas",
        columns=[name],
        watch=Watch(confidence=(f"{name}!",)),
    )
    assert scored.columns == (f"{name}!",)
    written = check_drift(data, str(tmp_path / "scored"), rule=DriftRule(features=(name,)))
    assert list(written.features) == [name]


@each_non_text
def test_a_name_that_is_not_text_may_be_given_as_the_frame_has_it(name: Any) -> None:
    columns = outcomes()
    frame = pd.DataFrame({name: columns["label"], "q": columns["prediction"]}, dtype=object)
    frame.columns = pd.Index([name, "q"], dtype=object, tupleize_cols=False)
    frame = frame.infer_objects()
    by_label = check_performance(frame, task="classification", label=name, prediction="q")
    assert by_label.n_labelled == N
    found = check_drift(frame, frame, rule=DriftRule(features=(name,), importance={name: 0.5}))
    (feature,) = found.features.values()
    assert (feature.name, feature.importance) == (str(name), 0.5)
    assert join_labels(frame, frame, label="q", on=name).n_labelled == N
    shuffled = permutation_importance(
        lambda batch: batch[str(name)], frame, features=[name], kind="pandas"
    )
    assert shuffled == {str(name): 1.0}
    parts = check_performance(
        frame, task="classification", label="q", prediction="q", weight=name, segments=[name]
    )
    assert {part.by for part in parts.segments} == {str(name)}
    reference = profile_data(frame[["q"]])
    assert drift_series(frame, like=reference, segment=name).windows


def test_segments_of_any_name_are_told_apart() -> None:
    names = [name for name in NAMES for _ in range(2)]
    p = np.linspace(0, 1, len(names))
    data = pa.table({"s": names, "y": p, "q": p})
    seen = check_performance(data, task="regression", label="y", prediction="q", segments=["s"])
    # a name that is blank is none
    kept = {part.value for part in seen.segments} - {"(other)", "(missing)"}
    assert len(kept) == 49
    assert kept < set(NAMES)


# rules


def test_an_address_reaches_exactly_the_column_that_it_names(report: DriftReport) -> None:
    found = Measurements([report])
    for index, name in enumerate(NAMES):
        seen = found.resolve(f"drift.missing_current.{name}")
        assert seen is not None
        assert seen.path == ("missing_current", name)
        assert seen.value == pytest.approx((index + 1) / N)


def test_an_address_reaches_exactly_the_class_that_it_names(by_class: PerformanceReport) -> None:
    found = Measurements([by_class])
    # blank text is no class
    for name in filter(str.strip, NAMES):
        seen = found.resolve(f"performance.support.{name}")
        assert seen is not None
        assert seen.path == ("support", name)


@pytest.mark.parametrize("kind", ["yaml", "yaml of letters", "json", "json of letters", "tabs"])
def test_a_rule_file_reaches_every_name(report: DriftReport, tmp_path: Path, kind: str) -> None:
    rules = {"rules": [{"metric": f"drift.missing_current.{each}", "above": 0.5} for each in NAMES]}
    written = {
        "yaml": yaml.safe_dump(rules),
        "yaml of letters": yaml.safe_dump(rules, allow_unicode=True),
        "json": json.dumps(rules),
        "json of letters": json.dumps(rules, ensure_ascii=False),
        "tabs": json.dumps(rules, indent="\t"),
    }
    path = tmp_path / "rules"
    path.write_text(written[kind], encoding="utf-8", newline="")
    read = load_rules(path)
    assert [rule.metric for rule in read] == [each["metric"] for each in rules["rules"]]
    decided = evaluate_rules(read, [report])
    by_metric = {alert.rule.metric: alert.value for alert in decided.alerts}
    for index, name in enumerate(NAMES):
        assert by_metric[f"drift.missing_current.{name}"] == pytest.approx((index + 1) / N)


@pytest.mark.parametrize("metric", [7, None, 2.5, ["drift.drifted"]])
def test_an_address_that_is_not_text_is_refused_as_such(metric: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="metric must be text"):
        AlertRule(metric=metric, above=0)
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"rules": [{"metric": metric, "above": 0}]}))
    with pytest.raises(ConfigError, match=r"rule 1 .*metric must be text"):
        load_rules(path)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("drift.effect_size.amuont", "did you mean 'drift.effect_size.amount'?"),
        ("drift.effect_size.   ", "did you mean 'drift.effect_size.  '?"),
        ("drift.effect_size.sepal length", "did you mean 'drift.effect_size.sepal_length'?"),
        ("drift.effect_size", "say whose: it has 'drift.effect_size."),
        ("drift.effect_size.net\ngros", r"did you mean 'drift.effect_size.net\ngross'?"),
    ],
)
def test_a_hint_is_an_address_that_can_be_copied(
    report: DriftReport, address: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        Measurements([report]).resolve(address)
    assert hint in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_column_without_a_name_is_no_hint_for_another() -> None:
    data = pa.table([outcomes()["score"]] * 2, names=["", "amount"])
    found = Measurements([check_drift(data, data)])
    for wrong in ("price", "x"):
        with pytest.raises(ConfigError) as raised:
            found.resolve(f"drift.effect_size.{wrong}")
        assert "effect_size.'" not in str(raised.value)


# W&B


def test_every_column_is_a_metric_of_its_own_in_wandb(report: DriftReport, tmp_path: Path) -> None:
    (row,) = in_wandb(tmp_path, report).history
    for index, name in enumerate(NAMES):
        key = f"drift/missing_current/{metric_part(name)}"
        assert row[key] == pytest.approx((index + 1) / N)
    charted = [key for key in row if key.startswith("drift/missing_current/")]
    assert len(charted) == len(NAMES)
    assert not any(isinstance(value, dict) and "_type" not in value for value in row.values())


def test_a_metric_has_the_same_name_whichever_other_columns_there_are(report: DriftReport) -> None:
    together = scalars(report)
    for name in NAMES:
        alone = window(0.5).select([name])
        numbers = scalars(check_drift(alone, alone))
        assert {key for key in numbers if key.count("/") > 1} <= set(together)
        assert f"drift/missing_current/{metric_part(name)}" in numbers


def test_classes_of_any_name_are_metrics_of_their_own_in_wandb(tmp_path: Path) -> None:
    data = pa.table([outcomes()["score"]], names=["x"])
    reference = profile_data(data)
    # a list, because a numpy array of texts ends each at its first NUL
    names = [name for name in NAMES for _ in range(N)]
    named = pa.table({"x": np.tile(outcomes()["score"], len(NAMES)), "s": names})
    series = drift_series(named.select(["s", "x"]), like=reference, segment="s")
    run = in_wandb(tmp_path, series)
    keys = {key for row in run.history for key in row}
    for name in NAMES:
        if name.strip():  # a blank segment is none
            assert f"drift_series/window/n_current/{metric_part(name)}" in keys


# pages and messages


def test_pages_escape_cut_and_tell_apart_every_name(
    report: DriftReport, by_class: PerformanceReport
) -> None:
    for each in (report, by_class):
        page = Page(each.to_html())
        assert "script" not in page.tags
        assert not any("x" * 100 in text for text in page.texts)
        each.to_html().encode()
    bold = Page(report.to_html()).texts
    cells = [text for text in bold if text.startswith("x" * 50)]
    assert len(set(cells)) >= 2


def test_messages_are_one_line_each(report: DriftReport) -> None:
    rules = [AlertRule(metric=f"drift.effect_size.{name}", above=0.01) for name in NAMES]
    decision = evaluate_rules(rules, [report])
    assert report.reason.isprintable()
    assert all(alert.reason.isprintable() for alert in decision.alerts)
    memory = plan_notifications(decision, AlertMemory(), channels={"pager": "info"})
    assert len(memory.outbox) == len(NAMES)
    for each in memory.outbox:
        assert each.title.isprintable()
        assert "\r" not in each.text
        assert each.text.count("\n") == 0
    quiet = evaluate_rules(rules, [check_drift(window(0), window(0))])
    now = summarise_window(decision, [report])
    before = summarise_window(quiet, [check_drift(window(0), window(0))])
    changes = diff_from_previous(before, now, headlines([report]))
    assert changes
    assert all(change.isprintable() for change in changes)


@each_name
def test_an_error_names_the_column_on_one_line(name: str) -> None:
    data = pa.table({"the label": ["a", "b"], "q": ["a", "b"]})
    with pytest.raises(DataError) as raised:
        check_performance(
            data, task="classification", label=f"{name}?", prediction="q", segments=["q"]
        )
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300
