"""Production model monitoring as Flyte tasks, recorded in Weights & Biases.

Every container that runs a task pays for this import, so a name is loaded when it is first asked
for, and none of wandb, numpy, scipy, pandas or pyarrow is loaded before a function needs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.alerting import evaluate_rules
    from flytekitplugins.wbmon.monitor.drift import check_drift
    from flytekitplugins.wbmon.monitor.estimating import estimate_performance
    from flytekitplugins.wbmon.monitor.importance import permutation_importance
    from flytekitplugins.wbmon.monitor.joint import check_joint_drift
    from flytekitplugins.wbmon.monitor.late_labels import join_labels
    from flytekitplugins.wbmon.monitor.performance import check_performance
    from flytekitplugins.wbmon.monitor.profiling import merge_profiles, profile_data
    from flytekitplugins.wbmon.monitor.rule_file import load_rules
    from flytekitplugins.wbmon.monitor.series import drift_series
    from flytekitplugins.wbmon.monitor.windows import profile_windows
    from flytekitplugins.wbmon.publish.channel import Channel
    from flytekitplugins.wbmon.records.alert import Alert, AlertRule, Decision
    from flytekitplugins.wbmon.records.compaction import CompactionReport
    from flytekitplugins.wbmon.records.drift import (
        DriftReport,
        DriftRule,
        DriftSeries,
        JointDrift,
    )
    from flytekitplugins.wbmon.records.evaluation import (
        Answer,
        EvaluationReport,
        EvaluationRule,
        Variant,
    )
    from flytekitplugins.wbmon.records.experiment import ExperimentReport
    from flytekitplugins.wbmon.records.feedback import FeedbackReport
    from flytekitplugins.wbmon.records.performance import PerformanceReport
    from flytekitplugins.wbmon.records.profile import Profile
    from flytekitplugins.wbmon.records.rag import RAGReport, RAGRule
    from flytekitplugins.wbmon.records.scoring import SLO, Sample, ScoringReport, Watch
    from flytekitplugins.wbmon.records.serving import ServingReport, ServingSLO, SLOReport
    from flytekitplugins.wbmon.records.steps import StepReport
    from flytekitplugins.wbmon.records.usage import UsageReport
    from flytekitplugins.wbmon.run.config import WandbConfig
    from flytekitplugins.wbmon.run.decorator import wandb_init
    from flytekitplugins.wbmon.run.lifecycle import current_run
    from flytekitplugins.wbmon.stats.sequential import Cusum, PageHinkley
    from flytekitplugins.wbmon.tasks.alerting import DegradationAlert
    from flytekitplugins.wbmon.tasks.dead_man import DeadManCheck
    from flytekitplugins.wbmon.tasks.drift import DriftCheck, DriftSeriesCheck
    from flytekitplugins.wbmon.tasks.estimating import EstimatePerformance
    from flytekitplugins.wbmon.tasks.evaluation import AnswerPrompts, CompareModels, EvaluatePrompts
    from flytekitplugins.wbmon.tasks.experiment import CompareVariants
    from flytekitplugins.wbmon.tasks.failure import MonitorFailure
    from flytekitplugins.wbmon.tasks.feedback import AnalyzeFeedback
    from flytekitplugins.wbmon.tasks.importance import FeatureImportance
    from flytekitplugins.wbmon.tasks.late_labels import JoinLabels
    from flytekitplugins.wbmon.tasks.performance import PerformanceCheck
    from flytekitplugins.wbmon.tasks.prediction_log import CompactPredictionLog, JoinFeedback
    from flytekitplugins.wbmon.tasks.profiling import MergeProfiles, ProfileData
    from flytekitplugins.wbmon.tasks.rag import EvaluateRAG
    from flytekitplugins.wbmon.tasks.scoring import batch_scoring
    from flytekitplugins.wbmon.tasks.serving import CheckSLO, SummarizeServing
    from flytekitplugins.wbmon.tasks.steps import AnalyzeSteps
    from flytekitplugins.wbmon.tasks.sync import SyncOfflineRuns, TagBest
    from flytekitplugins.wbmon.tasks.traces import ReplayToWeave, SyncOfflineTraces
    from flytekitplugins.wbmon.tasks.usage import TrackCost

_HOMES = {
    "SLO": "records.scoring",
    "Alert": "records.alert",
    "AlertRule": "records.alert",
    "AnalyzeFeedback": "tasks.feedback",
    "AnalyzeSteps": "tasks.steps",
    "Answer": "records.evaluation",
    "AnswerPrompts": "tasks.evaluation",
    "Channel": "publish.channel",
    "CheckSLO": "tasks.serving",
    "CompactPredictionLog": "tasks.prediction_log",
    "CompactionReport": "records.compaction",
    "CompareModels": "tasks.evaluation",
    "CompareVariants": "tasks.experiment",
    "Cusum": "stats.sequential",
    "DeadManCheck": "tasks.dead_man",
    "Decision": "records.alert",
    "DegradationAlert": "tasks.alerting",
    "DriftCheck": "tasks.drift",
    "DriftReport": "records.drift",
    "DriftRule": "records.drift",
    "DriftSeries": "records.drift",
    "DriftSeriesCheck": "tasks.drift",
    "EstimatePerformance": "tasks.estimating",
    "EvaluatePrompts": "tasks.evaluation",
    "EvaluateRAG": "tasks.rag",
    "EvaluationReport": "records.evaluation",
    "EvaluationRule": "records.evaluation",
    "ExperimentReport": "records.experiment",
    "FeatureImportance": "tasks.importance",
    "FeedbackReport": "records.feedback",
    "JoinFeedback": "tasks.prediction_log",
    "JoinLabels": "tasks.late_labels",
    "JointDrift": "records.drift",
    "MergeProfiles": "tasks.profiling",
    "MonitorFailure": "tasks.failure",
    "PageHinkley": "stats.sequential",
    "PerformanceCheck": "tasks.performance",
    "PerformanceReport": "records.performance",
    "Profile": "records.profile",
    "ProfileData": "tasks.profiling",
    "RAGReport": "records.rag",
    "RAGRule": "records.rag",
    "ReplayToWeave": "tasks.traces",
    "SLOReport": "records.serving",
    "Sample": "records.scoring",
    "ScoringReport": "records.scoring",
    "ServingReport": "records.serving",
    "ServingSLO": "records.serving",
    "StepReport": "records.steps",
    "SummarizeServing": "tasks.serving",
    "SyncOfflineRuns": "tasks.sync",
    "SyncOfflineTraces": "tasks.traces",
    "TagBest": "tasks.sync",
    "TrackCost": "tasks.usage",
    "UsageReport": "records.usage",
    "Variant": "records.evaluation",
    "WandbConfig": "run.config",
    "Watch": "records.scoring",
    "batch_scoring": "tasks.scoring",
    "check_drift": "monitor.drift",
    "check_joint_drift": "monitor.joint",
    "check_performance": "monitor.performance",
    "current_run": "run.lifecycle",
    "drift_series": "monitor.series",
    "estimate_performance": "monitor.estimating",
    "evaluate_rules": "monitor.alerting",
    "join_labels": "monitor.late_labels",
    "load_rules": "monitor.rule_file",
    "merge_profiles": "monitor.profiling",
    "permutation_importance": "monitor.importance",
    "profile_data": "monitor.profiling",
    "profile_windows": "monitor.windows",
    "wandb_init": "run.decorator",
}
__all__ = [
    "SLO",
    "Alert",
    "AlertRule",
    "AnalyzeFeedback",
    "AnalyzeSteps",
    "Answer",
    "AnswerPrompts",
    "Channel",
    "CheckSLO",
    "CompactPredictionLog",
    "CompactionReport",
    "CompareModels",
    "CompareVariants",
    "Cusum",
    "DeadManCheck",
    "Decision",
    "DegradationAlert",
    "DriftCheck",
    "DriftReport",
    "DriftRule",
    "DriftSeries",
    "DriftSeriesCheck",
    "EstimatePerformance",
    "EvaluatePrompts",
    "EvaluateRAG",
    "EvaluationReport",
    "EvaluationRule",
    "ExperimentReport",
    "FeatureImportance",
    "FeedbackReport",
    "JoinFeedback",
    "JoinLabels",
    "JointDrift",
    "MergeProfiles",
    "MonitorFailure",
    "PageHinkley",
    "PerformanceCheck",
    "PerformanceReport",
    "Profile",
    "ProfileData",
    "RAGReport",
    "RAGRule",
    "ReplayToWeave",
    "SLOReport",
    "Sample",
    "ScoringReport",
    "ServingReport",
    "ServingSLO",
    "StepReport",
    "SummarizeServing",
    "SyncOfflineRuns",
    "SyncOfflineTraces",
    "TagBest",
    "TrackCost",
    "UsageReport",
    "Variant",
    "WandbConfig",
    "Watch",
    "batch_scoring",
    "check_drift",
    "check_joint_drift",
    "check_performance",
    "current_run",
    "drift_series",
    "estimate_performance",
    "evaluate_rules",
    "join_labels",
    "load_rules",
    "merge_profiles",
    "permutation_importance",
    "profile_data",
    "profile_windows",
    "wandb_init",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOMES[name].startswith("records.") and "flytekit" in sys.modules:
        # a user's own task may take a record without any of our nodes being loaded
        import_module(f"{__name__}.tasks._types")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "flytekit" in sys.modules:
    from flytekitplugins.wbmon.run.local_cache import keep_working_beside_weave

    keep_working_beside_weave()
