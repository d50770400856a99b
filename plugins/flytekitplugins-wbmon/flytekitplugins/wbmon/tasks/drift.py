"""The node that compares a window with the reference."""

from __future__ import annotations

from typing import Any, NamedTuple

from flytekitplugins.wbmon.records.drift import DriftReport, DriftRule
from flytekitplugins.wbmon.records.profile import Profile
from flytekitplugins.wbmon.tasks._node import Node


class DriftChecked(NamedTuple):
    """A drift report, and its gate for a `conditional`."""

    report: DriftReport
    drifted: bool


class DriftCheck(Node[DriftRule]):
    """Compare a window's profile with the reference profile, feature by feature.

    Args:
        name: The task's name.
        rule: When a feature counts as drifted.
        task_kwargs: As for any node.
    """

    def __init__(self, name: str, *, rule: DriftRule | None = None, **task_kwargs: Any) -> None:
        super().__init__(name, rule or DriftRule(), **task_kwargs)

    def compute(self, reference: Profile, current: Profile) -> DriftChecked:
        """Check a window for drift.

        Args:
            reference: The profile that `ProfileData` made of the reference window.
            current: The profile of the window to check, made `like` the reference.

        Returns:
            report: What was found, ranked, worst first.
            drifted: Whether any feature drifted under the rule.
        """
        from flytekitplugins.wbmon.monitor.drift import check_drift

        report = check_drift(reference, current, rule=self.config)
        return DriftChecked(report=report, drifted=report.drifted)
