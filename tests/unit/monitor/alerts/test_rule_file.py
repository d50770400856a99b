from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.alerts.rule_file import load_rules

GOOD = """
rules:
  - metric: performance.accuracy
    drop: 0.05
    severity: error
    for_windows: 2
  - {metric: drift.drifted, above: 0, owner: payments}
"""


def test_a_file_holds_what_python_would(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD)
    assert load_rules(path) == (
        AlertRule(metric="performance.accuracy", drop=0.05, severity="error", for_windows=2),
        AlertRule(metric="drift.drifted", above=0, owner="payments"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [", "readable YAML"),
        ("- metric: a", "under the key 'rules'"),
        ("rules: []", "under the key 'rules'"),
        ("rules: [3]", "rule 1 must be a mapping"),
        ("rules: [{metric: drift.drifted, abvoe: 0}]", "did you mean 'above'"),
        ("rules: [{metric: drift.drifted}]", "rule 1 .'drift.drifted'."),
    ],
)
def test_a_file_that_cannot_work_says_where(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_rules(path)


@pytest.mark.parametrize("store", ["file://{}", "memory:/{}"])
def test_a_file_may_be_at_any_url(tmp_path: Path, store: str) -> None:
    url = store.format(tmp_path / "rules.yaml")
    with fsspec.open(url, "w") as file:
        file.write(GOOD)
    assert [rule.metric for rule in load_rules(url)] == ["performance.accuracy", "drift.drifted"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"rules: \xff")
    with pytest.raises(ConfigError, match="readable YAML"):
        load_rules(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_rules(tmp_path / "none.yaml")
