"""Prompt templates with named placeholders, and the history of their versions."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.versions.history import VersionHistory

# the escaped form comes first, or its inner braces would match as a placeholder
_PLACE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A prompt with `{placeholders}`, each of which must be filled.

    Only `{name}` is a placeholder: other braces, as in JSON or code, are text, and `{{name}}` is
    the text `{name}`. Values are not searched for placeholders.

    Attributes:
        name: Name under which it is published.
        messages: Pairs of role and text; one of role `user` for a plain text.
    """

    name: str
    messages: Messages

    @classmethod
    def from_text(cls, name: str, text: str) -> PromptTemplate:
        """A prompt of one message from the user."""
        return cls(name=name, messages=(("user", text),))

    @property
    def digest(self) -> str:
        """SHA-256 of the messages; the name is not part of it."""
        return hashlib.sha256(json.dumps(self.messages).encode()).hexdigest()

    @property
    def variables(self) -> frozenset[str]:
        """Names of the placeholders."""
        texts = (text for _, text in self.messages)
        return frozenset(found[2] for text in texts for found in _PLACE.finditer(text) if found[2])

    def format(self, **values: object) -> list[dict[str, str]]:
        """Fill all placeholders, and return messages as a chat API expects them.

        Raises:
            ConfigError: If a placeholder has no value, or a value no placeholder.
        """
        missing, extra = self.variables - values.keys(), values.keys() - self.variables
        if missing or extra:
            problems = [
                f"{words} {', '.join(map(repr, sorted(names)))}"
                for words, names in (("no value for", missing), ("no place for", extra))
                if names
            ]
            hint = difflib.get_close_matches(next(iter(extra), ""), missing, n=1)
            mend = f"; did you mean {hint[0]!r}?" if hint else ""
            raise ConfigError(
                f"prompt {self.name!r} must be given exactly "
                f"{', '.join(sorted(self.variables)) or 'nothing'}; {' and '.join(problems)}{mend}"
            )

        def fill(found: re.Match[str]) -> str:
            return f"{{{found[1]}}}" if found[1] else str(values[found[2]])

        return [{"role": role, "content": _PLACE.sub(fill, text)} for role, text in self.messages]

    def diff(self, other: PromptTemplate) -> str:
        """Unified diff from this prompt to another; empty if they are equal."""
        lines = difflib.unified_diff(
            _lines(self), _lines(other), self.digest[:12], other.digest[:12], lineterm=""
        )
        return "\n".join(lines)


def _lines(prompt: PromptTemplate) -> list[str]:
    return [line for role, text in prompt.messages for line in (f"[{role}]", *text.splitlines())]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptVersion:
    """A published prompt.

    Attributes:
        name: The prompt's name.
        digest: Of its messages.
        weave_digest: Of the Weave object; empty if it was published without Weave.
        messages: Its messages.
        published_at: When it was first published, UTC.
    """

    name: str
    digest: str
    weave_digest: str = ""
    messages: Messages
    published_at: datetime

    @property
    def template(self) -> PromptTemplate:
        """The prompt itself."""
        return PromptTemplate(name=self.name, messages=self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptHistory(VersionHistory):
    """All versions of a prompt, its aliases, and every decision about them, oldest first."""

    versions: tuple[PromptVersion, ...] = ()
