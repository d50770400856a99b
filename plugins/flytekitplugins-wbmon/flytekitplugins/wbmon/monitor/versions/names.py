"""Names of what has versions, and of the aliases that point at them, checked before use.

A name becomes a file or a folder. An alias stands where a digest could: one that reads like a
digest would hide a version.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import quoted_name

SHORTEST_DIGEST = 6
"""Characters of a digest that stand for all of it."""

# of the 255 of a file; what is written beside it has a longer name
_MOST_BYTES = 200
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(rf"[0-9a-fA-F]{{{SHORTEST_DIGEST},}}")
# control characters, halves of a pair, separators of lines and of paragraphs
_UNFIT = ("Cc", "Cs", "Zl", "Zp")


def require_name(name: Any, noun: str) -> None:
    """Refuse what cannot be the name of a file in every store.

    Args:
        name: The name.
        noun: What it is the name of.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(name, str) or not name.strip(". ") or not _fits(name):
        raise ConfigError(
            f"the name of a {noun} must be text without slashes, '::', line breaks and control "
            f"characters, not empty and of at most {_MOST_BYTES} bytes, got {quoted_name(name)}"
        )


def require_alias(name: str, alias: Any) -> None:
    """Refuse what cannot be an alias.

    Args:
        name: Name of the argument.
        alias: The alias.

    Raises:
        ConfigError: If it is none, or could be read as a digest or as the beginning of one.
    """
    require_which(name, alias)
    if _DIGEST.fullmatch(alias):
        raise ConfigError(
            f"{name} must not read like a digest, got {quoted_name(alias)}; add another letter, as "
            f"in 'v-{alias[:12]}'"
        )


def require_which(name: str, which: Any) -> None:
    """Refuse what is neither an alias nor a digest.

    Args:
        name: Name of the argument.
        which: The alias or digest.

    Raises:
        ConfigError: If it is neither.
    """
    if not isinstance(which, str) or not _WORD.fullmatch(which):
        raise ConfigError(
            f"{name} must be at most 128 letters of a to z, digits, '.', '_' and '-', and begin "
            f"with a letter or a digit, such as 'production', got {quoted_name(which)}"
        )


def _fits(name: str) -> bool:
    if any(each in "/\\" or unicodedata.category(each) in _UNFIT for each in name):
        return False
    # in a URL, fsspec takes two colons for a chain of file systems
    return "::" not in name and len(name.encode()) <= _MOST_BYTES
