"""A registry of prompt versions with aliases that are promoted and rolled back on record."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import (
    PromptHistory,
    PromptTemplate,
    PromptVersion,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.monitor.versions.files import VersionFiles
from flytekitplugins.wbmon.monitor.versions.history import (
    PRODUCTION,
    AliasDecision,
    decided,
    decided_otherwise,
    version_of,
)
from flytekitplugins.wbmon.monitor.versions.names import require_alias

CANDIDATE = "candidate"

logger = logging.getLogger(__name__)


class PromptFiles(VersionFiles[PromptHistory]):
    """The prompts of a service, one JSON file each.

    Args:
        uri: Path or fsspec URL of the folder.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    HISTORY = PromptHistory
    NOUN = "prompt"

    def publish(self, prompt: PromptTemplate, *, alias: str | None = None) -> PromptVersion:
        """Publish a prompt; equal messages are the same version.

        Args:
            prompt: The prompt to publish.
            alias: An alias to point at it, such as `candidate`, as for `promote`; None for none.

        Returns:
            The new or the existing version.

        Raises:
            ConfigError: If the prompt's name cannot be that of a file, or the alias is none.
            DataError: If the history is damaged.
            StorageError: If the store fails, or others keep writing.
        """
        if alias is not None:
            require_alias("alias", alias)
        history = self.history(prompt.name)
        known = {version.digest: version for version in history.versions}
        version = known.get(prompt.digest)
        if version is None:
            version = PromptVersion(
                name=prompt.name,
                digest=prompt.digest,
                weave_digest=self.publish_elsewhere(prompt),
                messages=prompt.messages,
                published_at=datetime.now(timezone.utc),
            )
            self._change(prompt.name, partial(_with_version, version=version))
        if alias is not None:
            self.promote(prompt.name, version.digest, alias=alias, reason="published")
        return version

    def promote_winner(self, name: str, report: EvaluationReport, *, by: str = "") -> bool:
        """Put the winner of an evaluation into production if the verdict is to ship it.

        It must rest on answers that came: where more of the baseline's or of the winner's failed
        than the report allows, as in an outage, or its budget left items out, nothing is promoted.
        Nor is it where production is no longer the baseline that the winner was compared with, the
        winner was rolled back, or the same comparison promoted it before: what people decided in
        between stands. Two that promote at the same time do not undo each other's decision, as
        far as the store can tell (`storage.compare_and_swap`).

        Returns:
            Whether anything changed.

        Raises:
            DataError: If the winner is no published version of this prompt.
        """
        if not report.ship:
            return False
        winner = next(each for each in report.variants if each.variant.name == report.winner)
        # a stored report of an earlier release says `ship` even after an outage of the winner
        if winner.failed_share > report.max_failed_share:
            return False
        evidence = _evidence(report)
        refusal = ""

        def change(history: PromptHistory) -> PromptHistory:
            nonlocal refusal
            refusal = _refusal(history, report.variants[0].digest, winner.digest, evidence)
            if refusal:
                return history
            version_of(history, winner.digest, noun=self.NOUN)
            decision = AliasDecision(
                alias=PRODUCTION,
                digest=winner.digest,
                reason=report.reason,
                by=by,
                evidence=evidence,
                at=datetime.now(timezone.utc),
            )
            return decided(history, decision)

        self._change(name, change)
        if refusal:
            logger.warning("%s of prompt %s is not promoted: %s", report.winner, name, refusal)
            return False
        self.mirror(name)
        return True

    def publish_elsewhere(self, prompt: PromptTemplate) -> str:  # noqa: ARG002 - for subclasses
        """Publish a new version to another place too; its digest there."""
        return ""


def _with_version(history: PromptHistory, *, version: PromptVersion) -> PromptHistory:
    if any(each.digest == version.digest for each in history.versions):
        return history
    return replace(history, versions=(*history.versions, version))


def _evidence(report: EvaluationReport) -> dict[str, float | str]:
    """The comparison that a verdict rests on; equal for the same answers to the same items."""
    evidence: dict[str, float | str] = {"evaluation": report.name, "metric": report.metric}
    for found in report.comparisons:
        if (found.candidate, found.metric) == (report.winner, report.metric):
            numbers = {
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "n": float(found.n),
            }
            # an interval may be open, and JSON has no infinity
            evidence |= {name: value for name, value in numbers.items() if math.isfinite(value)}
    return evidence


def _refusal(
    history: PromptHistory, baseline: str, winner: str, evidence: Mapping[str, float | str]
) -> str:
    """Why a winner is not to replace what is in production now; empty if it is."""
    production = history.aliases.get(PRODUCTION, "")
    if production == winner:
        return "it is in production"
    if production not in ("", baseline):
        return "production is not what it was compared with"
    return decided_otherwise(history, winner, alias=PRODUCTION, evidence=evidence)


def resolve_variants(
    variants: Sequence[Variant], registry: str, *, filesystem: Any = None
) -> list[Variant]:
    """Give variants without a prompt of their own the published one.

    Args:
        variants: What is to be compared.
        registry: Of the prompts, as for `PromptFiles`; may be empty if every variant has its own.
        filesystem: As for `PromptFiles`.

    Raises:
        ConfigError: If one has neither, or there is no registry to look in.
        DataError: If there is no such version.
    """
    return [each if each.prompt else _resolved(each, registry, filesystem) for each in variants]


def _resolved(variant: Variant, registry: str, filesystem: Any) -> Variant:
    if not variant.prompt_name or not registry:
        raise ConfigError(
            f"variant {variant.name!r} must have a prompt, or a prompt_name and a registry to "
            "find it in"
        )
    prompts = PromptFiles(registry, filesystem=filesystem)
    found = prompts.get(variant.prompt_name, variant.prompt_version or PRODUCTION)
    return replace(variant, prompt=found.messages, prompt_version=found.digest)
