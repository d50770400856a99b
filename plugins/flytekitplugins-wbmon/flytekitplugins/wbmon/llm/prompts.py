"""Prompts as Weave objects: what a traced task publishes goes there with its traces.

The registry itself is a file that every task can read, with or without Weave.
"""

from __future__ import annotations

import logging
from typing import Any

from flytekitplugins.wbmon.llm.session import current_trace
from flytekitplugins.wbmon.monitor.prompt_registry import CANDIDATE, PRODUCTION
from flytekitplugins.wbmon.monitor.prompt_registry import PromptRegistry as _Registry
from flytekitplugins.wbmon.records.prompt import PromptTemplate

__all__ = ["CANDIDATE", "PRODUCTION", "PromptRegistry"]

logger = logging.getLogger(__name__)


class PromptRegistry(_Registry):
    """The prompts of a service; in a traced task each new version is a Weave object too.

    Args:
        uri: Folder, path or fsspec URL.
    """

    def publish_elsewhere(self, prompt: PromptTemplate) -> str:
        """Publish to Weave; the digest there, empty outside of a traced task."""
        session = current_trace()
        if session is None or session.client is None:
            return ""
        try:
            import weave

            content: Any = [{"role": role, "content": text} for role, text in prompt.messages]
            published = weave.publish(weave.MessagesPrompt(content), name=prompt.name)
            return str(published.digest)
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            logger.warning("the prompt is not in Weave (%s: %s)", type(error).__name__, error)
            return ""
