"""The node that turns reports into a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.records.alert import AlertRule, Decision
from flytekitplugins.wbmon.records.drift import DriftReport
from flytekitplugins.wbmon.records.performance import PerformanceReport
from flytekitplugins.wbmon.records.scoring import ScoringReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The rules of a `DegradationAlert`."""

    rules: tuple[AlertRule, ...]


class Decided(NamedTuple):
    """A decision, and its gates for a `conditional`."""

    decision: Decision
    fired: bool
    severity: str


class DegradationAlert(Node[AlertSettings]):
    """Hold the reports of a window against rules; in a tracked task, alert through the W&B run.

    Args:
        name: The task's name.
        rules: At least one; their titles must differ.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no rule.
    """

    def __init__(self, name: str, *, rules: Sequence[AlertRule], **task_kwargs: Any) -> None:
        if not rules:
            raise ConfigError(
                f"DegradationAlert {name!r} must have at least one rule, got none; "
                'for example AlertRule(metric="drift.drifted", above=0)'
            )
        super().__init__(name, AlertSettings(rules=tuple(rules)), **task_kwargs)

    def compute(
        self,
        drift: DriftReport | None = None,
        performance: PerformanceReport | None = None,
        scoring: ScoringReport | None = None,
        at: datetime | None = None,
    ) -> Decided:
        """Decide about one window.

        Args:
            drift: The report of `DriftCheck`.
            performance: The report of `PerformanceCheck`.
            scoring: The report of `batch_scoring`.
            at: The window's time, such as the kickoff time of a schedule; now if not given.

        Returns:
            decision: Every rule with what it says and why, worst first.
            fired: Whether any rule fires.
            severity: The worst severity that fires, or `none`.
        """
        from flytekitplugins.wbmon.monitor.alerting import evaluate_rules

        reports = [report for report in (drift, performance, scoring) if report is not None]
        at = at or datetime.now(timezone.utc)
        decision = evaluate_rules(self.config.rules, reports, at=at)
        return Decided(decision=decision, fired=decision.fired, severity=decision.severity)
