"""Answers that were paid for once, kept by what they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer, Variant
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file

logger = logging.getLogger(__name__)


def prompt_digest(variant: Variant) -> str:
    """The identity of the prompt that a variant uses."""
    if not variant.prompt:
        return variant.prompt_version
    return PromptTemplate(name=variant.name, messages=variant.prompt).digest


def item_digest(item: Mapping[str, Any]) -> str:
    """The identity of an item's content."""
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()


def answer_key(variant: Variant, item: Mapping[str, Any], repeat: int) -> str:
    """What an answer depends on: prompt, model, parameters, item and repeat."""
    parts = [
        prompt_digest(variant),
        variant.model,
        sorted(variant.parameters.items()),
        item_digest(item),
        repeat,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class AnswerStore:
    """A folder of answers; what cannot be read or written is asked for again.

    Args:
        uri: Path or fsspec URL.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    def __init__(self, uri: str, *, filesystem: Any = None) -> None:
        self._files, self._root = open_filesystem(uri, filesystem=filesystem)

    def get(self, key: str) -> Answer | None:
        """The answer of an earlier run; None if there is none."""
        try:
            return record_from_json(Answer, self._files.cat_file(self._path(key)))
        except (FileNotFoundError, DataError):
            return None
        except OSError as error:
            logger.warning("an answer could not be read and is asked for again: %s", error)
            return None

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        path = self._path(key)
        try:
            write_file(self._files, path, record_to_json(answer).encode())
        except OSError as error:
            logger.warning("an answer could not be kept: %s", error)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}.json"
