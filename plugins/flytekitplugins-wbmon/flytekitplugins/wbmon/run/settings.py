"""The arguments of `wandb_init`, validated and serialisable."""

from __future__ import annotations

import difflib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from flytekitplugins.wbmon.arguments import is_number
from flytekitplugins.wbmon.delivery import wandb_hosts
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import check_template
from flytekitplugins.wbmon.flyte.secrets import secret_from_config, secret_to_config
from flytekitplugins.wbmon.privacy.secrets import (
    SecretRedactor,
    environment_secrets,
    quoted_value,
)
from flytekitplugins.wbmon.run.description import checked_description, redacted_description

if TYPE_CHECKING:
    from flytekit import Secret

logger = logging.getLogger(__name__)

DeliveryMode = Literal["spool", "online"]
RankScope = Literal["global", "worker", "all"]
Mode = Literal["online", "offline", "disabled", "shared"]

# limit of W&B; checked here, or the error would come in the pod when the run opens
MAX_PROJECT_LENGTH = 128

# the arguments of wandb.init 0.31; a frozen copy, because importing wandb takes a second
INIT_ARGUMENTS = frozenset(
    {
        "allow_val_change", "anonymous", "config", "config_exclude_keys", "config_include_keys",
        "dir", "force", "fork_from", "group", "job_type", "mode", "monitor_gym", "name", "notes",
        "reinit", "resume", "resume_from", "save_code", "settings", "sync_tensorboard", "tags",
        "tensorboard",
    }
)  # fmt: skip
_OWN_ARGUMENTS = frozenset(
    {
        "api_host", "delivery", "delivery_timeout_s", "enabled", "entity", "host", "id",
        "log_artifacts", "offline_store", "project", "rank_scope", "secret", "task_function",
    }
)  # fmt: skip
# settings of wandb that say what an argument says, and how that says it
_OTHERWISE_GIVEN: Mapping[str, str] = {
    "base_url": "the URL of the API as api_host",
    "app_url_override": "the URL of the pages as host",
    "api_key": "Secret(group=..., key=...) as secret",
    "identity_token_file": "Secret(group=..., key=...) as secret",
}
_CHOICES: dict[str, tuple[object, ...]] = {
    "delivery": ("spool", "online"),
    "rank_scope": ("global", "worker", "all"),
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunSettings:
    """The validated arguments of `wandb_init`; see there for their meaning.

    Raises:
        ConfigError: If an argument is invalid.
    """

    project: str | None = None
    entity: str | None = None
    secret: Secret | Callable[[], str] | None = field(default=None, repr=False)
    id: str | None = None
    host: str | None = None
    api_host: str | None = None
    delivery: DeliveryMode = "spool"
    delivery_timeout_s: float = 30.0
    offline_store: str | None = None
    rank_scope: RankScope = "global"
    enabled: bool = True
    log_artifacts: bool = False
    init: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self.init)
        _check_wandb_settings(self.init.get("settings"))
        self.check_target()
        if self.id is not None:
            check_template(self.id)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(map(repr, choices))}; "
                    f"got {quoted_value(getattr(self, name))}"
                )
        if not is_number(self.delivery_timeout_s) or self.delivery_timeout_s <= 0:
            raise ConfigError(
                f"delivery_timeout_s must be a positive number of seconds, "
                f"got {quoted_value(self.delivery_timeout_s)}"
            )
        _check_secret(self.secret)
        description = checked_description(self.init)
        object.__setattr__(
            self, "init", {**self.init, **description, **_checked_resume(self.init, self.delivery)}
        )
        # redacted here already: settings are printed, pickled and put into container arguments
        redactor = SecretRedactor(environment_secrets())
        clean = redacted_description(self.init, redactor)
        if "config" in self.init:
            clean["config"] = redactor.config(self.init["config"])
        # the dataclass is frozen
        object.__setattr__(self, "init", {**self.init, **clean})

    def __repr__(self) -> str:
        given = {
            each.name: value
            for each in fields(self)
            if each.repr and (value := getattr(self, each.name)) != each.default
        }
        if "settings" in self.init:  # which may be anything, and has names of its own
            given["init"] = {**self.init, "settings": "..."}
        # addresses may hold passwords and signatures
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return SecretRedactor(environment_secrets()).text(f"RunSettings({shown})")

    @property
    def mode(self) -> str:
        """`online`, `offline`, `disabled` or `shared`: from the argument, else from WANDB_MODE."""
        if not self.enabled:
            return "disabled"
        return self.init.get("mode") or mode_in_environment(os.environ) or "online"

    @property
    def resolved_project(self) -> str | None:
        """The project: from the argument, else from WANDB_PROJECT; None if neither is set."""
        return self.project or os.environ.get("WANDB_PROJECT", "").strip() or None

    @property
    def resolved_entity(self) -> str | None:
        """The entity: from the argument, else from WANDB_ENTITY; None if neither is set."""
        return self.entity or os.environ.get("WANDB_ENTITY", "").strip() or None

    @property
    def resolved_api_host(self) -> str:
        """URL of the API: from the argument, else from WANDB_BASE_URL, else W&B's cloud."""
        return wandb_hosts.api_url(self.api_host)

    @property
    def named_api_host(self) -> str:
        """URL of the API that the argument or WANDB_BASE_URL names; empty if neither does."""
        return wandb_hosts.named_api_url(self.api_host)

    @property
    def resolved_host(self) -> str:
        """URL of the pages: from the argument, else from WANDB_APP_URL, else those of the API."""
        return wandb_hosts.page_url(self.resolved_api_host, self.host)

    def check_target(self) -> None:
        """Check where the run goes, by the arguments and the environment of now.

        Raises:
            ConfigError: If the project or the entity is missing or cannot exist, or if the URL of
                the API is none.
        """
        mode = self.mode
        if mode == "disabled":
            return
        for name, value in (("project", self.resolved_project), ("entity", self.resolved_entity)):
            if value is None and mode != "offline":
                raise ConfigError(
                    f"{name} must be set (or WANDB_{name.upper()}, or mode='offline')"
                )
            _check_target_name(name, value)
        if mode != "offline" or self.api_host is not None:
            wandb_hosts.require_api_url(self.api_host)

    def to_config(self) -> dict[str, Any]:
        """The settings as JSON data for a task's command line, with the secret only by its name.

        Raises:
            ConfigError: If the secret is a callable, or an argument is not plain data.
        """
        names = [name for name in RunSettings.__slots__ if name not in ("secret", "init")]
        config = {name: getattr(self, name) for name in names}
        config |= {"secret": _secret_to_config(self.secret), "init": dict(self.init)}
        # tried when the task is made, so that the error can say what to do
        try:
            json.dumps(config)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "a task that is not a variable of its module carries its wandb_init arguments to "
                f"the pod as JSON; {error}. Use plain data, or assign the task to a variable"
            ) from error
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RunSettings:
        """The settings from the configuration that `to_config` returned."""
        named = config.get("secret")
        secret = None if named is None else secret_from_config(named)
        return cls(**{**config, "secret": secret})


def mode_in_environment(environ: Mapping[str, str]) -> str | None:
    """The mode that WANDB_MODE asks for; None if it is not set.

    A value that is no mode counts as offline, with a warning: then nothing is lost, and nothing
    leaves that was not meant to.

    Args:
        environ: Environment variables.
    """
    asked = environ.get("WANDB_MODE", "").strip().lower()
    # the old names that wandb still accepts
    mode = {"dryrun": "offline", "run": "online"}.get(asked, asked)
    if mode in ("", *get_args(Mode)):
        return mode or None
    _warn_of_mode(environ["WANDB_MODE"].strip())
    return "offline"


@cache
def _warn_of_mode(asked: str) -> None:
    """Warn once per value: the mode is asked for several times in the life of a run."""
    logger.warning(
        "W&B: WANDB_MODE must be one of %s, got %s; the run is kept offline",
        ", ".join(get_args(Mode)), quoted_value(asked),
    )  # fmt: skip


def by_position(first: str, second: Any, third: Any, fourth: Any, fifth: Any) -> Any:
    """Sort the arguments of `wandb_init("project", …)`, whose project was passed by position.

    The first parameter of `wandb_init` is the function. If the project is passed in its place,
    every other positional argument arrives in the parameter before its own. Arguments passed by
    name arrive in the right parameter.

    Args:
        first: The project.
        second: The value of the parameter `project`: the entity, if passed by position.
        third: The value of `entity`: the secret if passed by position, or the entity by name.
        fourth: The value of `secret`: the id if passed by position, or the secret by name.
        fifth: The value of `id`: the id, if passed by name.

    Returns:
        Project, entity, secret and id.
    """
    # only the project was passed by position
    if second is None:
        return first, third, fourth, fifth
    # the project and the entity were
    if third is None:
        return first, second, fourth, fifth
    return first, second, third, fifth if fourth is None else fourth


def _secret_to_config(secret: Any) -> dict[str, Any] | None:
    if secret is None:
        return None
    if callable(secret):
        raise ConfigError(
            "a task that is not a variable of its module needs its W&B key as "
            "Secret(group=..., key=...), got a callable, which cannot travel to the pod; use a "
            "Secret, or assign the task to a variable at module level"
        )
    return secret_to_config(secret)


def _check_names(init: Mapping[str, Any]) -> None:
    for name in init:
        if name not in INIT_ARGUMENTS:
            known = sorted(INIT_ARGUMENTS | _OWN_ARGUMENTS)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise ConfigError(f"wandb_init has no argument {quoted_value(name)}; {hint}")
    if init.get("mode") not in (None, *get_args(Mode)):
        raise ConfigError(
            f"mode must be 'online', 'offline', 'disabled' or 'shared'; "
            f"got {quoted_value(init['mode'])}"
        )


def _check_wandb_settings(given: Any) -> None:
    """Refuse what would send the run, and its key, elsewhere than the other arguments say."""
    # of an object only those that its maker set
    names = given if isinstance(given, Mapping) else getattr(given, "model_fields_set", ())
    for name, instead in _OTHERWISE_GIVEN.items():
        if name in names:
            raise ConfigError(f"settings must not have {name}: pass {instead} to wandb_init")


def _checked_resume(init: Mapping[str, Any], delivery: str) -> dict[str, Any]:
    """How the run goes on, as wandb does it with a run that is opened without asking W&B."""
    if "resume" not in init or delivery == "online":
        return {}
    resume = init["resume"]
    if resume in ("must", "never"):
        raise ConfigError(
            f"resume must be 'allow' or None, as a task does not ask W&B for its run, got "
            f"{resume!r}; use 'allow', or delivery='online'"
        )
    # with an id, the others of wandb's values mean the same
    return {"resume": "allow" if resume in (True, "auto") else resume}


def _check_target_name(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, got {type(value).__name__}")
    if set(value) & set("/\\#?%:") or len(value) > MAX_PROJECT_LENGTH or not value.isprintable():
        raise ConfigError(
            f"{name} must have at most {MAX_PROJECT_LENGTH} characters and none of / \\ # ? % :, "
            f"got {quoted_value(value)}"
        )


def _check_secret(secret: Any) -> None:
    # the message must not repeat the text, which may be a key
    if isinstance(secret, str):
        raise ConfigError(
            "secret must be a flytekit.Secret or a callable that returns the key, got text; never "
            "write a key into code, name it: Secret(group='wandb', key='api_key')"
        )
    named = hasattr(secret, "group") and hasattr(secret, "key")
    if secret is not None and not named and not callable(secret):
        raise ConfigError(
            "secret must be a flytekit.Secret or a callable that returns the key, "
            f"got {type(secret).__name__}"
        )
