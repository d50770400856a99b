"""A model that costs nothing."""

from __future__ import annotations

import pandas as pd

from benchmarks.pod_tasks.tracked import tracked
from flytekitplugins.wbmon import batch_scoring


@tracked
@batch_scoring
def score(batch: pd.DataFrame) -> pd.DataFrame:
    """Twice a column."""
    return pd.DataFrame({"score": batch["amount"] * 2})
