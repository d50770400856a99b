"""The current version behind a prompt's alias, for a promotion that reaches Weave late.

A promotion may wait in an offline store while a newer one is made and sent. If the older one were
then sent unchanged, it would overwrite the newer one. So the registry is asked for the current
version before an alias is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


def newest_digest(asked: Mapping[str, Any]) -> str:
    """The Weave digest that an alias must point to.

    Args:
        asked: The recorded request: its `digest`, its `aliases` with exactly one name, and
            `source`, which names the `registry` and the `prompt`.

    Returns:
        The digest according to the registry; the recorded one if the registry cannot be read or
        does not have the alias or its digest.
    """
    written = str(asked["digest"])
    source = asked.get("source")
    if not source:
        return written
    # imported here, so that the worker starts without the registry's modules
    from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles

    try:
        history = PromptFiles(source["registry"]).history(source["prompt"])
    except Exception as error:  # noqa: BLE001 - any file system; what was written down is there
        logger.warning("the prompt registry cannot be read (%s: %s)", type(error).__name__, error)
        return written
    wanted = history.aliases.get(asked["aliases"][0])
    found = (each.weave_digest for each in history.versions if each.digest == wanted)
    return next(found, "") or written
