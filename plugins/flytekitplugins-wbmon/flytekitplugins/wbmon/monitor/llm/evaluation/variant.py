"""A variant of an LLM application: a prompt, a model and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(ByContent):
    """One candidate of an evaluation: a prompt, a model, and the parameters of the request.

    Attributes:
        name: Name in reports; unique in an evaluation.
        prompt: Messages of `(role, text)` with `{places}`. Empty: the published prompt of that name
            and version is used.
        prompt_name: The published prompt's name, where it has one.
        prompt_version: Its digest or an alias such as `production`; that of the text if empty.
        model: The model asked for.
        parameters: Parameters of the request, such as `temperature`.

    Raises:
        ConfigError: If the name is empty.
    """

    name: str
    prompt: tuple[tuple[str, str], ...] = ()
    prompt_name: str = ""
    prompt_version: str = ""
    model: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_text(cls, name: str, text: str, **fields: Any) -> Variant:
        """A variant whose prompt is one message of the user."""
        return cls(name=name, prompt=(("user", text),), **fields)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a variant must have a name, got none; 'production' for example")
