"""A channel for alerts, whose address is in a secret and never in the code."""

from __future__ import annotations

from dataclasses import dataclass

from flytekit import Secret

from flytekitplugins.wbmon.arguments import real_number, require_one_of, require_text
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import Severity
from flytekitplugins.wbmon.monitor.alerts.rule_values import SEVERITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel that sends alerts through the `apprise` library (extra `notify`).

    The secret holds an apprise URL, such as `slack://…`, `msteams://…`,
    `mailto://user:password@host`, `pagerduty://…` or `jsons://host/path`; several URLs are written
    one per line.

    Attributes:
        secret: The secret that holds the address.
        name: Name of the channel in logs and reports; if empty, the secret's group and key.
        min_severity: The lowest severity of the alerts that are sent to the channel.
        timeout_s: Time limit in seconds for all notifications of one window.

    Raises:
        ConfigError: If `secret` is not a `flytekit.Secret`, or another value is out of range.
    """

    secret: Secret
    name: str = ""
    min_severity: Severity = "info"
    timeout_s: float = 15.0

    def __post_init__(self) -> None:
        # the message must not repeat the value, which may be an address with a password
        if not isinstance(self.secret, Secret):
            raise ConfigError(
                "a channel's address must be named by a flytekit Secret, got "
                f"{type(self.secret).__name__}; never write an address into code: "
                "Channel(secret=Secret(group='alerts', key='slack'))"
            )
        require_text("name", self.name)
        require_one_of("min_severity", self.min_severity, SEVERITIES)
        object.__setattr__(self, "timeout_s", real_number("timeout_s", self.timeout_s, above=0))

    @property
    def label(self) -> str:
        """The name of the channel, or the group and key of its secret."""
        return self.name or f"{self.secret.group}/{self.secret.key}"
