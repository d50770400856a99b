"""The arguments of `weave_init`, validated and serialisable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.delivery import wandb_hosts
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.settings import RunSettings

PROVIDERS = ("openai", "anthropic", "litellm", "google_genai", "mistral", "cohere", "groq")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """The validated arguments of `weave_init`, where they are described."""

    run: RunSettings
    trace_host: str = ""
    patch: tuple[str, ...] = ()
    redact: Callable[[str], str] | None = None
    capture_code: bool = False
    call_log: str = ""

    def __post_init__(self) -> None:
        for name in self.patch:
            if name not in PROVIDERS:
                raise ConfigError(
                    f"patch must name providers of {', '.join(PROVIDERS)}; got {name!r}"
                )

    @property
    def trace_url(self) -> str:
        """Base URL of the trace server: from the argument, the environment or the API host."""
        return wandb_hosts.trace_url(self.run.resolved_api_host, self.trace_host)

    def to_config(self) -> dict[str, Any]:
        """The settings as JSON data, for the command line of a task.

        Raises:
            ConfigError: If the secret or `redact` is a callable.
        """
        if self.redact is not None:
            raise ConfigError(
                "a node that is not a variable of its module cannot take a function as redact "
                "to the pod; assign the node to a variable at module level"
            )
        return {
            "run": self.run.to_config(),
            "trace_host": self.trace_host,
            "patch": list(self.patch),
            "capture_code": self.capture_code,
            "call_log": self.call_log,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TraceSettings:
        """Restore the settings from the result of `to_config`."""
        run = RunSettings.from_config(config["run"])
        return cls(**{**config, "run": run, "patch": tuple(config["patch"])})
