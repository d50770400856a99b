"""The history of one name: its versions, where its aliases point, and every decision about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from math import isfinite
from typing import Any, TypeVar

from flytekitplugins.wbmon.arguments import require_text
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.versions.names import SHORTEST_DIGEST
from flytekitplugins.wbmon.names import quoted_name, shown_name

H = TypeVar("H", bound="VersionHistory")

PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasDecision:
    """Why an alias points where it points.

    Attributes:
        alias: Such as `production`.
        digest: The version it was set to.
        before: The version it pointed to; empty if to none.
        reason: In words.
        by: Who or what decided: a person, an execution.
        evidence: Numbers it rests on, such as those of a comparison.
        at: When, UTC.
        rolled_back: Whether it went back to what was there before.
    """

    alias: str
    digest: str
    before: str = ""
    reason: str
    by: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    at: datetime
    rolled_back: bool = False

    def __post_init__(self) -> None:
        """Check what anyone may have written into the file; a time without a zone is UTC."""
        if any(isinstance(each, float) and not isfinite(each) for each in self.evidence.values()):
            raise ValueError("the numbers of the evidence of a decision must be finite")
        if self.at.tzinfo is None:
            object.__setattr__(self, "at", self.at.replace(tzinfo=timezone.utc))


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionHistory:
    """All versions of one name, its aliases, and every decision about them, oldest first.

    Attributes:
        name: The name.
        versions: Its versions; each has a `digest`.
        aliases: The digest that each alias points at.
        decisions: Every decision.
    """

    name: str
    versions: tuple[Any, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    decisions: tuple[AliasDecision, ...] = ()


def version_of(
    history: VersionHistory, which: str, *, noun: str, at: datetime | None = None
) -> Any:
    """A version by digest, by alias, or by the first characters of a digest.

    A whole digest is that version, whatever an earlier release took for an alias.

    Args:
        history: The history.
        which: The alias or digest.
        noun: What has the name, in error messages.
        at: Where the alias pointed then; now by default.

    Raises:
        ConfigError: If `which` is no text.
        DataError: If there is none, or there are several.
    """
    require_text("which", which)
    found = _found(history, which, at)
    if len(found) != 1:
        when = f" at {at:%Y-%m-%d %H:%M} UTC" if at else ""
        raise DataError(
            f"{noun} {history.name!r} must have exactly one version {quoted_name(which)}{when}, "
            f"found {len(found)}; it has "
            f"{', '.join(v.digest[:12] for v in history.versions) or 'no'} version and "
            f"{', '.join(map(shown_name, sorted(history.aliases))) or 'no'} alias"
        )
    return found[0]


def decided(history: H, decision: AliasDecision) -> H:
    """The history after a decision."""
    decision = replace(decision, before=history.aliases.get(decision.alias, ""))
    return replace(
        history,
        aliases={**history.aliases, decision.alias: decision.digest},
        decisions=(*history.decisions, decision),
    )


def digest_before(history: VersionHistory, alias: str) -> str:
    """The version that an alias is rolled back to; empty if there is none.

    What was rolled back is not gone back to: after A, B, C and a roll-back to B, it is A.
    """
    path = [""]
    for decision in history.decisions:
        # decisions that did not move the alias are no step to go back from
        if decision.alias != alias or decision.before == decision.digest:
            continue
        if decision.rolled_back:
            while path[-1] not in ("", decision.digest):
                path.pop()
        else:
            path.append(decision.digest)
    # the current version may stand there twice, with what was rolled back in between
    left = {*path} - _withdrawn(history, alias) - {path[-1]}
    return next((each for each in reversed(path) if each in left), "")


def decided_otherwise(
    history: VersionHistory, digest: str, *, alias: str, evidence: Mapping[str, Any]
) -> str:
    """Why a program must not point an alias at a version again; empty if it may.

    A person rolled it back, or it was promoted on the same evidence and replaced since.
    """
    if digest in _withdrawn(history, alias):
        return f"it was rolled back from {alias}, and is promoted again only by hand"
    same = any(
        (each.alias, each.digest) == (alias, digest) and each.evidence == evidence
        for each in history.decisions
    )
    return f"{alias} pointed at it before on the same evidence, and was moved since" if same else ""


def _withdrawn(history: VersionHistory, alias: str) -> set[str]:
    """The versions that were rolled back from an alias, and not promoted since."""
    found: set[str] = set()
    for each in history.decisions:
        if each.alias == alias and each.rolled_back:
            found.add(each.before)
        elif each.alias == alias:
            found.discard(each.digest)
    return found


def _found(history: VersionHistory, which: str, at: datetime | None) -> list[Any]:
    whole = [version for version in history.versions if version.digest == which]
    if whole:
        return whole
    pointed = _digest_at(history, which, at)
    is_beginning = len(which) >= SHORTEST_DIGEST
    return [
        version
        for version in history.versions
        if version.digest == pointed or (is_beginning and version.digest.startswith(which))
    ]


def _digest_at(history: VersionHistory, alias: str, at: datetime | None) -> str:
    """The digest that an alias points at; empty if at none."""
    if at is None:
        return history.aliases.get(alias, "")
    past = [each.digest for each in history.decisions if each.alias == alias and each.at <= at]
    return past[-1] if past else ""
