"""Where alerts are sent, named in code by a secret and never by its address."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flytekit import Secret

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One way to reach people, through the `apprise` library (extra `notify`).

    The secret holds an apprise URL: `slack://…`, `msteams://…`, `mailto://user:password@host`,
    `pagerduty://…`, `jsons://host/path` …; one address a line if there are several.

    Attributes:
        secret: Which secret holds the address.
        name: How the channel is called in logs and reports; the secret's group and key if empty.
        min_severity: Alerts below it are not sent here.
        timeout_s: Seconds after which the channel is given up for this window.

    Raises:
        ConfigError: If the secret is text (an address has no place in code), or a number is out of
            range.
    """

    secret: Secret
    name: str = ""
    min_severity: Severity = "info"
    timeout_s: float = 15.0

    def __post_init__(self) -> None:
        if not isinstance(self.secret, Secret):
            raise ConfigError(
                "a channel's address must be named by a flytekit Secret, got "
                f"{type(self.secret).__name__}; never write an address into code: "
                "Channel(secret=Secret(group='alerts', key='slack'))"
            )
        if self.min_severity not in ("info", "warn", "error"):
            raise ConfigError(
                f"min_severity must be info, warn or error; got {self.min_severity!r}"
            )
        if not 0 < self.timeout_s < math.inf:
            raise ConfigError(f"timeout_s must be a positive number, got {self.timeout_s}")

    @property
    def label(self) -> str:
        """The name, or the secret's group and key."""
        return self.name or f"{self.secret.group}/{self.secret.key}"
