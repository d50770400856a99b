"""The node that turns reports into a decision, and the decision into alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport, SLOReport
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.lifecycle import current_run
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The rules of a `DegradationAlert`, its memory and its channels; see there."""

    rules: tuple[AlertRule, ...]
    channels: tuple[Channel, ...] = ()
    state_uri: str = ""
    remind_after: timedelta | None = None
    keep_nights: int = 60


class Decided(NamedTuple):
    """A decision, and its gates for a `conditional`."""

    decision: Decision
    fired: bool
    severity: str


class DegradationAlert(Node[AlertSettings]):
    """Hold the reports of a window against rules, remember the outcome, and tell people the news.

    News is an alert that fires and did not before, and one that is over. In a tracked task the W&B
    run takes the alerts; other channels are named by secrets, which the node requests from Flyte.
    A channel that fails costs nothing but itself: what it did not take is sent with the next
    window, if there is a `state_uri`. Beside the state file, `….html` shows the last nights.

    Args:
        name: The task's name.
        rules: At least one; their titles must differ.
        channels: Beside the W&B run; they need the extra `notify`.
        state_uri: The state file, `….json`: a path that every pod sees, or any URL that fsspec
            knows. Without it each window is judged alone, and every night of a fault is news.
        remind_after: Time after which an alert that goes on firing is mentioned again; never if
            None.
        keep_nights: Windows on the index page.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no rule, two channels have one name, or a number is out of range.
    """

    def __init__(
        self,
        name: str,
        *,
        rules: Sequence[AlertRule],
        channels: Sequence[Channel] = (),
        state_uri: str = "",
        remind_after: timedelta | None = None,
        keep_nights: int = 60,
        **task_kwargs: Any,
    ) -> None:
        if not rules:
            raise ConfigError(
                f"DegradationAlert {name!r} must have at least one rule, got none; "
                'for example AlertRule(metric="drift.drifted", above=0)'
            )
        if keep_nights < 1:
            raise ConfigError(f"keep_nights must be at least 1, got {keep_nights}")
        settings = AlertSettings(
            rules=tuple(rules),
            channels=tuple(channels),
            state_uri=state_uri,
            remind_after=remind_after,
            keep_nights=keep_nights,
        )
        super().__init__(name, settings, **with_channel_secrets(channels, task_kwargs))

    def compute(  # noqa: PLR0913, PLR0917 - one input for each kind of report
        self,
        drift: DriftReport | None = None,
        performance: PerformanceReport | None = None,
        scoring: ScoringReport | None = None,
        estimate: PerformanceReport | None = None,
        usage: UsageReport | None = None,
        feedback: FeedbackReport | None = None,
        rag: RAGReport | None = None,
        evaluation: EvaluationReport | None = None,
        slo: SLOReport | None = None,
        serving: ServingReport | None = None,
        experiment: ExperimentReport | None = None,
        at: datetime | None = None,
    ) -> Decided:
        """Decide about one window.

        Args:
            drift: The report of `DriftCheck`; that it is missing is a finding if a rule needs it.
            performance: The report of `PerformanceCheck`; likewise.
            scoring: The report of `batch_scoring`; likewise.
            estimate: A performance report made without labels; likewise.
            usage: The report of `TrackCost`; likewise.
            feedback: The report of `AnalyzeFeedback`; likewise.
            rag: The report of `EvaluateRAG`; likewise.
            evaluation: The report of `EvaluatePrompts` or `CompareModels`; likewise.
            slo: The report of `CheckSLO`; likewise. Its objectives stand beside those of `scoring`.
            serving: The report of `SummarizeServing`; likewise.
            experiment: The report of `CompareVariants`; likewise.
            at: The window's time, such as the kickoff time of a schedule; now if not given. A
                window judged again at the same time counts once.

        Returns:
            decision: Every rule with what it says and why, worst first.
            fired: Whether any rule fires.
            severity: The worst severity that fires, or `none`.
        """
        from flytekitplugins.wbmon.monitor.alerts.history import missing_reports

        reports = {
            "drift": drift,
            "performance": performance,
            "scoring": scoring,
            "estimate": estimate,
            "usage": usage,
            "feedback": feedback,
            "rag": rag,
            "evaluation": evaluation,
            "slo": slo,
            "serving": serving,
            "experiment": experiment,
        }
        asked = {rule.metric.partition(".")[0] for rule in self.config.rules}
        given = reports | {"slo": slo or scoring}
        missing = missing_reports({name: given[name] for name in given if name in asked})
        return decide(self, list(reports.values()), at=at, findings=missing)


def decide(
    node: Node[Any],
    reports: Sequence[Any],
    *,
    at: datetime | None,
    findings: Sequence[str] = (),
) -> Decided:
    """Judge, remember and tell as the settings of a node say.

    Args:
        node: Its config has the attributes of `AlertSettings`.
        reports: Those that there are; None for one that is missing.
        at: The window's time; now if None.
        findings: What is wrong with the monitor itself.
    """
    from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
    from flytekitplugins.wbmon.publish.alerts.send import usable_channels

    settings = node.config
    is_local = current_identity(node.name).is_local
    decision = decide_and_notify(
        settings.rules,
        reports,
        at=_utc(at),
        routing=AlertRouting(
            state_uri=settings.state_uri,
            channels=usable_channels(settings.channels) if is_local else settings.channels,
            remind_after=settings.remind_after,
            keep_nights=settings.keep_nights,
        ),
        run=current_run(),
        sender=sender_of(node),
        findings=findings,
        links=links_of(node, settings.state_uri),
    )
    return Decided(decision=decision, fired=decision.fired, severity=decision.severity)


def with_channel_secrets(
    channels: Sequence[Channel], task_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The task's arguments with the channels' secrets requested.

    Raises:
        ConfigError: If two channels have one name, or one has that of the W&B run.
    """
    names = [channel.label for channel in channels]
    if len({*names, "wandb"}) <= len(names):
        raise ConfigError(
            f"channels must have different names, none of them 'wandb'; got {', '.join(names)}"
        )
    return request_secrets(task_kwargs, *(channel.secret for channel in channels))


def links_of(node: Node[Any], state_uri: str) -> dict[str, str]:
    """Pages about what is running: its W&B run, its execution, the index of the nights."""
    from flytekitplugins.wbmon.publish.alerts.state_file import index_uri

    run, settings = current_run(), tracking_of(node)
    links = {
        "W&B run": run_url(settings, run.id) if run is not None and settings is not None else "",
        "Flyte execution": current_identity(node.name).execution_url,
        "All nights": index_uri(state_uri) if state_uri else "",
    }
    return {name: url for name, url in links.items() if url}


def sender_of(node: Node[Any]) -> str:
    """Who tells: the same for every attempt of one task, empty outside a pod."""
    identity = current_identity(node.name)
    return "" if identity.is_local else f"{identity.execution}/{identity.node}"


def _utc(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(timezone.utc)
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
