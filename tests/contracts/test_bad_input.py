"""Everything that is wrong with an input: a clear error before work is lost, or a finding.

An error says what must hold, what was found, and what to do. A finding is a line of the report,
and the rest of the report goes on.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flytekit import Secret
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    SLO,
    AlertRule,
    DegradationAlert,
    DriftCheck,
    DriftReport,
    DriftRule,
    PerformanceCheck,
    ProfileData,
    batch_scoring,
    check_drift,
    check_performance,
    current_run,
    profile_data,
    wandb_init,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError, WbmonError
from support.in_process import pod_context
from support.wandb_log import find_runs

N_ROWS = 1000
KEY = Secret(group="wandb", key="api_key")


def window(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "amount": rng.normal(50, 10, N_ROWS),
        "hour": rng.integers(0, 24, N_ROWS),
        "country": rng.choice(["de", "fr", "it"], N_ROWS),
        "score": rng.uniform(0, 1, N_ROWS),
        "label": rng.integers(0, 2, N_ROWS),
    }


def check(reference: dict[str, Any], current: dict[str, Any], *, exact: bool) -> DriftReport:
    """The report of the exact path, or of the path by profiles."""
    before, after = pa.table(reference), pa.table(current)
    if exact:
        return check_drift(before, after)
    profile = profile_data(before)
    return check_drift(profile, profile_data(after, like=profile))


@pytest.fixture(params=[True, False], ids=["exact", "profiles"])
def exact(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# what becomes a finding of the drift report


def column_of_nothing(n_rows: int) -> Any:
    return pa.nulls(n_rows, pa.float64())


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda data: data.pop("amount"), "missing_column"),
        (lambda data: data.update(amount=["12,50"] * N_ROWS), "type_changed"),
        (lambda data: data.update(amount=column_of_nothing(N_ROWS)), "all_missing"),
        (lambda data: data.update(amount=np.full(N_ROWS, 7.0)), "ok"),
        (lambda data: data["amount"].__setitem__(slice(0, 400), np.inf), "ok"),
        (lambda data: data["amount"].__setitem__(slice(0, 400), np.nan), "ok"),
    ],
    ids=["missing", "another type", "all missing", "constant now", "infinities", "gaps"],
)
def test_a_broken_column_is_a_finding_and_the_rest_is_checked(
    rng: np.random.Generator, exact: bool, change: Callable[[dict[str, Any]], Any], status: str
) -> None:
    current = window(rng)
    change(current)

    report = check(window(rng), current, exact=exact)

    broken = report.features["amount"]
    assert broken.status == status
    assert broken.drifted
    assert broken.reason
    assert report.drifted
    assert [report.features[name].status for name in ("hour", "country")] == ["ok", "ok"]
    assert "amount" in report.to_html()


def test_a_new_column_is_a_warning(rng: np.random.Generator, exact: bool) -> None:
    report = check(window(rng), window(rng) | {"fresh": rng.normal(size=N_ROWS)}, exact=exact)

    assert report.features["fresh"].status == "new_column"
    assert report.verdict == "warning"


@pytest.mark.parametrize(
    ("value", "status"), [(np.full(N_ROWS, 1.0), "constant"), (None, "all_missing")]
)
def test_a_column_that_never_said_anything_is_no_drift(
    rng: np.random.Generator, exact: bool, value: Any, status: str
) -> None:
    column = {"flag": column_of_nothing(N_ROWS) if value is None else value}

    report = check(window(rng) | column, window(rng) | column, exact=exact)

    assert report.features["flag"].status == status
    assert not report.features["flag"].drifted
    assert report.verdict == "ok"


@pytest.mark.parametrize("n_rows", [0, 1, 20])
def test_a_window_of_few_rows_is_insufficient_which_is_neither_yes_nor_no(
    rng: np.random.Generator, exact: bool, n_rows: int
) -> None:
    few = {name: values[:n_rows] for name, values in window(rng).items()}

    report = check(window(rng), few, exact=exact)

    assert report.verdict == "insufficient"
    assert not report.drifted
    assert report.reason
    assert {feature.status for feature in report.features.values()} == {"insufficient"}


@pytest.mark.parametrize("n_rows", [0, N_ROWS])
def test_a_window_without_labels_says_so(rng: np.random.Generator, n_rows: int) -> None:
    table = pa.table(window(rng) | {"label": column_of_nothing(N_ROWS)}).slice(0, n_rows)

    report = check_performance(table, task="classification", label="label", prediction="score")

    assert report.status == "no_labels"
    assert not report.worse
    assert report.reason


def test_scores_that_are_not_finite_are_no_silent_success(rng: np.random.Generator) -> None:
    data = window(rng)
    data["score"][:10] = np.inf

    report = check_performance(
        pa.table(data), task="classification", label="label", prediction="score"
    )

    assert (report.n_missing_prediction, report.n_unreadable) == (10, 10)
    assert "10 unreadable values taken for missing ('inf' in 'score')" in report.reason


# what is an error of the data


def test_a_column_that_no_window_has_is_an_error_with_a_suggestion(
    rng: np.random.Generator,
) -> None:
    table = pa.table(window(rng))

    with pytest.raises(DataError, match="did you mean 'amount'"):
        profile_data(table, columns=["amout"])
    with pytest.raises(DataError, match="did you mean 'amount'"):
        check_drift(table, table, rule=DriftRule(features=("amout",)))
    with pytest.raises(DataError, match="lable"):
        check_performance(table, task="classification", label="lable", prediction="score")


def test_duplicate_columns_of_a_file_are_an_error_that_names_them(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    twice = pa.table([pa.array(rng.normal(size=9))] * 2, names=["amount", "amount"])
    pq.write_table(twice, tmp_path / "night.parquet")

    with pytest.raises(DataError, match="amount"):
        profile_data(tmp_path / "night.parquet")


def test_a_csv_where_parquet_is_expected_is_an_error_that_says_how_to_convert(
    tmp_path: Path,
) -> None:
    csv = tmp_path / "night.csv"
    csv.write_text("amount,hour\n1.5,2\n")

    with pytest.raises(DataError, match=r"(?is)parquet.*csv|csv.*parquet"):
        profile_data(str(csv))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 half of a file"])
def test_a_torn_parquet_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(content)

    with pytest.raises(DataError, match=r"torn\.parquet"):
        profile_data(str(torn))


def test_a_folder_or_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        profile_data(str(tmp_path / "nowhere"))


def test_profiles_of_different_references_cannot_be_compared(rng: np.random.Generator) -> None:
    first, second = profile_data(pa.table(window(rng))), profile_data(pa.table(window(rng)))

    with pytest.raises(DataError, match="like="):
        check_drift(first, second)


# what is an error of a predict function or a model file


@batch_scoring(batch_rows=100)
def one_row_less(batch: pd.DataFrame) -> pd.Series:
    """Loses a row."""
    return batch["amount"].iloc[1:]


@batch_scoring(batch_rows=100, load={"model": joblib.load})
def with_model(batch: pd.DataFrame, model: object) -> pd.DataFrame:
    """Needs a model."""
    return pd.DataFrame({"p": np.full(len(batch), float(str(model)))})


@batch_scoring(batch_rows=100)
def of_a_column_that_is_not_there(batch: pd.DataFrame) -> pd.Series:
    """Misspells a column."""
    return batch["amout"]


@pytest.fixture
def night(rng: np.random.Generator, tmp_path: Path) -> StructuredDataset:
    path = tmp_path / "night.parquet"
    pq.write_table(pa.table(window(rng)), path)
    return StructuredDataset(uri=str(path), file_format="parquet")


def test_a_prediction_of_the_wrong_number_of_rows_names_the_batch_and_both_numbers(
    night: StructuredDataset,
) -> None:
    with pytest.raises(DataError, match=r"batch 0 .* 100 rows.*99"):
        one_row_less(data=night)


def test_a_predict_function_that_raises_says_on_which_rows(night: StructuredDataset) -> None:
    with pytest.raises(WbmonError, match=r"batch 0 \(rows 0 to 99\).*amout"):
        of_a_column_that_is_not_there(data=night)


def test_an_unreadable_model_file_is_an_error_that_says_which_input(
    night: StructuredDataset, tmp_path: Path
) -> None:
    broken = tmp_path / "model.joblib"
    broken.write_bytes(b"not a model")

    with pytest.raises(DataError, match=r"'model'.*joblib"):
        with_model(data=night, model=FlyteFile(str(broken)))


# what is an error of the settings, found where they are written


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wandb_init(entity="ops"), "project must be set"),
        (lambda: wandb_init(project="p"), "entity must be set"),
        (lambda: wandb_init(project="p", entity="e", projct="q"), "did you mean 'project'"),
        (lambda: wandb_init(project="p", entity="e", secret="abc"), "name it: Secret"),  # noqa: S106
        (lambda: wandb_init(project="p", entity="e", secret=7), "secret must be"),
        (lambda: wandb_init(project="a/b", entity="e"), "project must have"),
        (lambda: wandb_init(project="p", entity="e", id="{nod}"), "placeholders"),
        (lambda: wandb_init(project="p", entity="e", delivery="mail"), "delivery must be"),
        (lambda: wandb_init(project="p", entity="e", tags="nightly"), "tags must be"),
        (lambda: wandb_init(project="p", entity="e")(7), "goes on a function"),
        (lambda: DriftRule(alpha=5), "alpha of a DriftRule must be between 0 and 1"),
        (lambda: DriftRule(min_effect=0.01), "warn_effect <= min_effect"),
        (lambda: AlertRule(metric="performance.accuracy"), "exactly one of"),
        (lambda: AlertRule(metric="accuracy", below=0.8), r"<report>\.<name>"),
        (lambda: AlertRule(metric="drift.drifted", above=0, severity="loud"), "severity must be"),
        (lambda: SLO(name="p99", percentile=101, value=1), "percentile must be"),
        (lambda: SLO(name="p99", metric="speed", value=1), "metric must be"),
        (lambda: DegradationAlert("alert", rules=[]), "at least one rule"),
        (lambda: DriftCheck(""), "must have a name"),
        (lambda: ProfileData(""), "must have a name"),
        (lambda: batch_scoring(lambda: 1), "must take a batch"),
        (lambda: batch_scoring(batch_rows=0)(one_row), "batch_rows must be at least 1"),
        (lambda: batch_scoring(load={"modle": joblib.load})(one_row), "load must name"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_where_it_is_written(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def one_row(batch: pd.DataFrame, model: object) -> pd.DataFrame:
    """Never called."""
    return batch


@pytest.mark.parametrize("wrong", ["clasification", "", None])
def test_an_unknown_kind_of_model_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="classification"):
        PerformanceCheck("p", task=wrong, label="y", prediction="p")


# what is an error of a secret, found before the work begins

WORKED: list[str] = []


def key_of_the_wrong_type() -> Any:
    return b"0123"


def no_key() -> str:
    return ""


def vault_is_down() -> str:
    raise OSError("vault is down, token=hunter2-hunter2")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (KEY, r"group 'wandb', key 'api_key'.*secret_requests"),
        (key_of_the_wrong_type, "as text, got bytes"),
        (no_key, "empty text"),
        (vault_is_down, "vault_is_down.*OSError"),
    ],
    ids=["missing", "wrong type", "empty", "raises"],
)
def test_a_bad_secret_fails_the_pod_before_the_work_and_without_showing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: Any, message: str
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    WORKED.clear()

    @wandb_init(project="p", entity="e", secret=secret)
    def work() -> None:
        WORKED.append("done")

    with (
        pod_context(tmp_path, env={"TMPDIR": str(tmp_path)}),
        pytest.raises(ConfigError, match=message) as caught,
    ):
        work()

    assert WORKED == []
    assert find_runs(tmp_path) == []
    assert "hunter2" not in str(caught.value)


def test_a_missing_secret_outside_a_pod_keeps_the_run_on_disk_and_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    @wandb_init(project="p", entity="e", secret=KEY)
    def work() -> str:
        current_run().log({"x": 1})
        return "done"

    assert work() == "done"
    (run,) = find_runs(tmp_path)
    assert run.column("x") == [1]
    assert "WANDB_API_KEY" in caplog.text


# what all errors have in common


@pytest.mark.parametrize("kind", WbmonError.__subclasses__())
def test_every_error_crosses_a_pod_border(kind: type[WbmonError]) -> None:
    error = kind("rows must be positive, got -1; drop them")

    copied = pickle.loads(pickle.dumps(error))

    assert type(copied) is kind
    assert str(copied) == str(error)
