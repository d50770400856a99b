"""Reads the arguments of `wandb_init` from the `wandb:` section of a YAML file."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.privacy.secrets import (
    SecretRedactor,
    environment_secrets,
    quoted_value,
)
from flytekitplugins.wbmon.run.description import described
from flytekitplugins.wbmon.run.settings import Mode, mode_in_environment

logger = logging.getLogger(__name__)

SECTION = "wandb"
# where anything may stand
_FREE_TEXTS = ("group", "run_name", "notes", "tags")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# wandb's own names where it has them
_ENVIRONMENT = {
    "enabled": "WBMON_WANDB_ENABLED",
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "log_artifacts": "WBMON_LOG_ARTIFACTS",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbConfig:
    """The `wandb:` section of a configuration file.

    Attributes:
        enabled: Whether a run is opened.
        project: W&B project.
        entity: W&B user or team.
        group: The group of the run; None for the Flyte execution.
        run_name: The run's display name.
        tags: The run's tags.
        notes: The run's notes.
        mode: `online`, `offline`, `disabled` or `shared`.
        log_artifacts: Upload the task's configuration, metrics, plots and reports as one artifact.

    Raises:
        ConfigError: If a value has the wrong type, or `mode` is unknown.
    """

    enabled: bool = True
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    run_name: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    mode: Mode | None = None
    log_artifacts: bool = False

    def __post_init__(self) -> None:
        for name in ("enabled", "log_artifacts"):
            _check(name, getattr(self, name), bool, "true or false")
        for name in ("project", "entity", "group", "run_name", "notes"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), str, "text (quote a number)")
        # a text is iterable too, and `tuple` would split it into characters
        if isinstance(self.tags, str):
            raise ConfigError(
                f"{SECTION}.tags must be a list of texts, got {quoted_value(self.tags)}"
            )
        object.__setattr__(self, "tags", tuple(self.tags))
        if self.mode is not None and self.mode not in get_args(Mode):
            raise ConfigError(
                f"{SECTION}.mode must be one of {', '.join(get_args(Mode))}; "
                f"got {quoted_value(self.mode)}"
            )

    @classmethod
    def from_dict(cls, section: Mapping[str, Any]) -> WandbConfig:
        """Make the configuration from the parsed section of a file.

        Args:
            section: Values by key; a value of None means the default.

        Raises:
            ConfigError: If a key is unknown, or a value has the wrong type.
        """
        # an unknown key is most likely a misspelt one, which would have no effect
        known = [one.name for one in fields(cls)]
        for name in section:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(known)}"
                raise ConfigError(f"{SECTION}: has no key {quoted_value(name)}; {hint}")
        # YAML reads a key without a value as None
        return cls(**{name: value for name, value in section.items() if value is not None})

    def with_environment(self, environ: Mapping[str, str] | None = None) -> WandbConfig:
        """A copy in which W&B's environment variables override the values of the file.

        Args:
            environ: The environment variables; `os.environ` if None. Empty ones are ignored.

        Raises:
            ConfigError: If a variable that must be true or false is neither.
        """
        environ = os.environ if environ is None else environ
        given = {name: environ[key] for name, key in _ENVIRONMENT.items() if environ.get(key)}
        described_by = described({}, environ)
        parsed: dict[str, Any] = {
            **given,
            "run_name": described_by.get("name"),
            "group": described_by.get("group"),
            "notes": described_by.get("notes"),
            "tags": tuple(described_by["tags"]),
            "mode": mode_in_environment(environ),
        }
        for name in {"enabled", "log_artifacts"} & set(given):
            parsed[name] = _truth(_ENVIRONMENT[name], given[name])
        return replace(
            self, **{name: value for name, value in parsed.items() if value not in (None, ())}
        )

    def to_arguments(self) -> dict[str, Any]:
        """The arguments of `wandb_init`; values that are not set are left out."""
        arguments = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "name": self.run_name,
            "tags": list(self.tags) or None,
            "notes": self.notes,
            "mode": self.mode,
        }
        known = {name: value for name, value in arguments.items() if value is not None}
        return {"enabled": self.enabled, "log_artifacts": self.log_artifacts, **known}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose content is a mapping.

    Raises:
        ConfigError: If the file cannot be read, is not valid YAML, or is not a mapping.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the configuration {path} must be a file that can be read: {error}"
        ) from None
    except yaml.YAMLError as error:
        # the message quotes the lines around the mistake, which may hold a secret
        raise ConfigError(f"{path} must be YAML: {SecretRedactor().text(str(error))}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of sections, got {type(content).__name__}")
    return content


def resolve(path: str | Path) -> tuple[WandbConfig, dict[str, Any]]:
    """Read a configuration file and apply the environment to its W&B section.

    The result is written to the log.

    Args:
        path: Path of the YAML file.

    Returns:
        The W&B section with the values of the environment, and the whole file with secrets hidden.

    Raises:
        ConfigError: As `read_yaml`, `WandbConfig.from_dict` and `WandbConfig.with_environment`.
    """
    content = read_yaml(path)
    section = content.get(SECTION) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{SECTION}: must be a mapping, got {type(section).__name__}")
    config = WandbConfig.from_dict(section).with_environment()
    # hides the values of these variables in the file too, whatever their keys are called
    redactor = SecretRedactor(environment_secrets())
    clean: dict[str, Any] = redactor.value(content)
    shown = {name: redactor.value(getattr(config, name)) for name in _FREE_TEXTS}
    config = replace(config, **shown)
    logger.info("W&B configuration from %s: %s; whole file: %s", path, config, clean)
    return config, clean


def _check(name: str, value: object, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{SECTION}.{name} must be {what}, got {quoted_value(value)}")


def _truth(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ConfigError(f"{name} must be true or false, got {quoted_value(text)}")
    return text.lower() in _TRUE
