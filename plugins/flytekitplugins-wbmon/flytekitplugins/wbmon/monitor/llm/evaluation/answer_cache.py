"""A store of answers, so that an evaluation does not pay twice for the same request."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.valid_answer import valid_answer
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file

logger = logging.getLogger(__name__)


def prompt_digest(variant: Variant) -> str:
    """Digest of the prompt of a variant."""
    if not variant.prompt:
        return variant.prompt_version
    return PromptTemplate(name=variant.name, messages=variant.prompt).digest


def item_digest(item: Mapping[str, Any]) -> str:
    """Digest of the content of an item."""
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()


def item_numbers(items: Sequence[Mapping[str, Any]]) -> list[int]:
    """The number of each item, which all items of one `id` share; without ids, all of one content.

    Args:
        items: The items.
    """
    numbers: dict[tuple[bool, str], int] = {}
    found = []
    for item in items:
        has_id = not is_missing(item.get("id"))
        key = (has_id, str(item["id"]) if has_id else item_digest(item))
        found.append(numbers.setdefault(key, len(numbers)))
    return found


def answer_key(variant: Variant, item: Mapping[str, Any], repeat: int) -> str:
    """Key of an answer: a digest of the prompt, model, parameters, item and repeat."""
    parts = [
        prompt_digest(variant),
        variant.model,
        sorted(variant.parameters.items()),
        item_digest(item),
        repeat,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class AnswerStore:
    """A folder of answers; one that cannot be read or written is requested again.

    Args:
        uri: Path or fsspec URL of the folder.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """

    def __init__(self, uri: str, *, filesystem: Any = None) -> None:
        self._files, self._root = open_filesystem(uri, filesystem=filesystem)

    def get(self, key: str) -> Answer | None:
        """The answer of an earlier run; None if there is none."""
        try:
            found = valid_answer(record_from_json(Answer, self._files.cat_file(self._path(key))))
        except (FileNotFoundError, DataError):
            return None
        except OSError as error:
            logger.warning("an answer could not be read and is asked for again: %s", error)
            return None
        # an earlier release kept whatever it was given
        return None if found.error else found

    def put(self, key: str, answer: Answer) -> None:
        """Store an answer; an error is logged and not raised."""
        path = self._path(key)
        try:
            write_file(self._files, path, record_to_json(answer).encode())
        except OSError as error:
            logger.warning("an answer could not be kept: %s", error)

    def _path(self, key: str) -> str:
        # one folder of all answers would be slow to list
        return f"{self._root}/{key[:2]}/{key}.json"
