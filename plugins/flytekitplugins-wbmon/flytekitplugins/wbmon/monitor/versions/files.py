"""Histories as small files that are replaced only if nobody else has changed them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar, Generic, TypeVar

from flytekitplugins.wbmon.arguments import require_text
from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError
from flytekitplugins.wbmon.monitor.versions.evidence import recorded_evidence
from flytekitplugins.wbmon.monitor.versions.history import (
    PRODUCTION,
    AliasDecision,
    VersionHistory,
    decided,
    digest_before,
    version_of,
)
from flytekitplugins.wbmon.monitor.versions.names import require_alias, require_name
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

H = TypeVar("H", bound=VersionHistory)

_ATTEMPTS = 12
_PAUSE_S = 0.05


class VersionFiles(Generic[H]):
    """A folder with one history of each name.

    Of two writers at the same time, neither undoes what the other one decided, as far as the store
    can tell (`storage.compare_and_swap`).

    Args:
        uri: Path or fsspec URL of the folder.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    HISTORY: ClassVar[type[Any]]
    # what has the name, in error messages
    NOUN: ClassVar[str]

    def __init__(self, uri: str, *, filesystem: Any = None) -> None:
        self.uri = uri
        self._files, self._root = open_filesystem(uri, filesystem=filesystem)

    def history(self, name: str) -> H:
        """Versions, aliases and decisions of a name; empty for a new one."""
        return self._read(name)[0]

    def get(self, name: str, which: str = PRODUCTION) -> Any:
        """A version by digest, by alias, or by the first characters of a digest.

        Raises:
            ConfigError: If `which` is no text.
            DataError: If there is none, or there are several.
        """
        return version_of(self.history(name), which, noun=self.NOUN)

    def promote(
        self,
        name: str,
        which: str,
        *,
        alias: str = PRODUCTION,
        reason: str,
        by: str = "",
        evidence: Mapping[str, float | str] | None = None,
        replaces: str | None = None,
    ) -> AliasDecision:
        """Point an alias at a version, and record the decision.

        Args:
            name: The name.
            which: The version, by digest or by another alias.
            alias: The alias to set: letters of a to z, digits, `.`, `_` and `-`. It must not read
                like a digest (six or more of the digits 0-9 and a-f).
            reason: Reason for the decision; required.
            by: Person or execution that decides.
            evidence: Numbers that support the decision; finite ones, also of numpy, or text.
            replaces: The digest that the alias must point at, such as that of the version it was
                compared with, empty for none; None for any.

        Raises:
            ConfigError: If no reason is given, or an argument is of another form.
            DataError: If there is no such version, its content cannot be read, or the alias points
                at another than `replaces`.
            StorageError: If the store fails, or others keep writing.
        """
        _require_reason(reason, self.NOUN)
        require_alias("alias", alias)
        require_text("by", by)
        if replaces is not None:
            require_text("replaces", replaces)
        numbers = recorded_evidence(evidence)

        def change(history: H) -> H:
            digest = version_of(history, which, noun=self.NOUN).digest
            self._require_current(history, alias, replaces)
            self._require_readable(name, digest)
            return decided(history, _decision(alias, digest, reason, by, numbers))

        return self._decide(name, change)

    def roll_back(
        self, name: str, *, alias: str = PRODUCTION, reason: str, by: str = ""
    ) -> AliasDecision:
        """Point an alias at the version before; what was rolled back is not gone back to.

        Raises:
            ConfigError: If no reason is given, or an argument is of another form.
            DataError: If it never pointed elsewhere, or that version's content cannot be read.
            StorageError: If the store fails, or others keep writing.
        """
        _require_reason(reason, self.NOUN)
        require_text("alias", alias)
        require_text("by", by)

        def change(history: H) -> H:
            digest = digest_before(history, alias)
            if not digest:
                raise DataError(
                    f"alias {alias!r} of {self.NOUN} {name!r} must have a version before this one"
                )
            self._require_readable(name, digest)
            return decided(history, _decision(alias, digest, reason, by, {}, rolled_back=True))

        return self._decide(name, change)

    def mirror(self, name: str) -> None:
        """Show where the aliases of a name point in another place too; for subclasses."""

    def _require_readable(self, name: str, digest: str) -> None:
        """Refuse a version that nobody can read; for subclasses that keep contents elsewhere."""

    def _decide(self, name: str, change: Callable[[H], H]) -> AliasDecision:
        after = self._change(name, change)
        self.mirror(name)
        return after.decisions[-1]

    def _change(self, name: str, change: Callable[[H], H]) -> H:
        """Change a history; `change` is called again where somebody else has written meanwhile."""
        path = self._path(name)
        for attempt in range(_ATTEMPTS):
            before, version = self._read(name)
            after = change(before)
            if after is before:
                return after
            data = record_to_json(after).encode()
            if replace_file(self._files, path, data, version):
                return after
            time.sleep(_PAUSE_S * attempt)
        raise StorageError(
            f"{self.NOUN} {name!r} in {self.uri} must be left alone for a moment, but others keep "
            "writing; try again"
        )

    def _require_current(self, history: H, alias: str, replaces: str | None) -> None:
        current = history.aliases.get(alias, "")
        if replaces is None or current == replaces:
            return
        last = next((d for d in reversed(history.decisions) if d.alias == alias), None)
        why = f" (since {last.at:%Y-%m-%d %H:%M} UTC: {last.reason})" if last else ""
        raise DataError(
            f"alias {alias!r} of {self.NOUN} {history.name!r} must point at "
            f"{replaces or 'nothing'} to be replaced (a whole digest), it points at "
            f"{current or 'nothing'}{why}; compare with that one first"
        )

    def _path(self, name: str) -> str:
        require_name(name, self.NOUN)
        return f"{self._root}/{name}.json"

    def _read(self, name: str) -> tuple[H, Version]:
        path = self._path(name)
        data, version = read_file(self._files, path)
        if data is None:
            return self.HISTORY(name=name), version
        try:
            return record_from_json(self.HISTORY, data), version
        except DataError as error:
            raise DataError(f"{path!r} must be the history of a {self.NOUN}: {error}") from error


def _require_reason(reason: Any, noun: str) -> None:
    if not isinstance(reason, str) or not reason.strip():
        raise ConfigError(f"a decision about a {noun} must have a reason, got {reason!r}")


def _decision(
    alias: str,
    digest: str,
    reason: str,
    by: str,
    evidence: Mapping[str, float | str],
    *,
    rolled_back: bool = False,
) -> AliasDecision:
    return AliasDecision(
        alias=alias,
        digest=digest,
        reason=reason,
        by=by,
        evidence=evidence,
        at=datetime.now(timezone.utc),
        rolled_back=rolled_back,
    )
