"""Every record that travels between tasks is saved and loaded the same way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import Decision, DriftReport, PerformanceReport, Profile, profile_data
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.flyte.type_transformers import RECORDS
from flytekitplugins.wbmon.monitor.drift.series_report import WindowDrift
from flytekitplugins.wbmon.monitor.performance.estimate_regression import fit_loss_model
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.serialize import record_to_json
from flytekitplugins.wbmon.storage import record_file
from flytekitplugins.wbmon.storage.record_file import RecordFile
from support.environment import clean_environment
from support.examples import REPORTS, performance_report
from support.real_reports import real_reports
from support.s3 import S3Server


def window() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "c": rng.choice(["a", "b", "c"], 300)})
    return frame.assign(y=frame["x"] * 2 + rng.normal(size=300))


def records() -> list[RecordFile]:
    """Of each class, with made-up and with real contents."""
    frame = window()
    model = fit_loss_model(frame, label="y", prediction="x", features=["c"])
    reports = [report for report in (*REPORTS, *real_reports()) if type(report) in RECORDS]
    return [*reports, profile_data(frame), model]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RecordFile]]:
    """Records of all classes by the path of their file."""
    folder = tmp_path_factory.mktemp("records")
    kept = {}
    for i, record in enumerate(records()):
        path = str(folder / "new" / f"{i}.{record.file_format()}")
        record.save(path)
        kept[path] = record
    return kept


def test_every_record_comes_back_as_it_was(saved: dict[str, RecordFile]) -> None:
    assert {type(record) for record in saved.values()} == set(RECORDS)
    for path, record in saved.items():
        again = type(record).load(path)
        assert again.to_bytes() == record.to_bytes()
        if isinstance(record, Report):
            assert record_to_json(again) == record_to_json(record)


def parts_of(value: Any) -> Iterator[Any]:
    """A record and the records that it is made of."""
    if isinstance(value, ByContent):
        yield value
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    for each in value.values() if isinstance(value, Mapping) else value:
        if is_dataclass(each) or isinstance(each, Mapping | tuple | list):
            yield from parts_of(each)


def differing(part: Any) -> Iterator[Any]:
    """Copies of a record, each with another value in one field."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray) and value.size:
            other = value.copy()
            other.flat[-1] += 1
        else:
            other = 0.5 if isinstance(value, float) and np.isnan(value) else "another"
        changed = copy(part)
        object.__setattr__(changed, field.name, other)
        yield changed


def test_a_record_and_its_parts_are_equal_to_what_was_saved_and_to_nothing_else(
    saved: dict[str, RecordFile],
) -> None:
    met = set()
    for path, record in saved.items():
        loaded = type(record).load(path)
        for part, again in zip(parts_of(record), parts_of(loaded), strict=True):
            assert part == again
            assert part != "another"
            if type(part) not in met:
                assert hash(part) == hash(again)
                assert all(part != other for other in differing(part))
            met.add(type(part))
    assert {DriftReport, Profile, FeatureProfile, WindowDrift} <= met


def test_no_part_of_a_record_is_compared_otherwise(saved: dict[str, RecordFile]) -> None:
    def types_in(hint: Any) -> Iterator[type]:
        if is_dataclass(hint):
            yield hint  # type: ignore[misc]  # a class
            hints: Iterable[Any] = get_type_hints(hint).values()
        else:
            hints = get_args(hint)
        for each in hints:
            yield from types_in(each)

    # those of others are known only to type checkers
    reports = [kind for kind in RECORDS if issubclass(kind, Report)]
    kinds = {part for kind in reports for part in types_in(kind)}
    kinds |= {type(part) for record in saved.values() for part in parts_of(record)}
    assert len(kinds) > len(RECORDS)
    assert all(kind.__eq__ is ByContent.__eq__ for kind in kinds)


def test_undefined_numbers_are_the_same_whatever_made_them() -> None:
    one, other = (
        replace(profile_data(window()).features["x"], mean=undefined)
        for undefined in (float("nan"), np.float64("nan"))
    )
    assert one == other
    assert len({one, other}) == 1
    assert one.weights is None
    assert WeightSums(rows=1) == WeightSums(rows=1.0)
    assert WeightSums(rows=1) != WeightSums(rows=float("nan"))


SAVES_AGAIN = """
import sys
from hashlib import sha256
from flytekitplugins.wbmon.flyte.type_transformers import RECORDS

kinds = {record.file_format(): record for record in RECORDS}
for path in sys.argv[1:]:
    record = kinds[path.rpartition(".")[2]].load(path)
    record.save("again")
    print(sha256(open("again", "rb").read()).hexdigest())
"""


def test_what_has_another_file_is_not_equal() -> None:
    made = next(record for record in REPORTS if isinstance(record, Decision))
    east = made.at.astimezone(timezone(timedelta(hours=9)))
    alerts = [replace(made.alerts[0], value=value) for value in (0.0, -0.0, 0)]
    decisions = [
        *(replace(made, alerts=(alert,)) for alert in alerts),
        replace(made, at=east),
        made,
    ]
    for one in decisions:
        for other in decisions:
            assert (one == other) is (one.to_bytes() == other.to_bytes())


def test_another_process_saves_the_same_bytes(saved: dict[str, RecordFile], tmp_path: Path) -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", SAVES_AGAIN, *saved],
            env={**clean_environment(home=tmp_path), "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    here = [sha256(Path(path).read_bytes()).hexdigest() for path in saved]
    assert found == [here, here]


def test_every_record_is_kept_on_s3(
    saved: dict[str, RecordFile], s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = s3.bucket("records").root
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    for record in {type(record): record for record in saved.values()}.values():
        url = f"{root}/kept/reference.{record.file_format()}"
        record.save(url)
        assert type(record).load(url).to_bytes() == record.to_bytes()
    with pytest.raises(DataError, match=f"{root}/none"):
        PerformanceReport.load(f"{root}/none")


def test_no_record_is_taken_for_another(saved: dict[str, RecordFile]) -> None:
    for kind in RECORDS:
        for path, record in saved.items():
            if type(record) is not kind:
                with pytest.raises(DataError, match=rf"{kind.__name__}\.save"):
                    kind.load(path)


def changed(**fields: object) -> Callable[[dict[str, object]], bytes]:
    return lambda plain: json.dumps({**plain, **fields}).encode()


DAMAGED: dict[str, tuple[Callable[[dict[str, object]], bytes], str]] = {
    "newer": (changed(file_version=9), "version 9, this package reads up to 1; upgrade"),
    "no version": (changed(file_version="a"), "version >= 1, got 'a'"),
    "no format": (changed(file_format=3), "format 3"),
    "wrong field": (changed(n_rows="many"), "damaged"),
    "huge number": (changed(metrics={"a": {"value": 10**400}}), "damaged"),
    "no field": (lambda plain: b"{}", "damaged"),
    "a list": (lambda plain: b"[]", "holds a list"),
    "no JSON": (lambda plain: b"a,b\n1,2", "not JSON"),
    "no text": (lambda plain: b"\xff\x00", "not JSON"),
    "deep": (lambda plain: b"[" * 10**6, "not JSON"),
    "half": (lambda plain: json.dumps(plain).encode()[:-9], "not JSON"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    change, message = DAMAGED[name]
    path = tmp_path / "report"
    path.write_bytes(change(json.loads(performance_report().to_bytes())))
    with pytest.raises(DataError, match=message) as caught:
        PerformanceReport.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_files_of_earlier_releases_are_read(tmp_path: Path) -> None:
    for report in REPORTS:
        (tmp_path / "old").write_text(record_to_json(report))
        assert record_to_json(type(report).load(tmp_path / "old")) == record_to_json(report)


@pytest.mark.parametrize("kind", RECORDS)
def test_what_is_no_file_of_a_record_is_an_error(kind: type[RecordFile], tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", 3):
        with pytest.raises(DataError, match="must"):
            kind.load(path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must not hold keys"):
        kind.load("s3://key:secret@bucket/a")
    with pytest.raises(ConfigError, match="no scheme 'nosuch'"):
        kind.load("nosuch://a/b")


def test_a_report_that_is_too_large_is_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = performance_report()
    report.save(tmp_path / "fits")
    monkeypatch.setattr(record_file, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr("flytekitplugins.wbmon.reports.report_file.MAX_FILE_BYTES", 100)
    with pytest.raises(DataError, match="at most 100 bytes"):
        PerformanceReport.load(tmp_path / "fits")
    with pytest.raises(DataError, match="must fit in a file of 100 bytes"):
        report.save(tmp_path / "large")
    assert not (tmp_path / "large").exists()


def test_no_field_of_a_report_hides_what_the_file_is() -> None:
    for kind in RECORDS:
        names = set(getattr(kind, "__dataclass_fields__", {}))
        assert names.isdisjoint({"file_format", "file_version"})


def test_records_are_of_classes_that_users_know() -> None:
    assert {Decision, DriftReport, PerformanceReport, Profile} <= set(RECORDS)
