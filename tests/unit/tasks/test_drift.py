from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import DriftSeriesCheck, ProfileData, profile_data
from support.in_process import execute, pod_context

series = DriftSeriesCheck("test.series", at="day", segment="region")
profile = ProfileData("test.profile", columns=("amount", "region"))


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
