"""References and baselines of a model: versions in a folder, an alias, decisions on record."""

from __future__ import annotations

import json
import math
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flytekitplugins.wbmon import (
    Decision,
    DriftReport,
    PerformanceReport,
    Profile,
    ReferenceFiles,
    check_drift,
    check_performance,
    evaluate_rules,
    profile_data,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.references.promote import Promotion, promote_reference
from flytekitplugins.wbmon.monitor.versions import files as version_files
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.storage.record_file import RecordFile
from support.examples import drift_report, performance_report
from support.s3 import S3Server


def profile(*values: float) -> Profile:
    return profile_data(pd.DataFrame({"x": list(values)}))


ONE = profile(1.0)
BAD_NAMES: list[Any] = [
    "", " ", ".", "..", "a/b", "a\\b", "a\nb", "\0", "a\x7f", "a\x85", "a\u2028b", "\ud800",
    "a::b", "a" * 201, "ü" * 101, None, 3,
]  # fmt: skip


@pytest.fixture
def references(tmp_path: Path) -> ReferenceFiles[Profile]:
    return ReferenceFiles(str(tmp_path / "references"), Profile)


def test_equal_records_are_one_version_whose_file_can_be_loaded(
    references: ReferenceFiles[Profile],
) -> None:
    versions = [references.save("payments", each) for each in (profile(1.0), profile(1.0))]
    assert versions[0] == versions[1]
    assert references.history("payments").versions == (versions[0],)
    assert Profile.load(references.url("payments", versions[0].digest)).n_rows == 1


def test_a_promotion_and_roll_backs_are_on_record(references: ReferenceFiles[Profile]) -> None:
    digests = [references.save("payments", profile(*range(n))).digest for n in (1, 2, 3)]
    for digest in digests:
        references.promote("payments", digest, reason="retrained", by="exec", evidence={"auc": 0.9})
    assert references.load("payments").n_rows == 3
    assert references.roll_back("payments", reason="complaints").before == digests[2]
    assert references.load("payments").n_rows == 2
    # not to the one that was rolled back
    references.roll_back("payments", reason="more complaints")
    assert references.load("payments").n_rows == 1
    with pytest.raises(DataError, match="must have a version before this one"):
        references.roll_back("payments", reason="even more")
    decisions = references.history("payments").decisions
    assert [each.digest for each in decisions] == [*digests, digests[1], digests[0]]
    assert (decisions[0].reason, decisions[0].by) == ("retrained", "exec")
    assert decisions[0].evidence == {"auc": 0.9}
    assert [each.before for each in decisions[:2]] == ["", digests[0]]


@example([0, 1, 0, 1, -1, -1])
@example([2, 0, 1, 0, 1, -1, -1, -1])
@given(steps=st.lists(st.sampled_from([-1, -1, 0, 1, 2]), max_size=14))
def test_what_was_rolled_back_is_gone_back_to_only_after_a_person_promoted_it(
    steps: list[int],
) -> None:
    """Against a list of what was promoted and not withdrawn; -1 is a roll-back."""
    with tempfile.TemporaryDirectory() as folder:
        references = ReferenceFiles(folder, Profile)
        digests = [references.save("a", profile(*range(n))).digest for n in range(1, 5)]
        path: list[int] = []
        for step in steps:
            if step >= 0:
                references.promote("a", digests[step], reason="r")
                if path[-1:] != [step]:
                    path.append(step)
                continue
            left = [each for each in path if each != path[-1]]
            if not left:
                with pytest.raises(DataError, match="must have a version before"):
                    references.roll_back("a", reason="r")
                continue
            before, path = path[-1], left
            decision = references.roll_back("a", reason="r")
            assert (decision.before, decision.digest) == (digests[before], digests[path[-1]])
            again = promote_reference(
                references, "a", profile(*range(before + 1)), reason="r", evidence=[drift()]
            )
            assert not again.promoted


def test_a_version_promoted_again_after_a_roll_back_can_be_rolled_back(
    references: ReferenceFiles[Profile],
) -> None:
    one, two = (references.save("a", profile(*range(n))).digest for n in (1, 2))
    for digest in (one, two):
        references.promote("a", digest, reason="r")
    references.roll_back("a", reason="r")
    references.promote("a", two, reason="it was not its fault")
    assert references.roll_back("a", reason="it was").digest == one


def test_each_alias_has_a_history_of_its_own(references: ReferenceFiles[Profile]) -> None:
    one, two = (references.save("a", profile(*range(n))).digest for n in (1, 2))
    references.promote("a", one, alias="staging", reason="r")
    references.promote("a", "staging", reason="it did well")
    references.promote("a", two, alias="staging", reason="r")
    with pytest.raises(DataError, match="before this one"):
        references.roll_back("a", reason="r")
    assert references.roll_back("a", alias="staging", reason="r").digest == one
    assert references.history("a").aliases == {"staging": one, "production": one}


def test_the_reference_of_a_past_window_is_that_of_then(
    references: ReferenceFiles[Profile],
) -> None:
    for n in (1, 2):
        references.promote("a", references.save("a", profile(*range(n))).digest, reason="r")
    first, second = (each.at for each in references.history("a").decisions)
    assert references.load("a", at=first).n_rows == 1
    assert references.load("a", at=second).n_rows == 2
    without_zone: Any = (second.replace(tzinfo=None), second.date() + timedelta(days=1))
    assert [references.load("a", at=each).n_rows for each in without_zone] == [2, 2]
    with pytest.raises(ConfigError, match="at must be"):
        references.load("a", at=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="exactly one version 'production' at"):
        references.load("a", at=first - timedelta(seconds=1))


def test_records_of_a_model_are_kept_apart(tmp_path: Path) -> None:
    profiles = ReferenceFiles(str(tmp_path), Profile)
    baselines = ReferenceFiles(str(tmp_path), PerformanceReport)
    for files, record in ((profiles, profile(1.0)), (baselines, performance_report())):
        files.promote("a", files.save("a", record).digest, reason="r")
    assert profiles.load("a").n_rows == 1
    assert baselines.load("a").to_bytes() == performance_report().to_bytes()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_none_is_refused_in_every_store(tmp_path: Path, name: Any) -> None:
    for uri in (str(tmp_path), "memory://names"):
        references = ReferenceFiles(uri, Profile)
        for use in (references.save, references.promote):
            with pytest.raises(ConfigError, match="without slashes") as found:
                use(name, "abcdef", reason="r") if use == references.promote else use(name, ONE)
            assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["ü" * 100, "a b", " a", "a:b", "a#b?c", "~", "*", "\u200d", "a."])
def test_any_other_name_is_one_in_every_store(tmp_path: Path, name: str) -> None:
    for uri in (str(tmp_path), f"file://{tmp_path}/b", "memory://names"):
        references = ReferenceFiles(uri, Profile)
        references.promote(name, references.save(name, ONE).digest, reason="r")
        assert references.load(name).n_rows == 1
        assert Profile.load(references.url(name, references.get(name).digest)).n_rows == 1


@pytest.mark.parametrize(
    "alias", ["", " ", "\n", "a\n", "a b", "a/b", "-a", "ü", "a" * 129, None, 5, ["a"]]
)
def test_an_alias_that_is_none_is_refused(references: ReferenceFiles[Profile], alias: Any) -> None:
    digest = references.save("a", ONE).digest
    with pytest.raises(ConfigError, match="alias must be at most 128 letters"):
        references.promote("a", digest, alias=alias, reason="r")
    assert not references.history("a").aliases


def test_an_alias_never_hides_a_version(references: ReferenceFiles[Profile]) -> None:
    one, two = (references.save("a", profile(*range(n))).digest for n in (1, 2))
    for alias in (one, one[:6], one[:12].upper(), "deadbeef", "20261201", "f" * 70):
        with pytest.raises(ConfigError, match="must not read like a digest"):
            references.promote("a", two, alias=alias, reason="swapped by mistake")
    for alias in ("abc", "v-20261201", "2026.12.01", "eu_1", "A"):
        references.promote("a", two, alias=alias, reason="r")
        assert references.get("a", alias).digest == two
    assert references.get("a", one).digest == references.get("a", one[:6]).digest == one


def test_a_history_with_an_alias_of_before_the_check_can_be_read(
    references: ReferenceFiles[Profile],
) -> None:
    one, two = (references.save("a", profile(*range(n))).digest for n in (1, 2))
    references.promote("a", one, alias="old", reason="r")
    references.promote("a", two, alias="old", reason="r")
    place = Path(references.uri) / "a" / "wbmon-profile.json"
    written = place.read_text()

    def with_alias(alias: str) -> None:
        place.write_text(written.replace('"old"', json.dumps(alias)))

    with_alias(one)
    assert references.load("a", one).n_rows == 1, "a whole digest is that version"
    with_alias("eu/\nold")
    assert references.load("a", "eu/\nold").n_rows == 2
    assert references.roll_back("a", alias="eu/\nold", reason="r").digest == one
    with pytest.raises(DataError, match=r"found 0; it has [^\n]*'eu/\\nold' alias"):
        references.load("a")
    with_alias(one[:8])
    with pytest.raises(DataError, match="found 2"):
        references.load("a", one[:8])


def test_what_is_no_text_names_no_version(references: ReferenceFiles[Profile]) -> None:
    digest = references.save("a", ONE).digest
    wrong: Any
    for wrong in (None, 5, ["production"]):
        with pytest.raises(ConfigError, match="which must be text"):
            references.load("a", wrong)
        for name in ("by", "replaces"):
            if name == "by" or wrong is not None:
                with pytest.raises(ConfigError, match=f"{name} must be text"):
                    references.promote("a", digest, reason="r", **{name: wrong})
        with pytest.raises(ConfigError, match="by must be text"):
            references.roll_back("a", reason="r", by=wrong)


def test_evidence_takes_the_numbers_of_numpy(references: ReferenceFiles[Profile]) -> None:
    digest = references.save("a", ONE).digest
    given: Any = {
        "n": np.int64(3), "auc": np.float32(0.5), "f1": np.float64(0.9), "fine": np.bool_(True),
        "why": "held", "whole": 7, "yes": True,
    }  # fmt: skip
    made = references.promote("a", digest, reason="r", evidence=given)
    (read,) = references.history("a").decisions
    assert made == read
    assert read.evidence == {
        "n": 3, "auc": 0.5, "f1": 0.9, "fine": True, "why": "held", "whole": 7, "yes": True
    }  # fmt: skip


@pytest.mark.parametrize(
    "evidence",
    [
        *({"auc": each} for each in (math.nan, math.inf, np.float32("nan"), None, [1], 10**5000)),
        {"at": datetime(2026, 1, 1, tzinfo=timezone.utc)}, {1: 2.0}, [("auc", 1.0)], "auc", 0.9,
    ],
)  # fmt: skip
def test_evidence_that_says_no_number_is_refused(
    references: ReferenceFiles[Profile], evidence: Any
) -> None:
    digest = references.save("a", ONE).digest
    with pytest.raises(ConfigError, match=r"^evidence .*must be"):
        references.promote("a", digest, reason="r", evidence=evidence)
    assert not references.history("a").decisions


def test_what_cannot_be_saved_or_promoted_is_refused(references: ReferenceFiles[Profile]) -> None:
    other: Any = performance_report()
    with pytest.raises(ConfigError, match="must be a Profile"):
        references.save("a", other)
    with pytest.raises(ConfigError, match="such as Profile"):
        ReferenceFiles(references.uri, dict)  # type: ignore[type-var]
    with pytest.raises(DataError, match="found 0"):
        references.load("a")
    with pytest.raises(ConfigError, match="a reason"):
        references.promote("a", "b", reason=" ")
    with pytest.raises(ConfigError, match="a reason"):
        references.roll_back("a", reason="")
    with pytest.raises(DataError, match="found 0"):
        references.promote("a", "abcdef", reason="r")


def test_a_content_that_was_changed_or_deleted_is_an_error(
    references: ReferenceFiles[Profile],
) -> None:
    digest = references.save("a", profile(1.0)).digest
    references.promote("a", digest, reason="r")
    place = references.url("a", digest)
    profile(2.0).save(place)
    with pytest.raises(DataError, match="its content was changed"):
        references.load("a")
    Path(place).unlink()
    with pytest.raises(DataError, match="must be a readable file"):
        references.load("a")
    references.save("a", profile(1.0))
    assert references.load("a").n_rows == 1


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"a":' * 100_000, "\0", "\xff", "null"])
def test_a_damaged_history_is_an_error_that_names_it(
    references: ReferenceFiles[Profile], content: str
) -> None:
    digest = references.save("a", ONE).digest
    history = Path(references.uri) / "a" / "wbmon-profile.json"
    history.write_text(content, encoding="latin-1")
    for use in (
        lambda: references.load("a"),
        lambda: references.save("a", profile(2.0)),
        lambda: references.promote("a", digest, reason="r"),
        lambda: references.roll_back("a", reason="r"),
    ):
        with pytest.raises(DataError, match=r"wbmon-profile.json' must be the history"):
            use()
    assert history.read_text(encoding="latin-1") == content


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_a_history_with_numbers_that_no_program_writes_is_damaged(
    references: ReferenceFiles[Profile], number: str
) -> None:
    digest = references.save("a", ONE).digest
    references.promote("a", digest, reason="r", evidence={"auc": 0.5})
    history = Path(references.uri) / "a" / "wbmon-profile.json"
    history.write_text(history.read_text().replace("0.5", number))
    for use in (references.load, references.history):
        with pytest.raises(DataError, match="must be the history"):
            use("a")


def test_a_time_without_a_zone_in_a_history_is_utc(references: ReferenceFiles[Profile]) -> None:
    digest = references.save("a", ONE).digest
    at = references.promote("a", digest, reason="r").at
    history = Path(references.uri) / "a" / "wbmon-profile.json"
    history.write_text(history.read_text().replace("+00:00", ""))
    assert references.load("a", at=at) == ONE
    assert references.history("a").decisions[0].at == at


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, None])
def test_a_version_that_nobody_can_read_is_not_promoted(
    references: ReferenceFiles[Profile], content: bytes | None
) -> None:
    one, two = (references.save("a", profile(*range(n))).digest for n in (1, 2))
    references.promote("a", one, reason="r")
    references.promote("a", two, reason="r")
    place = Path(references.url("a", one))
    place.write_bytes(content) if content is not None else place.unlink()
    with pytest.raises(DataError, match=f"{one}.* (must be what was saved|No such file)"):
        references.promote("a", one, reason="it was good")
    with pytest.raises(DataError, match=f"{one}.* (must be what was saved|No such file)"):
        references.roll_back("a", reason="complaints")
    assert references.load("a").n_rows == 2
    assert len(references.history("a").decisions) == 2
    references.save("a", profile(*range(1)))
    assert references.roll_back("a", reason="complaints").digest == one


def test_nobody_sees_a_version_before_its_content(
    references: ReferenceFiles[Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(version_files, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        references.save("a", profile(1.0))
    assert references.history("a").versions == ()


def test_of_many_writers_none_is_lost(references: ReferenceFiles[Profile]) -> None:
    def write(n: int) -> None:
        files = ReferenceFiles(references.uri, Profile)
        files.promote("a", files.save("a", profile(*range(n))).digest, reason=f"{n}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 7)))
    history = references.history("a")
    assert len(history.versions) == len(history.decisions) == 6
    assert [each.before for each in history.decisions] == [
        "", *(each.digest for each in history.decisions[:-1]),
    ]  # fmt: skip
    assert history.aliases["production"] == history.decisions[-1].digest


def test_a_store_where_others_never_stop_is_an_error(
    references: ReferenceFiles[Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_files, "replace_file", lambda *args: False)
    monkeypatch.setattr(version_files, "_PAUSE_S", 0)
    with pytest.raises(StorageError, match="others keep writing"):
        references.save("a", profile(1.0))


def test_what_is_no_longer_in_production_is_not_replaced(
    references: ReferenceFiles[Profile],
) -> None:
    one, two, three = (references.save("a", profile(*range(n))).digest for n in (1, 2, 3))
    references.promote("a", one, reason="first", replaces="")
    references.promote("a", two, reason="hotfix", replaces=one)
    with pytest.raises(DataError, match=rf"must point at {one[:12]}.*{two[:12]}.*hotfix"):
        references.promote("a", three, reason="better than the first", replaces=one)
    assert references.get("a").digest == two


def test_references_live_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    root = s3.bucket("references").root
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    files = ReferenceFiles(f"{root}/models/", Profile)
    for n in (1, 2):
        files.promote("a", files.save("a", profile(*range(n))).digest, reason="r")
    files.roll_back("a", reason="r")
    assert ReferenceFiles(f"{root}/models", Profile).load("a").n_rows == 1
    url = files.url("a", files.get("a").digest)
    assert url.startswith("s3://references/models/a/")
    assert Profile.load(url).n_rows == 1


WINDOW = pd.DataFrame({"x": [0.0, 1.0] * 200, "y": [0, 1] * 200, "p": [0.1, 0.9] * 200})


def performance(*, baseline: PerformanceReport | None = None, n: int = 400) -> PerformanceReport:
    columns: dict[str, Any] = {"label": "y", "prediction": "p", "task": "classification"}
    flipped = WINDOW.assign(p=0.5) if baseline is not None else WINDOW
    return check_performance(flipped.head(n), baseline=baseline, positive=1, **columns)


def drift(*, shift: float = 0.0, n: int = 400) -> DriftReport:
    return check_drift(WINDOW[["x"]], WINDOW[["x"]].head(n) + shift)


NIGHT = datetime(2026, 3, 1, tzinfo=timezone.utc)


def decision(*, fires: bool = False, n: int = 400, at: datetime = NIGHT, **rule: Any) -> Decision:
    rules = [AlertRule(metric="drift.drifted", above=0, **rule)]
    return evaluate_rules(rules, [drift(shift=9.0 if fires else 0.0, n=n)], at=at)


def no_value() -> Decision:
    """One rule is judged, another has nothing to compare with yet."""
    rules = [
        AlertRule(metric="drift.drifted", above=0),
        AlertRule(metric="drift.share_drifted", beyond_sd=3),
    ]
    return evaluate_rules(rules, [drift()], at=NIGHT)


def still_silent() -> Decision:
    """It fires in silence, and the window after the breach is fine."""
    rule = {"silent_until": NIGHT + timedelta(days=9), "resolve_after": 2}
    before = decision(fires=True, **rule)
    rules = [each.rule for each in before.alerts]
    return evaluate_rules(rules, [drift()], state=before.state, at=NIGHT + timedelta(days=1))


AGAINST: dict[str, tuple[list[Report], str]] = {
    "drifted": ([drift(shift=9.0)], r"drift\.drifted holds"),
    "nothing compared": ([drift(n=0)], r"drift\.drifted is unknown"),
    "worse": ([performance(baseline=performance())], r"performance\.worse holds"),
    "no labels": ([performance(n=0)], "performance: "),
    "an alert": ([decision(fires=True)], r"alerts\.fired holds"),
    "no verdict": ([decision(n=0)], r"alerts\.unmeasured holds"),
    "no rules": ([evaluate_rules([], [drift(shift=9.0)])], "alerts: nothing was judged"),
    "a breach that is pending": (
        [decision(fires=True, for_windows=3)],
        r"alerts: drift\.drifted > 0 is pending: ",
    ),
    "a silent alert": (
        [decision(fires=True, silent_until=NIGHT + timedelta(days=9))],
        r"alerts: drift\.drifted > 0 is firing: ",
    ),
    "an alert that is silent still": ([still_silent()], r"alerts: drift\.drifted > 0 is firing: "),
    "a rule without a value": (
        [no_value()],
        r"alerts: drift\.share_drifted beyond 3 sd .* is no data",
    ),
    "the last of several": ([drift(), drift(shift=9.0)], r"drift\.drifted holds"),
}


@pytest.mark.parametrize("name", AGAINST)
def test_nothing_is_promoted_against_the_evidence(
    references: ReferenceFiles[Profile], name: str
) -> None:
    evidence, why = AGAINST[name]
    found = promote_reference(references, "a", profile(1.0), reason="retrained", evidence=evidence)
    assert not found.promoted
    assert re.match(why, found.reason)
    history = references.history("a")
    assert [each.digest for each in history.versions] == [found.version]
    assert not history.aliases


def test_a_promotion_rests_on_its_evidence(references: ReferenceFiles[Profile]) -> None:
    evidence = [decision(), drift(), performance()]
    found = promote_reference(
        references, "a", profile(1.0), reason="retrained", by="exec", evidence=evidence
    )
    assert (found.promoted, found.reason, found.before) == (True, "retrained", "")
    (made,) = references.history("a").decisions
    assert made.by == "exec"
    assert made.evidence["drift.drifted"] == 0
    assert made.evidence["alerts.fired"] == 0
    assert made.evidence["performance.accuracy"] == 1.0
    assert made.evidence.pop("alerts.at") == NIGHT.isoformat()
    assert all(math.isfinite(each) for each in made.evidence.values())


EMPTY: list[tuple[type[RecordFile], RecordFile, str]] = [
    (Profile, profile_data(pd.DataFrame({"x": []})), "no row with a value"),
    (Profile, profile_data(pd.DataFrame({"x": [math.nan, math.inf]})), "no row with a value"),
    (Profile, profile_data(pd.DataFrame(index=range(5))), "no row with a value"),
    (PerformanceReport, performance(n=0), "performance: "),
    (PerformanceReport, performance(baseline=performance()), "worse holds"),
    (DriftReport, drift_report(), "holds"),
]


@pytest.mark.parametrize(("kind", "record", "why"), EMPTY)
def test_a_record_that_speaks_against_itself_is_no_reference(
    tmp_path: Path, kind: type[RecordFile], record: RecordFile, why: str
) -> None:
    found = promote_reference(ReferenceFiles(str(tmp_path), kind), "a", record, reason="r")
    assert not found.promoted
    assert why in found.reason


def test_a_task_that_runs_again_undoes_nothing(references: ReferenceFiles[Profile]) -> None:
    def night(*values: float, of: DriftReport) -> Any:
        return promote_reference(references, "a", profile(*values), reason="r", evidence=[of])

    quiet = drift()
    assert night(1.0, of=quiet).promoted
    assert "is what production points at" in night(1.0, of=quiet).reason
    assert night(1.0, 2.0, of=quiet).promoted
    again = night(1.0, of=quiet)
    assert (again.promoted, "was moved since" in again.reason) == (False, True)
    assert references.load("a").n_rows == 2
    assert night(1.0, of=replace(quiet, n_current=500)).promoted, "other evidence"


def test_another_night_is_new_evidence_and_the_same_one_again_is_not(
    references: ReferenceFiles[Profile],
) -> None:
    def night(*values: float, at: datetime) -> bool:
        evidence = [decision(at=at)]
        found = promote_reference(references, "a", profile(*values), reason="r", evidence=evidence)
        return found.promoted

    assert night(1.0, at=NIGHT)
    assert night(1.0, 2.0, at=NIGHT)
    assert not night(1.0, at=NIGHT), "launched again"
    assert night(1.0, at=NIGHT + timedelta(days=1))


def test_what_a_person_rolled_back_only_a_person_promotes_again(
    references: ReferenceFiles[Profile],
) -> None:
    def night(*values: float, day: int) -> Promotion:
        evidence = [decision(at=NIGHT + timedelta(days=day))]
        return promote_reference(references, "a", profile(*values), reason="r", evidence=evidence)

    assert night(1.0, day=0).promoted
    bad = night(1.0, 2.0, day=1).version
    references.roll_back("a", reason="complaints")
    assert "rolled back" in night(1.0, 2.0, day=2).reason
    assert night(1.0, 2.0, 3.0, day=3).promoted
    assert "rolled back" in night(1.0, 2.0, day=4).reason, "whatever was promoted since"
    references.promote("a", bad, reason="it was not its fault", by="ana")
    assert night(1.0, day=5).promoted
    assert night(1.0, 2.0, day=6).promoted, "the last word was a person's"


def test_without_evidence_a_person_promotes_again_what_was_rolled_back(
    references: ReferenceFiles[Profile],
) -> None:
    for values in ((1.0,), (1.0, 2.0)):
        assert promote_reference(references, "a", profile(*values), reason="r").promoted
    references.roll_back("a", reason="complaints")
    again = promote_reference(references, "a", profile(1.0, 2.0), reason="r")
    assert not again.promoted
    references.promote("a", again.version, reason="it was not its fault", by="ana")
    assert references.load("a").n_rows == 2


def test_a_decision_in_the_moment_of_a_promotion_stands(
    references: ReferenceFiles[Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = references.save("a", profile(*range(3))).digest
    promote = ReferenceFiles.promote

    def later(self: Any, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        promote(references, "a", theirs, reason="hotfix")
        return promote(self, *args, **kwargs)

    monkeypatch.setattr(ReferenceFiles, "promote", later)
    found = promote_reference(references, "a", profile(1.0), reason="retrained")
    assert not found.promoted
    assert "hotfix" in found.reason
    assert found.before == references.get("a").digest == theirs


def test_decisions_are_in_utc(references: ReferenceFiles[Profile]) -> None:
    references.promote("a", references.save("a", profile(1.0)).digest, reason="r")
    (made,) = references.history("a").decisions
    assert abs(made.at - datetime.now(timezone.utc)) < timedelta(minutes=5)
