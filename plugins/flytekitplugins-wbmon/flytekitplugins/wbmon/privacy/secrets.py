"""Keeping secrets out of what is written: exception messages, configs, log lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.privacy.containers import named_values, redact_containers
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.secret_forms import hide_secrets
from flytekitplugins.wbmon.privacy.secret_names import is_secret

# shorter ones, such as `1`, stand in many texts that hold no secret
MIN_SECRET_LENGTH = 6
# how the names of variables begin in which Flyte mounts secrets, if the cluster says nothing else
_MOUNTED = "_FSEC_"
# an old W&B key; also the form of a git commit, so it needs a word in front that says what it is
_FORTY_HEX = re.compile(r"\b[0-9a-f]{40}\b")
_CALLED_KEY = re.compile(
    r"(?:key|token|secret|password|credential|login)s?(?![a-z])|bearer|basic", re.IGNORECASE
)
_NEAR = 48
_PATH = re.compile(r"(?:~|\.{1,2})?/[a-z0-9_.\-]+(?:/[a-z0-9_.\-]+)+|[a-z_.\-]+(?:/[a-z_.\-]+)+")


class SecretRedactor:
    """Hides secrets in messages and in configurations; personal data is left as it is.

    Args:
        secrets: Values to hide wherever they occur, such as the W&B key in use.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        given = {secret for secret in secrets if secret and len(secret) >= MIN_SECRET_LENGTH}
        # the longest first, so that a secret inside another leaves no rest behind
        self._secrets = sorted(given, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A message with known secrets and everything that looks like a key hidden."""
        return _FORTY_HEX.sub(_hide_key, self._hide(text)[0])

    def value(self, value: Any) -> Any:
        """A copy of nested containers with secrets hidden, by their name and by their value.

        Tuples and sets become lists, dataclasses dicts, as W&B would make of them.
        """
        return redact_containers(value, self._hide).value

    def config(self, config: Any) -> Any:
        """A configuration as a dict with secrets hidden: a mapping, or an object with attributes.

        Args:
            config: The configuration; None, and what has nothing by name, is returned as it is.
        """
        named = None if config is None or isinstance(config, str) else named_values(config)
        return config if named is None else self.value(named)

    def entry(self, name: str, value: Any) -> tuple[str, Any]:
        """An entry of a configuration, with the same object if there is nothing to hide in it."""
        found = redact_containers({name: value}, self._hide)
        return next(iter(found.value.items())) if found.n else (name, value)

    def _hide(self, text: str) -> tuple[str, int]:
        n = 0
        for secret in self._secrets:
            if secret in text:
                n += text.count(secret)
                text = text.replace(secret, HIDDEN)
        text, found = hide_secrets(text)
        return text, n + found


def _hide_key(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - _NEAR) : found.start()]
    return HIDDEN if _CALLED_KEY.search(before) else found[0]


def quoted_value(value: Any) -> str:
    """A value that is refused, in an error message: quoted, cut, and with secrets hidden."""
    hidden = SecretRedactor(environment_secrets()).value(value)
    # no commit: what was refused is the name of something else, or a key in its place
    return quoted_name(_FORTY_HEX.sub(HIDDEN, hidden) if isinstance(hidden, str) else hidden)


def environment_secrets(environ: Mapping[str, str] | None = None) -> list[str]:
    """The values of the environment variables that hold secrets, by their names.

    A path, the name of a secret (`wandb/api_key`) and a word of small letters are left out, such as
    the password `postgres` of a test: a text that names them tells nobody anything.

    Args:
        environ: Environment variables; `os.environ` if None.
    """
    return [
        value
        for name, value in (os.environ if environ is None else environ).items()
        if is_secret(name, value)
        and not (value.isalpha() and value.islower())
        and not _PATH.fullmatch(value)
        and not os.path.exists(value)  # noqa: PTH110 - of any text, also of one too long for a path
    ]


def mounted_variables() -> dict[str, str]:
    """The environment variables of this process in which Flyte has mounted secrets."""
    prefix = os.environ.get("FLYTE_SECRETS_ENV_PREFIX") or _MOUNTED
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}
