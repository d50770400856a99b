"""Every value of a rule file is checked when it is read, and an error names the line."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.alerts.rule_file import load_rules

FIELDS = [
    "metric", "below", "above", "drop", "worse_than_baseline", "beyond_sd", "trend", "for_windows",
    "resolve_after", "on_no_data", "silent_until", "severity", "name", "owner", "runbook", "<<",
]  # fmt: skip
DAY = datetime(2026, 1, 15, tzinfo=timezone.utc)
HEAD = "# of the payments team\nrules:\n  - metric: performance.accuracy\n    below: 0.8\n"


def read(tmp_path: Path, text: str | bytes) -> tuple[AlertRule, ...]:
    path = tmp_path / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_rules(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("below: '0.7'", "write 0.7 without quotes"),
        ("below: 90%", "write 0.9"),
        ("below: .nan", "must be a finite number; got nan"),
        ("below: -.inf", "must be a finite number; got -inf"),
        ("below: 010", "must be a decimal number, got 010"),
        ("below: 1:30", "must be a decimal number, got 1:30"),
        ("below: 1_000", "must be a decimal number, got 1_000"),
        ("below: [0.7]", "must be text or a number, got a list"),
        ("below: yes", "must be a finite number; got True"),
        ("below: !!python/name:os.system ''", "cannot be read"),
        ("below: !!binary aGk=", "must be a finite number"),
        ("drop: 5", "0.05 is 5 %"),
        ("silent_until: 2026-13-45", "silent_until cannot be read"),
        ("silent_until: soon", "must be a moment"),
        ("name: 5", "must be text, got 5; put it in quotes"),
        ("name: yes", "must be text, got True"),
        ("name:", "must be text, got None"),
        ("runbook: 5", "must be text, got 5"),
        ("for_windows: '2'", "must be a whole number"),
        ("sevrity: error", "did you mean 'severity'"),
        ("5: 6", "has no keyword '5'; it takes metric"),
        ("metric: drift.drifted", "'metric' is there twice, first in line 5; remove one"),
        ("<<: {<<: {above: 0}}", "have no << themselves"),
        ("<<: 3", "must name at most 8 mappings"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    text = f"{HEAD}  - metric: performance.recall\n    owner: payments\n    {line}\n"
    with pytest.raises(ConfigError, match=rf"rules\.yaml line 7: .*{message}"):
        read(tmp_path, text)


def test_a_rule_that_does_not_fit_together_is_refused_with_its_line(tmp_path: Path) -> None:
    text = f"{HEAD}  - metric: performance.recall\n    below: 0.5\n    above: 0.7\n"
    with pytest.raises(ConfigError, match=r"line 5: rule 2 \('performance.recall'\): .* got 2"):
        read(tmp_path, text)


def test_two_rules_of_one_title_are_refused_with_both_lines(tmp_path: Path) -> None:
    text = f"{HEAD}  - metric: performance.accuracy\n    below: 0.8\n"
    with pytest.raises(ConfigError, match=r"line 5: the title .* is that of the rule in line 3"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("above: 1e-3", "above", 0.001),
        ("above: 5", "above", 5.0),
        ("above: -.5", "above", -0.5),
        ("above: !!float '2.5'", "above", 2.5),
        ("{above: 1, silent_until: 2026-01-15}", "silent_until", DAY),
        (
            "{above: 1, silent_until: 2026-01-15T06:00:00+02:00}",
            "silent_until",
            DAY.replace(hour=4),
        ),
        ("{above: 1, silent_until: '2026-01-15T06:00Z'}", "silent_until", DAY.replace(hour=6)),
        ("{above: 1, name: '5'}", "name", "5"),
        ("{above: 1, drop: null, silent_until: ~}", "drop", None),
        ("worse_than_baseline: true", "worse_than_baseline", True),
    ],
)  # fmt: skip
def test_the_natural_way_to_write_a_value_is_understood(
    tmp_path: Path, line: str, field: str, value: object
) -> None:
    inner = line.strip("{}")
    (rule,) = read(tmp_path, f"rules: [{{metric: performance.accuracy, {inner}}}]")
    assert getattr(rule, field) == value


def test_what_rules_share_may_be_an_anchor_and_a_rules_own_value_wins(tmp_path: Path) -> None:
    text = (
        "shared: &shared {owner: payments, severity: error}\n"
        "rules:\n"
        "  - {metric: drift.drifted, above: 0, <<: *shared}\n"
        "  - {metric: slo.violated, above: 0, severity: info, <<: [*shared]}\n"
    )
    drift, slo = read(tmp_path, text)
    assert (drift.owner, drift.severity) == ("payments", "error")
    assert (slo.owner, slo.severity) == ("payments", "info")


def test_json_is_read_with_its_numbers_tabs_and_lines(tmp_path: Path) -> None:
    good = '{\t"rules": [\n\t{"metric": "performance.recall.\\ud83d\\ude00", "above": 1e-3}]}'
    (rule,) = read(tmp_path, good)
    assert (rule.metric, rule.above) == ("performance.recall.\U0001f600", 0.001)
    for value, message in (('"0.8"', "without quotes"), ("NaN", "finite number"), ("[]", "a list")):
        with pytest.raises(ConfigError, match=rf"line 2: rule 1 has .* above must be .*{message}"):
            read(tmp_path, good.replace("1e-3", value))
    with pytest.raises(ConfigError, match="line 2: the key 'metric' is there twice"):
        read(tmp_path, good.replace('"above"', '"metric"'))


def test_a_file_of_windows_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "under the key 'rules', found none"),
        (b"rule:\n - {metric: drift.drifted, above: 0}", "did you mean 'rule' to be it"),
        (b"rules: {metric: drift.drifted}", "under the key 'rules'"),
        (b"rules: []\n---\nrules: []", "single document"),
        (b"rules: \xff", "utf-8"),
        ("rules: []".encode("utf-16"), "utf-8"),
        (b"[" * 100_000, "recursion"),
        (b"#" * 300_000, "at most 256 KiB"),
        (b"rules: &a [*a]", "rule 1 must be a mapping with a metric"),
        (b"rules: [&a {<<: *a}]", "<< must name"),
    ],
)
def test_a_file_that_holds_no_rules_says_so(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_aliases_of_aliases_cost_no_more_than_the_file(tmp_path: Path) -> None:
    laughs = ["a0: &a0 [lol, lol]"]
    laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    with pytest.raises(ConfigError, match="name must be text or a number"):
        read(tmp_path, "\n".join([*laughs, "rules:", " - {metric: drift.drifted, name: *a39}"]))
    merges = ["m0: &m0 {above: 0}"]
    merges += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, 40)]
    with pytest.raises(ConfigError, match="have no << themselves"):
        read(tmp_path, "\n".join([*merges, "rules:", " - {metric: drift.drifted, <<: *m39}"]))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=4),
    st.sampled_from(["performance.accuracy", "drift.drifted", "warn", "keep", "5%", "1e-3"]),
)
values = st.recursive(
    scalars, lambda of: st.lists(of, max_size=3) | st.dictionaries(scalars, of, max_size=3)
)
rules = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), values, max_size=5)
quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


def only_rules_or_a_clear_error(tmp_path: Path, data: bytes) -> None:
    with suppress(ConfigError):
        assert all(isinstance(rule, AlertRule) for rule in read(tmp_path, data))


@quick
@given(st.lists(rules, max_size=3))
def test_random_values_of_yaml_end_in_rules_or_a_clear_error(
    tmp_path: Path, content: list[object]
) -> None:
    only_rules_or_a_clear_error(tmp_path, yaml.safe_dump({"rules": content}).encode())


@quick
@given(st.lists(rules, max_size=3))
def test_random_values_of_json_end_in_rules_or_a_clear_error(
    tmp_path: Path, content: list[object]
) -> None:
    text = json.dumps({"rules": [{str(k): repr(v) for k, v in rule.items()} for rule in content]})
    only_rules_or_a_clear_error(tmp_path, text.encode())


@quick
@given(
    st.text(alphabet="rules:metric- \n\t\"'{}[],&*<>!%@|#0.9eé\U0001f600\x00\ud800", max_size=60)
)
def test_random_text_ends_in_rules_or_a_clear_error(tmp_path: Path, text: str) -> None:
    only_rules_or_a_clear_error(tmp_path, b"rules:\n - " + text.encode("utf-8", "surrogatepass"))
