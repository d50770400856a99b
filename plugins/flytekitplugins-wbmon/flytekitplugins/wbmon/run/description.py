"""What describes a run: its name, notes, tags, group and job type, as W&B takes them.

An argument that W&B would not take is an error when the task is decorated. A variable is repaired
instead, with a warning: it is set by whoever built the image, and a run must not be lost for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import fitted_name
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor, quoted_value

logger = logging.getLogger(__name__)

TAGS = "WANDB_TAGS"
VARIABLES: Mapping[str, str] = {
    "name": "WANDB_NAME",
    "notes": "WANDB_NOTES",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
}
# in characters; wandb checks that of tags only, the server refuses the run for any of them
LONGEST: Mapping[str, int] = {"name": 128, "group": 128, "job_type": 64}
LONGEST_TAG = 64


def checked_description(init: Mapping[str, Any]) -> dict[str, Any]:
    """The name, notes, group, job type and tags among the arguments, the tags as a list.

    Args:
        init: The arguments of `wandb.init` that the user gave.

    Raises:
        ConfigError: If one is not text, is too long, or cannot be written as UTF-8.
    """
    texts = {name: init[name] for name in VARIABLES if init.get(name) is not None}
    for name, value in texts.items():
        if not isinstance(value, str) or not _is_unicode(value):
            raise ConfigError(f"{name} must be text, got {quoted_value(value)}")
        if len(value) > LONGEST.get(name, len(value)):
            raise ConfigError(
                f"{name} must have at most {LONGEST[name]} characters, got {len(value)}: "
                f"{quoted_value(value)}"
            )
    if init.get("tags") is None:
        return texts
    return {**texts, "tags": _checked_tags(init["tags"])}


def described(own: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The description of a run: an argument, else its variable in the environment.

    Args:
        own: The arguments of `wandb_init`.
        environ: The environment variables; `os.environ` if None. Blank ones are ignored.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    for name, variable in VARIABLES.items():
        given = own.get(name) or _repaired(variable, environ.get(variable, ""), LONGEST.get(name))
        if given:
            found[name] = given
    # an empty list means no tags, as it does for wandb
    tags = own["tags"] if own.get("tags") is not None else tags_in_environment(environ)
    return {**found, "tags": tags}


def redacted_description(own: Mapping[str, Any], redactor: SecretRedactor) -> dict[str, Any]:
    """What describes a run, with secrets hidden; without what is not given.

    Args:
        own: The arguments of `wandb.init`, checked.
        redactor: Hides secrets.
    """
    hidden = {name: redactor.value(own[name]) for name in (*VARIABLES, "tags") if own.get(name)}
    # what stands in place of a secret may be longer than the secret
    cut: dict[str, Any] = {
        name: fitted_name(hidden[name], LONGEST[name]) for name in LONGEST if name in hidden
    }
    if "tags" in hidden:
        tags = [fitted_name(tag, LONGEST_TAG) for tag in hidden["tags"]]
        cut["tags"] = list(dict.fromkeys(tags))
    return {**hidden, **cut}


def tags_in_environment(environ: Mapping[str, str]) -> list[str]:
    """The tags of WANDB_TAGS, which commas separate; those that are too long are cut."""
    tags = environ.get(TAGS, "").split(",")
    repaired = [_repaired(TAGS, tag, LONGEST_TAG) for tag in tags]
    return list(dict.fromkeys(tag for tag in repaired if tag))


def _repaired(variable: str, value: str, longest: int | None) -> str:
    # bytes in the environment that are no UTF-8 arrive as halves of surrogate pairs
    text = value.strip().encode("utf-8", "replace").decode()
    fitted = text if longest is None else fitted_name(text, longest)
    if fitted != value.strip():
        logger.warning(
            "W&B: %s must be text of at most %s characters; %s is used",
            variable, longest or "any number of", quoted_value(fitted),
        )  # fmt: skip
    return fitted


def _checked_tags(tags: Any) -> list[str]:
    # a text is iterable too; a generator can be read once only
    listed: list[Any] = (
        list(tags) if isinstance(tags, Iterable) and not isinstance(tags, str) else [None]
    )
    for tag in listed:
        if not isinstance(tag, str) or not tag.strip() or len(tag) > LONGEST_TAG:
            raise ConfigError(
                f"tags must be a list of texts of 1 to {LONGEST_TAG} characters, "
                f"got {quoted_value(tags if listed == [None] else tag)}"
            )
        if not _is_unicode(tag):
            raise ConfigError(f"tags must be text, got {quoted_value(tag)}")
    return list(dict.fromkeys(listed))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
