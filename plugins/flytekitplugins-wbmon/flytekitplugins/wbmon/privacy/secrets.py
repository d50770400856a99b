"""Keeping secrets out of what is written: exception messages, configs, log lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flytekitplugins.wbmon.privacy.containers import redact_containers
from flytekitplugins.wbmon.privacy.secret_forms import HIDDEN, hide_secrets

_MIN_SECRET_LENGTH = 6
# an old W&B key; also the form of a git commit, so it is hidden in messages but not in a config
_FORTY_HEX = re.compile(r"\b[0-9a-f]{40}\b")


class SecretRedactor:
    """Hides secrets in messages and in configurations; personal data is left as it is.

    Args:
        secrets: Values to hide wherever they occur, such as the W&B key in use.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        given = {secret for secret in secrets if secret and len(secret) >= _MIN_SECRET_LENGTH}
        # the longest first, so that a secret inside another leaves no rest behind
        self._secrets = sorted(given, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A message with known secrets and everything that looks like a key hidden."""
        return _FORTY_HEX.sub(HIDDEN, self._hide(text)[0])

    def value(self, value: Any) -> Any:
        """A copy of nested containers with secrets hidden, by their name and by their value.

        Tuples and sets become lists, dataclasses dicts, as W&B would make of them.
        """
        return redact_containers(value, self._hide).value

    def _hide(self, text: str) -> tuple[str, int]:
        n = 0
        for secret in self._secrets:
            n += text.count(secret)
            text = text.replace(secret, HIDDEN)
        text, found = hide_secrets(text)
        return text, n + found
