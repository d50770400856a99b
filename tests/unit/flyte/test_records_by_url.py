"""Records as inputs of launch plans and of cached tasks: what Flyte stores of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional
from unittest import mock

import fsspec
import pandas as pd
import pytest
from flytekit import FlyteContext, FlyteContextManager, HashMethod, LaunchPlan, task, workflow
from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.core import local_cache as flytekit_cache
from flytekit.core.data_persistence import FileAccessProvider
from flytekit.core.local_cache import LocalTaskCache
from flytekit.core.type_engine import TypeEngine, TypeTransformerFailedError
from flytekit.exceptions.system import FlyteDownloadDataException
from flytekit.models.literals import Literal
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import DriftCheck, PerformanceReport, Profile, profile_data
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import RECORDS
from support.examples import drift_report, performance_report
from support.in_process import pod_context
from support.package import load_package, package

NOWHERE = "s3://no-such-bucket/reference"


def window(*values: float) -> Profile:
    return profile_data(pd.DataFrame({"x": list(values)}))


def literal_of(value: object, kind: Any) -> Literal:
    context = FlyteContextManager.current_context()
    return TypeEngine.to_literal(context, value, kind, TypeEngine.to_literal_type(kind))


@contextmanager
def compiling(folder: Path, raw: str) -> Iterator[FlyteContext]:
    """flytekit's state while tasks are compiled, with the place of uploads."""
    access = FileAccessProvider(local_sandbox_dir=str(folder), raw_output_prefix=raw)
    compiled = SerializationSettings(image_config=ImageConfig.auto(), version="v1")
    context = FlyteContextManager.current_context().with_serialization_settings(compiled)
    with FlyteContextManager.with_context(context.with_file_access(access)) as found:
        yield found


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("S3://bucket/reference", "'S3'; write s3://"),
        ("s4://bucket/reference", "'s4'; write s3://"),
        ("simplecache::s3://bucket/reference", "one URL, got simplecache::"),
        ("/mnt/s3://bucket/reference", "at a URL that pods reach"),
        ("local:///mnt/reference", "at a URL that pods reach"),
        ("memory://reference", "at a URL that pods reach"),
    ],
)
def test_a_file_where_no_pod_can_read_it_is_refused_when_packaged(
    url: str, words: str, tmp_path: Path
) -> None:
    with compiling(tmp_path, str(tmp_path)), pytest.raises(ConfigError, match=words):
        literal_of(FlyteFile(url), Profile)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_file_at_a_url_is_passed_on_unread_and_without_a_hash(kind: type) -> None:
    literal = literal_of(FlyteFile(NOWHERE), kind)
    assert literal.scalar.blob.uri == NOWHERE
    assert literal.scalar.blob.metadata.type == TypeEngine.to_literal_type(kind).blob
    assert literal.hash is None


def test_a_file_at_a_url_is_passed_on_where_the_input_may_be_none() -> None:
    literal = literal_of(FlyteFile(NOWHERE), Optional[PerformanceReport])  # noqa: UP045
    assert literal.scalar.union.value.scalar.blob.uri == NOWHERE


def test_a_downloaded_file_is_still_the_one_at_its_url(tmp_path: Path) -> None:
    url = "memory://records/reference.wbmon-profile"
    window(1.0, 2.0).save(url)
    file = FlyteFile.from_source(url)
    assert Path(file).exists()
    assert literal_of(file, Profile).scalar.blob.uri == url


def test_keys_in_a_url_are_not_passed_on() -> None:
    with pytest.raises(ConfigError, match="must not hold keys"):
        literal_of(FlyteFile("s3://key:secret@bucket/reference"), Profile)


def test_equal_records_have_one_hash_and_others_another(tmp_path: Path) -> None:
    path = str(tmp_path / "reference")
    window(1.0, 2.0).save(path)
    literals = [literal_of(each, Profile) for each in (window(1.0, 2.0), FlyteFile(path))]
    assert literals[0].hash == literals[1].hash
    assert literals[0].scalar.blob.uri != literals[1].scalar.blob.uri
    assert literal_of(window(1.0, 3.0), Profile).hash != literals[0].hash
    stored = Literal.from_flyte_idl(literals[0].to_flyte_idl())
    assert stored.hash == literals[0].hash


def test_a_hash_of_the_users_own_wins() -> None:
    kind = Annotated[Profile, HashMethod(lambda profile: f"{profile.n_rows} rows")]
    assert literal_of(window(1.0, 2.0), kind).hash == "2 rows"


def test_a_cached_check_of_equal_windows_runs_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flytekit_cache, "CACHE_LOCATION", str(tmp_path / "cache"))
    monkeypatch.setattr(LocalTaskCache, "_initialized", False)
    check = DriftCheck("cached", cache=True)

    @workflow
    def night(reference: Profile, current: Profile) -> bool:
        return check(reference=reference, current=current).drifted

    with mock.patch.object(
        DriftCheck, "compute", autospec=True, side_effect=DriftCheck.compute
    ) as ran:
        for last in (2.0, 2.0, 3.0):
            reference = window(1.0, 2.0)
            current = profile_data(pd.DataFrame({"x": [1.0, last]}), like=reference)
            night(reference=reference, current=current)
    LocalTaskCache._initialized = False
    assert ran.call_count == 2


def test_a_url_of_nothing_is_an_error_where_it_is_read() -> None:
    url = "memory://records/missing"
    context = FlyteContextManager.current_context()
    with pytest.raises(TypeTransformerFailedError, match=rf"a profile must be .*{url}"):
        TypeEngine.to_python_value(context, literal_of(FlyteFile(url), Profile), Profile)


def test_a_url_of_another_record_is_an_error_where_it_is_read() -> None:
    url = "memory://records/drift"
    drift_report().save(url)
    context = FlyteContextManager.current_context()
    literal = literal_of(FlyteFile(url), PerformanceReport)
    with pytest.raises(TypeTransformerFailedError, match=rf"{url}.*PerformanceReport\.save"):
        TypeEngine.to_python_value(context, literal, PerformanceReport)


def test_an_outage_of_the_store_is_one_that_flyte_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*args: object, **kwargs: object) -> bytes:
        raise OSError("the store is down")

    url = "memory://records/kept"
    window(1.0).save(url)
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", fails)
    context = FlyteContextManager.current_context()
    with pytest.raises(FlyteDownloadDataException, match="the store is down"):
        TypeEngine.to_python_value(context, literal_of(FlyteFile(url), Profile), Profile)


@workflow
def compared(reference: Profile, baseline: Optional[PerformanceReport] = None) -> Profile:  # noqa: UP045
    return reference


def plan(**inputs: object) -> LaunchPlan:
    LaunchPlan.CACHE.pop("by_url", None)
    return LaunchPlan.create("by_url", compared, fixed_inputs=inputs)


HERE: list[Callable[[Path], dict[str, object]]] = [
    lambda folder: {"reference": window(1.0)},
    lambda folder: {"reference": FlyteFile(str(folder / "here"))},
    lambda folder: {"baseline": performance_report()},
    lambda folder: {"baseline": FlyteFile(str(folder / "here"))},
]


@pytest.mark.parametrize("given", HERE)
def test_a_record_on_the_packagers_machine_is_refused_with_the_cure(
    given: Callable[[Path], dict[str, object]], tmp_path: Path
) -> None:
    inputs = given(tmp_path)
    window(1.0).save(tmp_path / "here")
    kind, ending = ("Profile", "profile") if "reference" in inputs else (
        "PerformanceReport", "performancereport",
    )  # fmt: skip
    cure = rf'a {kind} .* this machine; .*FlyteFile\("s3://….wbmon-{ending}"\)'
    with compiling(tmp_path, str(tmp_path)), pytest.raises(ConfigError, match=cure):
        plan(**inputs)


def test_a_default_or_constant_on_the_packagers_machine_is_refused(tmp_path: Path) -> None:
    reference = window(1.0)

    @task
    def rows(profile: Profile) -> int:
        return profile.n_rows

    @workflow
    def constant() -> int:
        return rows(profile=reference)

    with compiling(tmp_path, str(tmp_path)):
        with pytest.raises(ConfigError, match="Profile"):
            LaunchPlan.create("default", compared, default_inputs={"reference": reference})
        with pytest.raises(ConfigError, match="Profile"):
            constant.compile()


def test_what_is_registered_is_uploaded(tmp_path: Path) -> None:
    with compiling(tmp_path, "memory://uploads"):
        fixed = plan(reference=window(1.0), baseline=performance_report()).fixed_inputs
    uri = fixed.literals["reference"].scalar.blob.uri
    assert uri.startswith("memory://uploads/")
    assert Profile.load(uri).n_rows == 1


def test_a_pod_may_give_records_to_its_own_tasks(tmp_path: Path) -> None:
    with pod_context(tmp_path):
        assert literal_of(window(1.0), Profile).hash


def test_a_launch_plan_of_python_takes_records(tmp_path: Path) -> None:
    assert plan(reference=window(1.0))().n_rows == 1


PROJECT = f"""
from flytekit import LaunchPlan, workflow
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import DriftCheck, DriftReport, Profile

check = DriftCheck("drift")


@workflow
def night(reference: Profile, current: Profile) -> DriftReport:
    return check(reference=reference, current=current).report


LaunchPlan.create(
    "nightly",
    night,
    fixed_inputs={{"reference": FlyteFile("{NOWHERE}")}},
    default_inputs={{"current": FlyteFile("{NOWHERE}")}},
)
"""


def test_a_packaged_launch_plan_keeps_the_urls_of_records(tmp_path: Path) -> None:
    (tmp_path / "nightly_by_url.py").write_text(PROJECT)
    archive = package(tmp_path, ["nightly_by_url"], archive=tmp_path / "package.tgz")
    found = load_package(archive).launch_plans["nightly"].spec
    assert found.fixed_inputs.literals["reference"].scalar.blob.uri == NOWHERE
    current = found.default_inputs.parameters["current"].default
    assert current.scalar.blob.uri == NOWHERE
