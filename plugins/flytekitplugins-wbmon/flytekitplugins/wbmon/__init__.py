"""Production model monitoring as Flyte tasks, recorded in Weights & Biases.

Every container that runs a task pays for this import, so a name is loaded when it is first asked
for, and none of wandb, numpy, scipy, pandas or pyarrow is loaded before a function needs it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.lazy_names import lazy_names

__version__ = "0.2.0"

if TYPE_CHECKING:
    from flytekitplugins.wbmon.data.join_labels import join_labels
    from flytekitplugins.wbmon.monitor.alerts.decision import (
        Alert,
        AlertRule,
        Decision,
        PageBudget,
    )
    from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
    from flytekitplugins.wbmon.monitor.alerts.rule_file import load_rules
    from flytekitplugins.wbmon.monitor.drift.check import check_drift
    from flytekitplugins.wbmon.monitor.drift.joint import check_joint_drift
    from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
    from flytekitplugins.wbmon.monitor.drift.report import DriftReport
    from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
    from flytekitplugins.wbmon.monitor.drift.series import drift_series
    from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
    from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
    from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
        Answer,
        EvaluationReport,
    )
    from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule
    from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
    from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
    from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport, RAGRule
    from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
    from flytekitplugins.wbmon.monitor.performance.check import check_performance
    from flytekitplugins.wbmon.monitor.performance.estimate import estimate_performance
    from flytekitplugins.wbmon.monitor.performance.estimate_regression import (
        estimate_loss,
        fit_loss_model,
    )
    from flytekitplugins.wbmon.monitor.performance.importance import permutation_importance
    from flytekitplugins.wbmon.monitor.performance.loss_model import LossModel
    from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
    from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
    from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
    from flytekitplugins.wbmon.monitor.profiles.profile import Profile
    from flytekitplugins.wbmon.monitor.profiles.windows import profile_windows
    from flytekitplugins.wbmon.monitor.references.files import ReferenceFiles
    from flytekitplugins.wbmon.monitor.samples.rows import Sample
    from flytekitplugins.wbmon.monitor.scoring.report import (
        ScoringReport,
        Watch,
    )
    from flytekitplugins.wbmon.monitor.scoring.slo import SLO
    from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
    from flytekitplugins.wbmon.monitor.service.report import ServingReport
    from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO, SLOReport
    from flytekitplugins.wbmon.publish.alerts.channel import Channel
    from flytekitplugins.wbmon.run.config_file import WandbConfig
    from flytekitplugins.wbmon.run.decorator import wandb_init
    from flytekitplugins.wbmon.run.lifecycle import current_run
    from flytekitplugins.wbmon.stats.sequential import Cusum, PageHinkley
    from flytekitplugins.wbmon.tasks.alerts import DegradationAlert
    from flytekitplugins.wbmon.tasks.cost import TrackCost
    from flytekitplugins.wbmon.tasks.drift import DriftCheck, DriftSeriesCheck
    from flytekitplugins.wbmon.tasks.estimate import EstimateLoss, EstimatePerformance, FitLossModel
    from flytekitplugins.wbmon.tasks.evaluation import AnswerPrompts, CompareModels, EvaluatePrompts
    from flytekitplugins.wbmon.tasks.experiment import CompareVariants
    from flytekitplugins.wbmon.tasks.failure import MonitorFailure
    from flytekitplugins.wbmon.tasks.feedback import AnalyzeFeedback
    from flytekitplugins.wbmon.tasks.heartbeat import DeadManCheck
    from flytekitplugins.wbmon.tasks.importance import FeatureImportance
    from flytekitplugins.wbmon.tasks.join_labels import JoinLabels
    from flytekitplugins.wbmon.tasks.performance import PerformanceCheck
    from flytekitplugins.wbmon.tasks.prediction_log import CompactPredictionLog, JoinFeedback
    from flytekitplugins.wbmon.tasks.profiles import MergeProfiles, ProfileData
    from flytekitplugins.wbmon.tasks.rag import EvaluateRAG
    from flytekitplugins.wbmon.tasks.references import LoadReference, PromoteReference
    from flytekitplugins.wbmon.tasks.scoring import batch_scoring
    from flytekitplugins.wbmon.tasks.service import CheckSLO, SummarizeServing
    from flytekitplugins.wbmon.tasks.steps import AnalyzeSteps
    from flytekitplugins.wbmon.tasks.wandb_sync import SyncOfflineRuns, TagBest
    from flytekitplugins.wbmon.tasks.weave_sync import ReplayToWeave, SyncOfflineTraces

_HOMES = {
    "SLO": "monitor.scoring.slo",
    "Alert": "monitor.alerts.decision",
    "AlertRule": "monitor.alerts.decision",
    "AnalyzeFeedback": "tasks.feedback",
    "AnalyzeSteps": "tasks.steps",
    "Answer": "monitor.llm.evaluation.report",
    "AnswerPrompts": "tasks.evaluation",
    "Channel": "publish.alerts.channel",
    "CheckSLO": "tasks.service",
    "CompactPredictionLog": "tasks.prediction_log",
    "CompactionReport": "monitor.prediction_log.report",
    "CompareModels": "tasks.evaluation",
    "CompareVariants": "tasks.experiment",
    "Cusum": "stats.sequential",
    "DeadManCheck": "tasks.heartbeat",
    "Decision": "monitor.alerts.decision",
    "DegradationAlert": "tasks.alerts",
    "DriftCheck": "tasks.drift",
    "DriftReport": "monitor.drift.report",
    "DriftRule": "monitor.drift.rule",
    "DriftSeries": "monitor.drift.series_report",
    "DriftSeriesCheck": "tasks.drift",
    "EstimateLoss": "tasks.estimate",
    "EstimatePerformance": "tasks.estimate",
    "EvaluatePrompts": "tasks.evaluation",
    "EvaluateRAG": "tasks.rag",
    "EvaluationReport": "monitor.llm.evaluation.report",
    "EvaluationRule": "monitor.llm.evaluation.rule",
    "ExperimentReport": "monitor.service.experiment_report",
    "FeatureImportance": "tasks.importance",
    "FeedbackReport": "monitor.llm.feedback.report",
    "FitLossModel": "tasks.estimate",
    "JoinFeedback": "tasks.prediction_log",
    "JoinLabels": "tasks.join_labels",
    "JointDrift": "monitor.drift.joint_report",
    "LabelReport": "monitor.prediction_log.report",
    "LoadReference": "tasks.references",
    "LossModel": "monitor.performance.loss_model",
    "MergeProfiles": "tasks.profiles",
    "MonitorFailure": "tasks.failure",
    "PageHinkley": "stats.sequential",
    "PageBudget": "monitor.alerts.decision",
    "PerformanceCheck": "tasks.performance",
    "PerformanceReport": "monitor.performance.report",
    "Profile": "monitor.profiles.profile",
    "ProfileData": "tasks.profiles",
    "PromoteReference": "tasks.references",
    "RAGReport": "monitor.llm.rag.report",
    "RAGRule": "monitor.llm.rag.report",
    "ReferenceFiles": "monitor.references.files",
    "ReplayToWeave": "tasks.weave_sync",
    "SLOReport": "monitor.service.slo_report",
    "Sample": "monitor.samples.rows",
    "ScoringReport": "monitor.scoring.report",
    "ServingReport": "monitor.service.report",
    "ServingSLO": "monitor.service.slo_report",
    "StepReport": "monitor.llm.steps.report",
    "SummarizeServing": "tasks.service",
    "SyncOfflineRuns": "tasks.wandb_sync",
    "SyncOfflineTraces": "tasks.weave_sync",
    "TagBest": "tasks.wandb_sync",
    "TrackCost": "tasks.cost",
    "UsageReport": "monitor.llm.cost.report",
    "Variant": "monitor.llm.evaluation.variant",
    "WandbConfig": "run.config_file",
    "Watch": "monitor.scoring.report",
    "batch_scoring": "tasks.scoring",
    "check_drift": "monitor.drift.check",
    "check_joint_drift": "monitor.drift.joint",
    "check_performance": "monitor.performance.check",
    "current_run": "run.lifecycle",
    "drift_series": "monitor.drift.series",
    "estimate_loss": "monitor.performance.estimate_regression",
    "estimate_performance": "monitor.performance.estimate",
    "evaluate_rules": "monitor.alerts.evaluate",
    "fit_loss_model": "monitor.performance.estimate_regression",
    "join_labels": "data.join_labels",
    "load_rules": "monitor.alerts.rule_file",
    "merge_profiles": "monitor.profiles.build",
    "permutation_importance": "monitor.performance.importance",
    "profile_data": "monitor.profiles.build",
    "profile_windows": "monitor.profiles.windows",
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
    "EstimateLoss",
    "EstimatePerformance",
    "EvaluatePrompts",
    "EvaluateRAG",
    "EvaluationReport",
    "EvaluationRule",
    "ExperimentReport",
    "FeatureImportance",
    "FeedbackReport",
    "FitLossModel",
    "JoinFeedback",
    "JoinLabels",
    "JointDrift",
    "LabelReport",
    "LoadReference",
    "LossModel",
    "MergeProfiles",
    "MonitorFailure",
    "PageBudget",
    "PageHinkley",
    "PerformanceCheck",
    "PerformanceReport",
    "Profile",
    "ProfileData",
    "PromoteReference",
    "RAGReport",
    "RAGRule",
    "ReferenceFiles",
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
    "estimate_loss",
    "estimate_performance",
    "evaluate_rules",
    "fit_loss_model",
    "join_labels",
    "load_rules",
    "merge_profiles",
    "permutation_importance",
    "profile_data",
    "profile_windows",
    "wandb_init",
]


def _teach_flytekit(home: str) -> None:
    if (
        home.endswith(("report", ".profile", ".decision", ".loss_model"))
        and "flytekit" in sys.modules
    ):
        # a user's own task may take a record without any of our nodes being loaded
        import_module("flytekitplugins.wbmon.flyte.type_transformers")


__getattr__, __dir__ = lazy_names(__name__, _HOMES, before=_teach_flytekit)

if "flytekit" in sys.modules:
    from flytekitplugins.wbmon.flyte.local_cache import keep_working_beside_weave

    keep_working_beside_weave()
