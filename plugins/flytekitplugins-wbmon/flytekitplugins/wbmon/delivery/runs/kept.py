"""What others wrote to a run, and the delivery of a log must not replace.

A session of a run that was resumed knows nothing of the others: its log says what it has written
itself. The newest session, whose last row was logged last, has the last word on what a run has only
one of: state, exit code, name, notes, tags, and each name in the summary and the config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.api import ServedRun
from flytekitplugins.wbmon.delivery.runs.claim import FLYTE_BLOCK
from flytekitplugins.wbmon.delivery.runs.tally import ERROR_KEYS
from flytekitplugins.wbmon.delivery.runs.transaction_log import path_of, summary_record
from flytekitplugins.wbmon.delivery.runs.wandb_internals import record_type

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ConfigRecord,
        Record,
        RunRecord,
    )

# wandb rounds times in its own way
_SAME_S = 0.001


class KeptContent:
    """What a run has at the server beside the content of one log.

    Args:
        served: The run as the server has it; None if it has not.
    """

    def __init__(self, served: ServedRun | None) -> None:
        self._served = ServedRun() if served is None else served
        self._first_tags: tuple[str, ...] = ()

    def is_newer(self, than: float) -> bool:
        """Whether another session has logged to the run after a time, in seconds since 1970."""
        last = self._served.summary.get("_timestamp")
        return isinstance(last, int | float) and last > than + _SAME_S

    def begin(self, run: RunRecord, *, resumes: bool) -> Iterator[Record]:
        """Complete the record that begins a log.

        Args:
            run: The record, with which wandb replaces the config and the summary of the run.
            resumes: Whether the session goes on with what the run has.

        Returns:
            The records that follow it.
        """
        if not resumes:
            return
        self._first_tags = tuple(run.tags)
        # an empty block replaces nothing
        given = {path_of(item)[0] for item in run.config.update if item.value_json != "{}"}
        _add_config(
            run.config, {key: item for key, item in self._served.config.items() if key not in given}
        )
        # an earlier session's error is not this one's
        yield from _summary(
            {key: value for key, value in self._served.summary.items() if key not in ERROR_KEYS}
        )

    def add_tags(self, run: RunRecord, *, resumes: bool) -> None:
        """Let tags that a session adds be added to those that the run has.

        A session knows only the tags that it has set itself, so `run.tags += (...)` would replace
        the others.

        Args:
            run: A later record of the log, with all tags of the session.
            resumes: As in `begin`.
        """
        if not resumes or self._first_tags:
            return  # the tags that a session begins with replace the others, as wandb has it
        own = tuple(run.tags)
        run.ClearField("tags")
        run.tags.extend(dict.fromkeys((*self._served.tags, *own)))

    def newer(self, first: RunRecord) -> Iterator[Record]:
        """The records that give the last word to the newer session.

        Args:
            first: The record that began the log.
        """
        served = self._served
        yield from _summary(served.summary)
        absent = [key for key in ERROR_KEYS if key not in served.summary]
        record = record_type()()
        for key in absent:
            record.summary.remove.add(key=key)
        if absent:
            yield record
        record = record_type()()
        _add_config(record.config, served.config)
        # one without content has no type, at which wandb's service would stop
        if record.WhichOneof("record_type"):
            yield record
        record = record_type()()
        record.run.CopyFrom(first)
        record.run.ClearField("tags")
        record.run.tags.extend(served.tags)
        record.run.display_name = served.name or first.display_name
        record.run.notes = served.notes or first.notes
        yield record

    @property
    def exit_code(self) -> int | None:
        """The exit code with which the run has ended; None if it has not."""
        if not self._served.has_ended:
            return None
        code = self._served.exit_code
        return int(self._served.state != "finished") if code is None else code


def _summary(values: Mapping[str, Any]) -> Iterator[Record]:
    if values:
        yield summary_record(values)


def _add_config(config: ConfigRecord, items: Mapping[str, Any]) -> None:
    for key, item in items.items():
        # each writer has these entries of its own
        if key not in ("_wandb", FLYTE_BLOCK) and isinstance(item, dict) and "value" in item:
            config.update.add(key=key, value_json=json.dumps(item["value"]))
