"""The node that evaluates alert rules on reports and sends the alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from flytekitplugins.wbmon.arguments import (
    listed,
    moment,
    require_duration,
    require_text,
    require_whole,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.monitor.alerts.decision import (
    AlertRule,
    Decision,
    PageBudget,
    listed_rules,
)
from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport
from flytekitplugins.wbmon.monitor.service.slo_report import SLOReport
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.lifecycle import current_run
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Settings of `DegradationAlert`, where they are described."""

    rules: tuple[AlertRule, ...]
    channels: tuple[Channel, ...] = ()
    state_uri: str = ""
    remind_after: timedelta | None = None
    keep_nights: int = 60
    budget: PageBudget | None = field(default_factory=PageBudget)


class Decided(NamedTuple):
    """A decision, with primitive outputs for a `conditional`."""

    decision: Decision
    fired: bool
    severity: str


class DegradationAlert(Node[AlertSettings]):
    """Evaluate alert rules on the reports of a window, store the state and notify of changes.

    A change is an alert that starts to fire or is resolved. In a tracked task, alerts go to the W&B
    run. The addresses of other channels are secrets, which the node requests from Flyte. A channel
    that fails does not affect the others; what it did not accept is sent with the next window, if
    there is a `state_uri`. A page `….html` beside the state file shows the last windows.

    Args:
        name: The task's name.
        rules: One rule or more, with different titles.
        channels: Channels in addition to the W&B run; they need the extra `notify`.
        state_uri: The state file, `….json`, of this node alone: an fsspec URL (`file://` for a disk
            that all pods mount), outside a cluster also a path. Without it each window is evaluated
            alone, and a lasting fault is reported every time.
        remind_after: Time after which an alert that keeps firing is sent again; never if None.
        keep_nights: Number of windows on the page, which volumes are compared with, too.
        budget: How often all rules together may page by chance: once in a year of 365 windows if
            not given. A breach beyond it is `pending` until it lasts, which needs a `state_uri`.
            None lets every breach page.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no rule, two rules share a title or two channels a name, or a value
            is of another type or out of range. At night, if the state file is another monitor's.
    """

    shared_urls = ("state_uri",)

    def __init__(
        self,
        name: str,
        *,
        rules: Sequence[AlertRule],
        channels: Sequence[Channel] = (),
        state_uri: str = "",
        remind_after: timedelta | None = None,
        keep_nights: int = 60,
        budget: PageBudget | None = PageBudget(),  # noqa: B008 - it is frozen
        **task_kwargs: Any,
    ) -> None:
        rules = listed_rules(rules)
        if not rules:
            raise ConfigError(
                f"DegradationAlert {name!r} must have at least one rule, got none; "
                'for example AlertRule(metric="drift.drifted", above=0)'
            )
        require_whole("keep_nights", keep_nights, 1)
        if budget is not None and not isinstance(budget, PageBudget):
            raise ConfigError(
                f"budget must be a PageBudget or None, got {type(budget).__name__}; for example "
                "PageBudget(false_pages_per_year=2)"
            )
        settings = AlertSettings(
            rules=rules,
            channels=listed_channels(channels),
            state_uri=checked_uri("state_uri", state_uri),
            remind_after=checked_reminder(remind_after),
            keep_nights=int(keep_nights),
            budget=budget,
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
        steps: StepReport | None = None,
        prediction_log: CompactionReport | None = None,
        drift_series: DriftSeries | None = None,
        joint_drift: JointDrift | None = None,
        labels: LabelReport | None = None,
        at: datetime | None = None,
    ) -> Decided:
        """Evaluate the rules for one window.

        Args:
            drift: The report of `DriftCheck`; a missing one is a finding if a rule needs it.
            performance: The report of `PerformanceCheck`; likewise.
            scoring: The report of `batch_scoring`; likewise.
            estimate: A performance report made without labels; likewise.
            usage: The report of `TrackCost`; likewise.
            feedback: The report of `AnalyzeFeedback`; likewise.
            rag: The report of `EvaluateRAG`; likewise.
            evaluation: The report of `EvaluatePrompts` or `CompareModels`; likewise.
            slo: The report of `CheckSLO`; likewise. Its objectives are added to those of `scoring`.
            serving: The report of `SummarizeServing`; likewise.
            experiment: The report of `CompareVariants`; likewise.
            steps: The report of `AnalyzeSteps`; likewise.
            prediction_log: The report of `CompactPredictionLog`; likewise.
            drift_series: The report of `DriftSeriesCheck`; likewise.
            joint_drift: The result of `check_joint_drift`; likewise.
            labels: The report of `JoinFeedback`; likewise.
            at: Time of the window, such as the kickoff time of a schedule; now if not given. A
                window that is evaluated again with the same time counts once.

        Returns:
            decision: Every rule with its result and the reason, worst first.
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
            "steps": steps,
            "prediction_log": prediction_log,
            "drift_series": drift_series,
            "joint_drift": joint_drift,
            "labels": labels,
        }
        asked = {rule.metric.partition(".")[0] for rule in self.config.rules}
        # by what came, not by its argument: an estimate is no performance, whatever it is given as
        came: dict[str, Report] = {each.kind: each for each in reports.values() if each is not None}
        # a scoring report has objectives too, so it can answer rules on `slo`
        if "scoring" in came:
            came.setdefault("slo", came["scoring"])
        missing = missing_reports({name: came.get(name) for name in reports if name in asked})
        none = () if came or missing else ("no report came at all",)
        return decide(self, list(reports.values()), at=at, findings=(*missing, *none))


def decide(
    node: Node[Any],
    reports: Sequence[Any],
    *,
    at: datetime | None,
    findings: Sequence[str] = (),
) -> Decided:
    """Evaluate the rules, store the state and notify, with the settings of a node.

    Args:
        node: A node whose config has the attributes of `AlertSettings`.
        reports: The reports; None for one that is missing.
        at: Time of the window; now if None.
        findings: Problems of the monitor itself.
    """
    from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
    from flytekitplugins.wbmon.publish.alerts.send import usable_channels

    settings, identity = node.config, current_identity(node.name)
    is_local = identity.is_local
    decision = decide_and_notify(
        settings.rules,
        reports,
        at=datetime.now(timezone.utc) if at is None else moment("at", at),
        routing=AlertRouting(
            state_uri=settings.state_uri,
            channels=usable_channels(settings.channels) if is_local else settings.channels,
            remind_after=settings.remind_after,
            keep_nights=settings.keep_nights,
            budget=settings.budget,
            monitor=node.name,
            place="" if is_local else f"{identity.project}/{identity.domain}",
        ),
        run=current_run(),
        sender=sender_of(node),
        findings=findings,
        links=links_of(node, settings.state_uri),
    )
    return Decided(decision=decision, fired=decision.fired, severity=decision.severity)


def listed_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The channels of a node.

    Raises:
        ConfigError: If it is no sequence of channels.
    """
    channels = listed("channels", channels, "channels")
    wrong = [each for each in channels if not isinstance(each, Channel)]
    if wrong:
        # not the value, which may be an address with a password
        raise ConfigError(
            f"channels must hold Channels, got one {type(wrong[0]).__name__}; for example "
            "Channel(secret=Secret(group='alerts', key='slack'))"
        )
    return channels


def checked_uri(name: str, uri: str) -> str:
    """The path or URL of a file or a folder, without blanks around it; may be empty.

    Raises:
        ConfigError: If it is no text.
    """
    require_text(name, uri)
    return uri.strip()


def checked_reminder(remind_after: timedelta | None) -> timedelta | None:
    """The time after which an alert is told again.

    Raises:
        ConfigError: If it is not positive.
    """
    if remind_after is not None:
        require_duration("remind_after", remind_after)
    return remind_after


def with_channel_secrets(
    channels: Sequence[Channel], task_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Add the secrets of the channels to the secret requests of a task.

    Raises:
        ConfigError: If two channels share a name, or one is named `wandb`, as the W&B run is.
    """
    names = [channel.label for channel in channels]
    if len({*names, "wandb"}) <= len(names):
        raise ConfigError(
            f"channels must have different names, none of them 'wandb'; got {', '.join(names)}"
        )
    return request_secrets(task_kwargs, *(channel.secret for channel in channels))


def links_of(node: Node[Any], state_uri: str) -> dict[str, str]:
    """Links to the W&B run, the Flyte execution and the page of past windows."""
    from flytekitplugins.wbmon.publish.alerts.state_file import index_uri

    run, settings = current_run(), tracking_of(node)
    links = {
        "W&B run": run_url(settings, run.id) if run is not None and settings is not None else "",
        "Flyte execution": current_identity(node.name).execution_url,
        "All nights": index_uri(state_uri) if state_uri else "",
    }
    return {name: url for name, url in links.items() if url}


def sender_of(node: Node[Any]) -> str:
    """Identifies the sender of a notification, equal for all attempts; empty outside a pod."""
    identity = current_identity(node.name)
    return "" if identity.is_local else f"{identity.execution}/{identity.node}"
