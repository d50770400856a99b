"""A registry of prompt versions with aliases that are promoted and rolled back on record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import (
    PromptDecision,
    PromptHistory,
    PromptTemplate,
    PromptVersion,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file

PRODUCTION = "production"
CANDIDATE = "candidate"
_SHORTEST_DIGEST = 6
_ATTEMPTS = 5

logger = logging.getLogger(__name__)


class PromptFiles:
    """The prompts of a service, one JSON file each.

    Args:
        uri: Path or fsspec URL of the folder.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    def __init__(self, uri: str, *, filesystem: Any = None) -> None:
        self.uri = uri
        self._files, self._root = open_filesystem(uri, filesystem=filesystem)

    def history(self, name: str) -> PromptHistory:
        """Versions, aliases and decisions of a prompt; empty for a new one."""
        return self._read(name)[0]

    def publish(self, prompt: PromptTemplate, *, alias: str | None = None) -> PromptVersion:
        """Publish a prompt; equal messages are the same version.

        Args:
            prompt: The prompt to publish.
            alias: An alias to point at it, such as `candidate`; None for none.

        Returns:
            The new or the existing version.
        """
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
            self._save(replace(history, versions=(*history.versions, version)))
        if alias is not None:
            self.promote(prompt.name, version.digest, alias=alias, reason="published")
        return version

    def get(self, name: str, which: str = PRODUCTION) -> PromptVersion:
        """A version by alias, by digest, or by the first characters of one.

        Raises:
            DataError: If there is none, or there are several.
        """
        return _version(self.history(name), which)

    def promote(
        self,
        name: str,
        which: str,
        *,
        alias: str = PRODUCTION,
        reason: str,
        by: str = "",
        evidence: Mapping[str, float | str] | None = None,
    ) -> PromptDecision:
        """Point an alias at a version, and record the decision.

        Args:
            name: Name of the prompt.
            which: The version, by digest or by another alias.
            alias: The alias to set.
            reason: Reason for the decision; required.
            by: Person or execution that decides.
            evidence: Numbers that support the decision.

        Raises:
            ConfigError: If no reason is given.
            DataError: If there is no such version.
        """
        if not reason.strip():
            raise ConfigError("a decision about a prompt must have a reason, got none")
        version = self.get(name, which)
        history = _decided(
            self.history(name), version, alias=alias, reason=reason, by=by, evidence=evidence or {}
        )
        self._save(history)
        self.mirror(name)
        return history.decisions[-1]

    def promote_winner(self, name: str, report: EvaluationReport, *, by: str = "") -> bool:
        """Put the winner of an evaluation into production if the verdict is to ship it.

        It must rest on answers that came: where more of the baseline's or of the winner's failed
        than the report allows, as in an outage, or its budget left items out, nothing is promoted.
        Nor is it where production is no longer the baseline that the winner was compared with, or
        the same comparison promoted the winner before and it was rolled back: what people decided
        in between stands. Two that promote at the same time do not undo each other's decision, as
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
        for _ in range(_ATTEMPTS):
            before, version = self._read(name)
            if refusal := _refusal(before, report.variants[0].digest, winner.digest, evidence):
                logger.warning("%s of prompt %s is not promoted: %s", report.winner, name, refusal)
                return False
            after = _decided(
                before,
                _version(before, winner.digest),
                alias=PRODUCTION,
                reason=report.reason,
                by=by,
                evidence=evidence,
            )
            data = record_to_json(after).encode()
            if replace_file(self._files, self._path(name), data, version):
                self.mirror(name)
                return True
        logger.warning("%s of prompt %s is not promoted: others keep writing", report.winner, name)
        return False

    def roll_back(
        self, name: str, *, alias: str = PRODUCTION, reason: str, by: str = ""
    ) -> PromptDecision:
        """Point an alias at the version it pointed to before.

        Raises:
            DataError: If it never pointed elsewhere.
        """
        history = self.history(name)
        # decisions that did not move the alias are no step to go back from
        before = [d.before for d in history.decisions if d.alias == alias and d.before != d.digest]
        if not before or not before[-1]:
            raise DataError(
                f"alias {alias!r} of prompt {name!r} must have a version before this one"
            )
        return self.promote(name, before[-1], alias=alias, reason=reason, by=by)

    def publish_elsewhere(self, prompt: PromptTemplate) -> str:  # noqa: ARG002 - for subclasses
        """Publish a new version to another place too; its digest there."""
        return ""

    def mirror(self, name: str) -> None:
        """Show where the aliases of a prompt point in another place too; for subclasses."""

    def _path(self, name: str) -> str:
        if not name or set(name) & set("/\\"):
            raise ConfigError(
                f"a prompt's name must be without slashes and not empty, got {name!r}"
            )
        return f"{self._root}/{name}.json"

    def _read(self, name: str) -> tuple[PromptHistory, Version]:
        data, version = read_file(self._files, self._path(name))
        if data is None:
            return PromptHistory(name=name), version
        return record_from_json(PromptHistory, data), version

    def _save(self, history: PromptHistory) -> None:
        write_file(self._files, self._path(history.name), record_to_json(history).encode())


def _version(history: PromptHistory, which: str) -> PromptVersion:
    wanted = history.aliases.get(which, which)
    found = [
        version
        for version in history.versions
        if version.digest == wanted
        or (len(wanted) >= _SHORTEST_DIGEST and version.digest.startswith(wanted))
    ]
    if len(found) != 1:
        raise DataError(
            f"prompt {history.name!r} must have exactly one version {which!r}, found {len(found)}; "
            f"it has {', '.join(v.digest[:12] for v in history.versions) or 'no version'} and "
            f"{', '.join(sorted(history.aliases)) or 'no alias'}"
        )
    return found[0]


def _decided(
    history: PromptHistory,
    version: PromptVersion,
    *,
    alias: str,
    reason: str,
    by: str,
    evidence: Mapping[str, float | str],
) -> PromptHistory:
    """The history with an alias that points at a version, and why."""
    decision = PromptDecision(
        alias=alias,
        digest=version.digest,
        before=history.aliases.get(alias, ""),
        reason=reason,
        by=by,
        evidence=dict(evidence),
        at=datetime.now(timezone.utc),
    )
    return replace(
        history,
        aliases={**history.aliases, alias: version.digest},
        decisions=(*history.decisions, decision),
    )


def _evidence(report: EvaluationReport) -> dict[str, float | str]:
    """The comparison that a verdict rests on; equal for the same answers to the same items."""
    evidence: dict[str, float | str] = {"evaluation": report.name, "metric": report.metric}
    for found in report.comparisons:
        if (found.candidate, found.metric) == (report.winner, report.metric):
            evidence |= {
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "n": float(found.n),
            }
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
    if any(
        (each.alias, each.digest) == (PRODUCTION, winner) and each.evidence == evidence
        for each in history.decisions
    ):
        return "this comparison put it into production before, and it was rolled back"
    return ""


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
