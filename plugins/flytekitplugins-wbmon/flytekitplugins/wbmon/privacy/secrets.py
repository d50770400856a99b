"""Keeping secrets out of what is written: exception messages, configs, log lines.

A value is hidden when it is a secret we were given, when it looks like a key, or when the name it
is stored under says that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "[redacted]"
_MIN_SECRET_LENGTH = 6

_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:api_?key|access_?key|private_?key|secret(?:_?key)?|password|passwd|pwd|token"
    r"|credentials?|authorization|webhook(?:_?url)?|key_?id)$",
    re.IGNORECASE,
)
# an old W&B key; also the form of a git commit, so it is hidden in messages but not in a config
_FORTY_HEX = re.compile(r"\b[0-9a-f]{40}\b")
_KEY_LIKE = (
    re.compile(r"\b(?:wandb_v\d+_|local-|sk-|ghp_|xox[abp]-)[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[^\s\"']{8,}"),
)
_ASSIGNED = re.compile(
    r"(?i)\b((?:api[_-]?key|secret|password|passwd|token)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]+"
)


class SecretRedactor:
    """Hides secrets in text and in nested containers.

    Args:
        secrets: Values to hide wherever they occur, such as the W&B key in use.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        given = {secret for secret in secrets if secret and len(secret) >= _MIN_SECRET_LENGTH}
        # the longest first, so that a secret inside another leaves no rest behind
        self._secrets = sorted(given, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A message with known secrets and everything that looks like a key hidden."""
        return _FORTY_HEX.sub(HIDDEN, self._without_keys(text))

    def _without_keys(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern in _KEY_LIKE:
            text = pattern.sub(HIDDEN, text)
        return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)

    def value(self, value: Any) -> Any:
        """A copy of nested containers with secrets hidden, by their name and by their value."""
        if isinstance(value, str):
            return self._without_keys(value)
        if isinstance(value, Mapping):
            return {name: self._named(name, item) for name, item in value.items()}
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self.value(item) for item in value)
        return value

    def _named(self, name: Any, item: Any) -> Any:
        if isinstance(name, str) and isinstance(item, str) and item and _SECRET_NAME.search(name):
            return HIDDEN
        return self.value(item)
