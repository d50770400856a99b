"""What another project has registered."""

from __future__ import annotations

import numpy as np
import pandas as pd
from flytekit import LaunchPlan, task, workflow

from flytekitplugins.wbmon import DriftCheck, DriftReport, Profile


@task
def profile(seed: int) -> Profile:
    """A profile of 500 rows."""
    from flytekitplugins.wbmon.monitor.profiles.build import profile_data

    rng = np.random.default_rng(seed)
    return profile_data(pd.DataFrame({"amount": rng.normal(0, 1, 500)}))


drift = DriftCheck("elsewhere.drift")


@workflow
def check(reference: Profile, current: Profile) -> DriftReport:
    """A check alone."""
    return drift(reference=reference, current=current).report


plan = LaunchPlan.get_or_create(check, name="elsewhere.plan")
