"""The code of the page on drift runs as it stands there, one block after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import pytest
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset
from sklearn.linear_model import LogisticRegression

from support.pages import code_blocks
from workflows.payments import generate_payments, night_date

BLOCKS = code_blocks("docs/drift.md")
FEATURES = ["amount", "hour", "distance_km", "account_age_days"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's blocks leave behind."""
    folder = tmp_path_factory.mktemp("page")
    train, night = generate_payments(-1), generate_payments(0, fault="unit_change")
    model = LogisticRegression(max_iter=1_000).fit(train[FEATURES], train["fraud"])
    joblib.dump(model, folder / "model.joblib")
    for i in range(3):
        place = folder / "log" / f"day={night_date(i)}" / "region=eu"
        place.mkdir(parents=True)
        generate_payments(i)[FEATURES].to_parquet(place / "0.parquet")
    path = folder / "drift_page.py"
    path.write_text("\n".join(BLOCKS))
    page = ModuleType("drift_page")
    names = page.__dict__
    names.update(__file__=str(path), train=train, night=night, model=model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, page.__name__, page)
        patch.chdir(folder)
        exec(compile(path.read_text(), path, "exec"), names)  # noqa: S102 - the page is ours
    return {**names, "folder": folder}


def test_the_weights_rank_the_report(names: dict[str, Any]) -> None:
    assert max(names["weights"].values()) == 1.0
    assert next(iter(names["report"].features)) == "amount"


def test_the_workflow_hands_the_weights_on(names: dict[str, Any]) -> None:
    found = names["weighed"](
        data=StructuredDataset(dataframe=names["night"]),
        past=StructuredDataset(dataframe=names["train"]),
        model=FlyteFile(str(Path(names["folder"]) / "model.joblib")),
    )
    assert found.drifted
    weights = {name: feature.importance for name, feature in found.features.items()}
    assert weights == pytest.approx(names["weights"])


def test_the_folders_cut_the_series(names: dict[str, Any]) -> None:
    found = [(window.start.date(), window.segment) for window in names["series"].windows]
    assert found == [(night_date(i), "eu") for i in range(3)]
    assert len(names["quiet"]) == 3


def test_columns_are_looked_at_together_and_value_by_value(names: dict[str, Any]) -> None:
    assert names["together"].drifted
    assert next(iter(names["together"].contributions)) == "amount"
    assert names["alarms"]
