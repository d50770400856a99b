"""References and baselines of a model: versions in a folder, an alias, decisions on record."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flytekitplugins.wbmon import (
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
from flytekitplugins.wbmon.monitor.references.promote import promote_reference
from flytekitplugins.wbmon.monitor.versions import files as version_files
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.storage.record_file import RecordFile
from support.examples import drift_report, performance_report
from support.s3 import S3Server


def profile(*values: float) -> Profile:
    return profile_data(pd.DataFrame({"x": list(values)}))


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


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\\b", None, 3])
def test_a_name_that_is_none_is_refused(references: ReferenceFiles[Profile], name: Any) -> None:
    with pytest.raises(ConfigError, match="without slashes"):
        references.save(name, profile(1.0))


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


def test_a_damaged_history_is_an_error_that_names_it(references: ReferenceFiles[Profile]) -> None:
    references.save("a", profile(1.0))
    history = Path(references.uri) / "a" / "wbmon-profile.json"
    history.write_text("{")
    with pytest.raises(DataError, match=r"wbmon-profile.json' must be the history"):
        references.load("a")


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


def decision(*, fires: bool, n: int = 400) -> Report:
    rule = AlertRule(metric="drift.drifted", above=0)
    return evaluate_rules([rule], [drift(shift=9.0 if fires else 0.0, n=n)])


AGAINST: dict[str, tuple[list[Report], str]] = {
    "drifted": ([drift(shift=9.0)], r"drift\.drifted holds"),
    "nothing compared": ([drift(n=0)], r"drift\.drifted is unknown"),
    "worse": ([performance(baseline=performance())], r"performance\.worse holds"),
    "no labels": ([performance(n=0)], "performance: "),
    "an alert": ([decision(fires=True)], r"alerts\.fired holds"),
    "no verdict": ([decision(fires=False, n=0)], r"alerts\.unmeasured holds"),
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
    evidence = [decision(fires=False), drift(), performance()]
    found = promote_reference(
        references, "a", profile(1.0), reason="retrained", by="exec", evidence=evidence
    )
    assert (found.promoted, found.reason, found.before) == (True, "retrained", "")
    (made,) = references.history("a").decisions
    assert made.by == "exec"
    assert made.evidence["drift.drifted"] == 0
    assert made.evidence["alerts.fired"] == 0
    assert made.evidence["performance.accuracy"] == 1.0
    assert all(math.isfinite(each) for each in made.evidence.values())


EMPTY: list[tuple[type[RecordFile], RecordFile, str]] = [
    (Profile, profile_data(pd.DataFrame({"x": []})), "no rows"),
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
    references.roll_back("a", reason="complaints")
    again = night(1.0, 2.0, of=quiet)
    assert (again.promoted, "moved on purpose" in again.reason) == (False, True)
    assert references.load("a").n_rows == 1
    assert night(1.0, 2.0, of=replace(quiet, n_current=500)).promoted, "other evidence"


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
