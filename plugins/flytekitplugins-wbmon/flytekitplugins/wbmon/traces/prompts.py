"""Mirroring of the prompt registry to Weave, inside traced tasks.

The registry itself is a file that every task can read, with or without Weave.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptHistory, PromptTemplate
from flytekitplugins.wbmon.monitor.llm.prompts.registry import CANDIDATE, PromptFiles
from flytekitplugins.wbmon.monitor.versions.history import PRODUCTION
from flytekitplugins.wbmon.traces import weave_client
from flytekitplugins.wbmon.traces.session import current_trace

__all__ = ["CANDIDATE", "PRODUCTION", "PromptRegistry"]

logger = logging.getLogger(__name__)


class PromptRegistry(PromptFiles):
    """The prompts of a service; inside a traced task, versions and aliases go to Weave as well.

    Args:
        uri: Path or fsspec URL of the folder of the registry.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    def publish_elsewhere(self, prompt: PromptTemplate) -> str:
        """Publish a prompt to Weave.

        Returns:
            Its digest in Weave; empty outside a traced task or if Weave fails.
        """
        if _client() is None:
            return ""
        try:
            return str(_published(prompt).digest)
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            logger.warning("the prompt is not in Weave (%s: %s)", type(error).__name__, error)
            return ""

    def mirror(self, name: str) -> None:
        """Copy the aliases of a prompt to Weave, with the decisions behind them.

        Each alias is set on its version. An object `<name>-aliases` records who decided, when and
        why; its versions are the history. Promotions and roll-backs inside a traced task call this
        method; call it yourself after one that was made outside. It does nothing outside a traced
        task.

        Args:
            name: Name of the prompt.
        """
        client = _client()
        if client is None:
            return
        try:
            self._mirror(client, self.history(name))
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            logger.warning(
                "the aliases of %s are not in Weave (%s: %s)", name, type(error).__name__, error
            )

    def _mirror(self, client: Any, history: PromptHistory) -> None:
        import weave

        wanted = set(history.aliases.values())
        refs = {v.digest: _published(v.template) for v in history.versions if v.digest in wanted}
        found = {digest: str(ref.digest) for digest, ref in refs.items()}
        if any(found.get(v.digest, v.weave_digest) != v.weave_digest for v in history.versions):
            # some were published without Weave
            self._change(history.name, partial(_with_weave_digests, found=found))
        source = {"registry": self.uri, "prompt": history.name}
        for alias, digest in history.aliases.items():
            weave_client.point_alias(client, refs[digest], alias, source=source)
        weave.publish(_decisions(history, refs), name=f"{history.name}-aliases")


def _with_weave_digests(history: PromptHistory, *, found: Mapping[str, str]) -> PromptHistory:
    versions = tuple(
        replace(v, weave_digest=found.get(v.digest, v.weave_digest)) for v in history.versions
    )
    return replace(history, versions=versions)


def _client() -> Any:
    session = current_trace()
    return None if session is None else session.client


def _published(prompt: PromptTemplate) -> Any:
    import weave

    content: Any = [{"role": role, "content": text} for role, text in prompt.messages]
    return weave.publish(weave.MessagesPrompt(content), name=prompt.name)


def _decisions(history: PromptHistory, refs: Mapping[str, Any]) -> dict[str, Any]:
    """For each alias: its version, and the decision that set it."""
    # decisions are in order of time, so the last one of an alias wins
    newest = {decision.alias: decision for decision in history.decisions}
    return {
        alias: {
            "version": weave_client.address(refs[digest]),
            "digest": digest,
            "before": newest[alias].before,
            "at": newest[alias].at.isoformat(),
            "by": newest[alias].by,
            "reason": newest[alias].reason,
            "evidence": dict(newest[alias].evidence),
        }
        for alias, digest in sorted(history.aliases.items())
    }
