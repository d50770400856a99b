"""The name by which an artifact of W&B is asked for: `entity/project/name:alias`."""

from __future__ import annotations

import re
from typing import Any

from flytekitplugins.wbmon.delivery.wandb_hosts import server_of
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import digest_of, quoted_name

_FORM = re.compile(r"[^/:]+/[^/:]+/[\w.-]+:[^/:]+", re.ASCII)
_TOLD = 60


def require_artifact_name(name: str, value: Any) -> None:
    """Refuse what is no full name of an artifact.

    Args:
        name: Name of the argument.
        value: Its value.

    Raises:
        ConfigError: If it is none.
    """
    is_one = isinstance(value, str) and value.isprintable() and _FORM.fullmatch(value)
    if not is_one or any(part.strip() != part for part in re.split("[/:]", value)):
        raise ConfigError(
            f"{name} must name an artifact and its alias or version, such as "
            f"'team/payments/payments-profile:production', got {quoted_name(value)}"
        )


def alias_of(artifact: str, api_host: str) -> str:
    """The alias that, in a folder of references, points at what an artifact gave last.

    It is none that a person would give, and different for each artifact of each server, however the
    URL of the server is written.

    Args:
        artifact: The full name of the artifact.
        api_host: URL of the W&B API.

    >>> alias_of("ops/payments/payments-profile:production", "https://api.wandb.ai")
    'wandb.ops-payments-payments-profile-production.965ab45b22'
    """
    words = re.sub(r"[^\w.-]", "-", artifact, flags=re.ASCII)
    return f"wandb.{words[:_TOLD]}.{digest_of(f'{server_of(api_host)} {artifact}', 10)}"
