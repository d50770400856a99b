"""The nodes of a night; their pods load the package and not this module."""

from __future__ import annotations

from benchmarks.pod_tasks.tracked import tracked
from flytekitplugins.wbmon import (
    AlertRule,
    DegradationAlert,
    DriftCheck,
    PerformanceCheck,
    ProfileData,
)

profile = ProfileData("memory.profile")
tracked_profile = tracked(ProfileData("memory.tracked_profile"))
drift = tracked(DriftCheck("memory.drift"))
performance = tracked(
    PerformanceCheck(
        "memory.performance", task="classification", label="label", prediction="prediction"
    )
)
alert = tracked(
    DegradationAlert(
        "memory.alert", rules=[AlertRule(metric="drift.drifted", above=0, severity="warn")]
    )
)
