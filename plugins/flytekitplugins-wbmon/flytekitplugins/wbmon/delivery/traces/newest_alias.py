"""What an alias of a prompt means now, for a promotion that reaches Weave late.

A promotion may wait in a store while another is made. Sent as it was written, the older one would
win for having come last. The registry knows which decision is the newest, so it is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


def newest_digest(asked: Mapping[str, Any]) -> str:
    """The Weave digest that an alias is to point at.

    Args:
        asked: `digest` and `aliases`, one of them, as it was written down; and `source`, the
            `registry` and the `prompt` that the alias is of.

    Returns:
        What the registry says now; what was written down if it cannot be read, or does not know.
    """
    written = str(asked["digest"])
    source = asked.get("source")
    if not source:
        return written
    from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles

    try:
        history = PromptFiles(source["registry"]).history(source["prompt"])
    except Exception as error:  # noqa: BLE001 - any file system; what was written down is there
        logger.warning("the prompt registry cannot be read (%s: %s)", type(error).__name__, error)
        return written
    wanted = history.aliases.get(asked["aliases"][0])
    found = (each.weave_digest for each in history.versions if each.digest == wanted)
    return next(found, "") or written
