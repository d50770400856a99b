"""Columns that the joint test of all columns could not look at are told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import check_joint_drift


def rows(rng, n=600):
    return pd.DataFrame(
        {"x": rng.normal(size=n), "y": rng.normal(size=n), "word": rng.choice(["a", "b"], n)}
    ).assign(text=[f"a long sentence, the {i}th of its kind" for i in range(n)])


@pytest.mark.parametrize("fault", ["lost", "text"])
def test_a_column_that_is_lost_or_another_type_is_told(rng, fault):
    window = rows(rng)
    window = window.drop(columns="y") if fault == "lost" else window.assign(y="n/a of all")
    found = check_joint_drift(rows(rng), window)
    assert found.not_compared == ("y",)
    assert found.unmeasured.startswith("'y' could not be compared")
    assert not np.isnan(found.auc)


def test_columns_that_can_never_be_looked_at_are_not_told_every_night(rng):
    assert check_joint_drift(rows(rng), rows(rng)).unmeasured == ""
    assert check_joint_drift(rows(rng), rows(rng).drop(columns="y"), columns=["x"]).unmeasured == ""
