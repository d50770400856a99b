"""The model of the loss that is kept: what it says of a window, and its file."""

from __future__ import annotations

import io
import json
import math
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import (
    LossModel,
    check_performance,
    estimate_loss,
    estimate_performance,
    fit_loss_model,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError, InsufficientDataError

COLUMNS = {"label": "y", "prediction": "p"}
FEATURES = ("x", "kind")


def window(seed, n, *, by=0.0, hard=0.2):
    """A model that errs three times as much on one kind of rows, and more for greater `x`."""
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(by, 1, n), np.where(rng.random(n) < hard, "hard", "easy")
    sd = np.exp(0.4 * x) * np.where(kind == "hard", 3.0, 1.0)
    return pd.DataFrame({"x": x, "kind": kind, "p": 5 * x, "y": 5 * x + rng.normal(0, sd)})


@pytest.fixture(scope="module")
def model():
    return fit_loss_model(window(1, 1500), features=FEATURES, **COLUMNS)


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "loss"
    model.save(path)
    return path.read_bytes()


def test_a_kept_model_says_what_one_fitted_for_the_window_says(model, tmp_path):
    model.save(tmp_path / "deep" / "loss.model")
    kept = LossModel.load(tmp_path / "deep" / "loss.model")
    night = window(2, 400, hard=0.6).drop(columns="y")
    fresh = estimate_performance(
        night, reference=window(1, 1500), task="regression", features=FEATURES, **COLUMNS
    )
    assert estimate_loss(night, model=kept) == fresh
    assert fresh.estimated
    assert fresh.metrics["mae"].verdict == "worse"


def test_its_baseline_is_what_was_measured_in_the_reference(model):
    measured = check_performance(window(1, 1500), task="regression", **COLUMNS)
    report = estimate_loss(window(2, 400), model=model)
    assert model.reference.metrics == measured.metrics
    for name, metric in report.metrics.items():
        assert metric.baseline == pytest.approx(measured.metrics[name].value)
    assert "of 1500 labelled rows" in report.reason
    assert "Performance" in model.to_html()


@pytest.mark.parametrize("by", [0.0, 1.0])
def test_rows_that_moved_leave_the_estimate_unbiased(model, by):
    expected, came = [], []
    for seed in range(20):
        night = window(100 + seed, 500, by=by)
        report = estimate_loss(night.drop(columns="y"), model=model)
        expected.append(report.metrics["mae"].value)
        came.append((night["y"] - night["p"]).abs().mean())
        assert report.metrics["mae"].low < report.metrics["mae"].high
    # one reference of 1,500 rows, whose own error is shared by all windows
    assert np.mean(expected) == pytest.approx(np.mean(came), rel=0.1)


def test_rows_unlike_the_reference_get_a_value_and_no_verdict(model):
    report = estimate_loss(window(3, 1000, by=1.8), model=model)
    assert report.status == "insufficient"
    for name in ("mae", "rmse"):
        metric = report.metrics[name]
        assert metric.value > 0
        assert math.isnan(metric.low)
        assert math.isnan(metric.high)
        assert metric.verdict == "unknown"
        assert "few rows like these" in metric.reason
    assert "the reference has few rows like these" in report.reason
    assert not report.worse


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "strange"}, "no rows like 100% of these"),
        ({"x": np.nan}, "no rows like 100% of these"),
        ({"kind": None}, "no rows like 100% of these"),
        ({"x": np.inf}, "no rows like 100% of these"),
        ({"x": 1e6}, "no rows like 100% of these"),
    ],
    ids=["unseen word", "missing", "without a word", "infinite", "another unit"],
)
def test_values_that_the_reference_does_not_reach_leave_no_interval(model, change, says):
    report = estimate_loss(window(3, 200).assign(**change), model=model)
    assert report.status == "insufficient"
    assert says in report.reason
    assert math.isnan(report.metrics["mae"].low)
    few = window(3, 200)
    for name, value in change.items():
        few.loc[:9, name] = value
    assert estimate_loss(few, model=model).status == "ok"


def test_a_feature_without_any_value_does_not_matter():
    frame = window(8, 300)
    with_empty = fit_loss_model(frame.assign(z=np.nan), features=(*FEATURES, "z"), **COLUMNS)
    without = fit_loss_model(frame, features=FEATURES, **COLUMNS)
    night = window(9, 100)
    found, expected = (
        estimate_loss(night.assign(z=np.nan), model=each) for each in (with_empty, without)
    )
    for name in ("mae", "rmse"):
        assert found.metrics[name].value == pytest.approx(expected.metrics[name].value)


def test_of_a_large_reference_twenty_thousand_rows_are_kept():
    frame = window(4, 25_000)
    model = fit_loss_model(frame.assign(w=2.0), features=FEATURES, weight="w", **COLUMNS)
    assert model.rows.shape == (20_000, 3)
    assert model.row_weight.tolist() == [2.0] * 20_000
    assert all(loss.residual.shape == (20_000,) for loss in model.losses.values())
    # a sample of the whole, not its beginning
    assert model.rows[-1, 0] in frame["x"].to_numpy()[-100:]
    assert "of 25000 labelled rows" in estimate_loss(frame[:50].assign(w=1.0), model=model).reason


def test_what_cannot_be_read_is_told_of_both_windows():
    frame = window(5, 300).astype({"x": object})
    frame.loc[3, "x"] = "a lot"
    model = fit_loss_model(frame, features=FEATURES, **COLUMNS)
    assert model.reference.n_unreadable == 1
    night = window(6, 100).astype({"x": object})
    night.loc[7, "x"] = "too much"
    report = estimate_loss(night, model=model)
    assert report.n_unreadable == 2
    assert "'a lot' in 'x'" in report.reason
    assert "'too much' in 'x'" in report.reason


def test_a_window_of_another_unit_or_kind_is_refused(model):
    night = window(7, 100)
    with pytest.raises(DataError, match="in the unit of the reference, no unit; found s"):
        estimate_loss(night.assign(p=pd.to_timedelta(night["p"], unit="s")), model=model)
    with pytest.raises(DataError, match="'x' must be in the unit of the reference, no unit; found"):
        estimate_loss(night.assign(x=pd.to_timedelta(night["x"], unit="s")), model=model)
    with pytest.raises(DataError, match="'kind' must hold numbers or text"):
        estimate_loss(night.assign(kind=1.0), model=model)
    with pytest.raises(DataError, match="'kind'"):
        estimate_loss(night.drop(columns="kind"), model=model)


def test_a_wrong_argument_is_told(model):
    with pytest.raises(ConfigError, match=r"got DataFrame; make it with fit_loss_model"):
        estimate_loss(window(1, 100), model=window(1, 100))
    with pytest.raises(ConfigError, match="min_rows must be a whole number of at least 1"):
        estimate_loss(window(1, 100), model=model, min_rows=0)
    with pytest.raises(ConfigError, match="features must be a sequence of column names"):
        fit_loss_model(window(1, 200), features="kind", **COLUMNS)
    with pytest.raises(InsufficientDataError, match="100 labelled rows, found 99"):
        fit_loss_model(window(1, 99), features=FEATURES, **COLUMNS)


def test_it_can_lie_at_any_url(model):
    model.save("memory://models/loss")
    again = LossModel.load("memory://models/loss")
    assert again.reference == model.reference
    assert (again.features, again.words) == (("x", "kind", "p"), {"kind": ("easy", "hard")})


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("nothing", "must be a readable file"),
        (".", "a model of the loss must be"),
        (3, "must be given by its path or URL, got int"),
    ],
)
def test_a_path_without_a_model_is_told(tmp_path, given, match):
    with pytest.raises(DataError, match=match):
        LossModel.load(tmp_path / given if isinstance(given, str) else given)


def changed(content: bytes, **arrays: object) -> bytes:
    """The file with other arrays, as someone else could write it."""
    with np.load(io.BytesIO(content)) as stored:
        found = {name: stored[name] for name in stored.files}
    for name, value in arrays.items():
        found[name.replace("__", ".")] = np.asarray(value)
    file = io.BytesIO()
    np.savez(file, **found)
    return file.getvalue()


def about(content: bytes, **fields: object) -> bytes:
    with np.load(io.BytesIO(content)) as stored:
        text = json.loads(stored["about"].tobytes())
    text.update(fields)
    return changed(content, about=np.frombuffer(json.dumps(text).encode(), np.uint8))


def test_a_file_of_a_newer_version_is_told(content, tmp_path):
    (tmp_path / "loss").write_bytes(about(content, version=2))
    with pytest.raises(DataError, match="format version 2, this package reads up to 1; upgrade"):
        LossModel.load(tmp_path / "loss")


def array_of(content: bytes, name: str) -> np.ndarray:
    with np.load(io.BytesIO(content)) as stored:
        return stored[name].copy()


def with_entry(content: bytes, name: str, at: int, value: float) -> bytes:
    array = array_of(content, name)
    array[at] = value
    return changed(content, **{name.replace(".", "__"): array})


HOSTILE = {
    "no archive": lambda content: b"a,b\n1,2\n",
    "cut off": lambda content: content[:-100],
    "walks in a circle": lambda content: with_entry(content, "mae.left", 0, 0),
    "walks into another tree": lambda content: with_entry(content, "mae.right", 0, 7000),
    "compares no feature": lambda content: with_entry(content, "mae.feature", 0, 3),
    "roots elsewhere": lambda content: with_entry(content, "mse.roots", 0, 5),
    "no number": lambda content: with_entry(content, "mse.value", 0, math.nan),
    "a residual of nothing": lambda content: with_entry(content, "mse.residual", 0, math.inf),
    "weightless": lambda content: with_entry(content, "row_weight", 0, 0.0),
    "other length": lambda content: changed(content, row_weight=np.ones(3)),
    "flat rows": lambda content: changed(content, rows=np.ones(4500)),
    "other type": lambda content: changed(content, rows=np.ones((1500, 3), np.float32)),
    "unknown array": lambda content: changed(content, more=np.ones(3)),
    "objects": lambda content: changed(content, mae__value=np.array([{}], dtype=object)),
    "version of text": lambda content: about(content, version="1"),
    "features of numbers": lambda content: about(content, features=[1, 2, 3]),
    "units of no feature": lambda content: about(content, units={"z": "s"}),
    "units of numbers": lambda content: about(content, units={"x": 1}),
    "words of no feature": lambda content: about(content, words={"z": ["a"]}),
    "words of numbers": lambda content: about(content, words={"kind": [1, 2]}),
    "label of nothing": lambda content: about(content, label=None),
    "losses of others": lambda content: about(content, losses=["mae"]),
    "reference of another": lambda content: about(content, reference={"n_rows": 3}),
    "no reference": lambda content: about(content, reference=[]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_no_model_is_told(content, tmp_path, kind):
    (tmp_path / "loss").write_bytes(HOSTILE[kind](content))
    with pytest.raises(DataError, match=r"must be a file that LossModel.save wrote"):
        LossModel.load(tmp_path / "loss")


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "loss", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("rows.npy", "w", force_zip64=True) as entry,
    ):
        for _ in range(1025):
            entry.write(bytes(2**20))
    assert (tmp_path / "loss").stat().st_size < 2**21
    with pytest.raises(DataError, match="unpacked it must have"):
        LossModel.load(tmp_path / "loss")


@given(st.data())
@settings(max_examples=60)
def test_a_byte_that_turned_is_noticed_or_means_nothing(content, tmp_path_factory, data):
    at = data.draw(st.integers(0, len(content) - 1))
    turned = bytearray(content)
    turned[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("turned") / "loss"
    path.write_bytes(turned)
    night = window(2, 60)
    try:
        found = LossModel.load(path)
    except DataError:
        return
    path.write_bytes(content)
    assert estimate_loss(night, model=found) == estimate_loss(night, model=LossModel.load(path))
