from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import DriftSeriesCheck, ProfileData, profile_data
from flytekitplugins.wbmon.errors import ConfigError
from support.in_process import execute, pod_context

series = DriftSeriesCheck("test.series", at="day", segment="region")
profile = ProfileData("test.profile", columns=("amount", "region"))


def about_length(texts: list[str]) -> np.ndarray:
    """A vector of the length of a text and of how often it says `late`."""
    return np.array([[len(text), text.count("late")] for text in texts], dtype=float)


meaning = ProfileData("test.meaning", columns=("note",), embed={"note": about_length})
meanings = DriftSeriesCheck("test.meanings", segment="region", embed={"note": about_length})


def test_the_folders_of_a_partitioned_table_are_columns_of_a_node(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    for i in range(3):
        for region in ("eu", "us"):
            place = tmp_path / "table" / f"day={date(2026, 1, 1) + timedelta(i)}/region={region}"
            place.mkdir(parents=True)
            shift = 2.0 if (i, region) == (2, "us") else 0.0
            rows = pd.DataFrame({"amount": rng.normal(shift, 1, 500)})
            rows.to_parquet(place / "0.parquet")
    reference = profile_data(pd.DataFrame({"amount": rng.normal(0, 1, 5000)}))
    table = StructuredDataset(uri=str(tmp_path / "table"), file_format="parquet")

    with pod_context(tmp_path) as context:
        checked = execute(context, series, data=table, reference=reference)
        profiled = execute(context, profile, data=table, like=None)["o0"]

    drifted = [window for window in checked["series"].windows if window.report.drifted]
    assert len(checked["series"].windows) == 6
    assert [(window.segment, window.start.day) for window in drifted] == [("us", 3)]
    assert profiled.features["region"].counts.tolist() == [1500, 1500, 0]


def notes(rng: np.random.Generator, word: str, region: str) -> pd.DataFrame:
    words = ["shoe", "box", "blue", "please", "refund", word]
    return pd.DataFrame(
        {"note": [" ".join(rng.choice(words, 9)) for _ in range(400)], "region": region}
    )


def test_nodes_find_by_name_what_turns_texts_into_vectors(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    notes(rng, "late", "eu").to_parquet(tmp_path / "reference.parquet")
    window = pd.concat([notes(rng, "late", "eu"), notes(rng, "tale", "us")])
    window.to_parquet(tmp_path / "window.parquet")
    reference, current = (
        StructuredDataset(uri=str(tmp_path / f"{name}.parquet"), file_format="parquet")
        for name in ("reference", "window")
    )

    with pod_context(tmp_path) as context:
        learned = execute(context, meaning, data=reference, like=None)["o0"]
        checked = execute(context, meanings, data=current, reference=learned)

    assert learned.features["note"].facets["meaning"].dimension == 2
    assert [(w.segment, w.report.drifted) for w in checked["series"].windows] == [
        ("eu", False),
        ("us", True),
    ]
    with pytest.raises(ConfigError, match="at module level"):
        ProfileData("test.nameless", embed={"note": lambda texts: texts})
