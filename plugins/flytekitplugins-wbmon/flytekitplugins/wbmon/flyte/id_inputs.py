"""A task's inputs in the template of a run id: `{inputs.region}`, `{inputs.night:%Y-%m}`, `{date}`.

Flyte passes the time of a scheduled night to the workflow as an input (`kickoff_time_input_arg` of
a schedule), and a backfill passes the time of the night that it makes up for. The pod knows no
other: when it starts says nothing of the night, and a retry may start a day later. So `{date}` is
the one date among the inputs of the task.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import re
import types
import typing
from collections.abc import Mapping
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.internals import mapped_task
from flytekitplugins.wbmon.names import digest_of, listed_names

logger = logging.getLogger(__name__)

PLACEHOLDER = re.compile(r"\{(\w+(?:\.\w+)?)(?::([^{}]*))?\}")
NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.-]+")
INPUT = "inputs."

# two that differ in all that a format can show
_DATES = (datetime(2000, 1, 1), datetime(2011, 12, 23, 21, 45, 59, 7))  # noqa: DTZ001
# with an example of each, on which a format is tried
_PLAIN: Mapping[type, Any] = {
    date: date(2000, 1, 1), bool: True, int: 1, float: 1.0, str: "a", Enum: "a",
}  # fmt: skip


def input_types(target: Any) -> Mapping[str, Any] | None:
    """The types of a task's or function's inputs by name; None if it takes any name.

    The type of an input without an annotation is None.

    Args:
        target: A task, a node, a mapped task, a function or a partial of one.
    """
    task = mapped_task(target) or target
    interface = getattr(task, "python_interface", None)
    if interface is not None:
        return dict(interface.inputs)
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    hints = _hints(target)
    return {one.name: hints.get(one.name) for one in parameters}


def check_inputs(template: str, inputs: Mapping[str, Any] | None, task: str) -> None:
    """Check the inputs that a template names, now that the task is known.

    Args:
        template: The template of a run id.
        inputs: As `input_types` returns them.
        task: Name of the task, for messages.

    Raises:
        ConfigError: If the task has no such input, if an input cannot be part of an id or its
            format is wrong, or if `{date}` could be one of several inputs.
    """
    if inputs is None:
        return
    for name, form in PLACEHOLDER.findall(template):
        if name == "date":
            _check_date(template, inputs, task)
        elif name.startswith(INPUT):
            _check_input(name.removeprefix(INPUT), form, inputs, task)


def id_text(name: str, form: str, inputs: Mapping[str, Any], started_at: datetime) -> str:
    """What stands in an id for `{date}` or for an input.

    Times are in UTC; those without a time zone are taken as UTC. Two values never become the same
    text because a character of theirs is not allowed in an id.

    Args:
        name: `date`, or `inputs.` and the name of an input.
        form: The format after the colon; empty for the default.
        inputs: The values of the inputs by name.
        started_at: The date for a task without one, or whose date is None.

    Raises:
        ConfigError: If the task has no such input, if it cannot be part of an id, or if several
            inputs are dates and `{date}` does not say which.
    """
    if name == "date":
        return _written(name, _date_among(inputs) or started_at, form or "%Y-%m-%d")
    own_name = name.removeprefix(INPUT)
    if own_name not in inputs:
        raise _no_such(own_name, inputs, "the task")
    value = inputs[own_name]
    if value is None and "%" in form:
        value = started_at
    text = _written(name, _plain(own_name, value), form)
    clean = NOT_ALLOWED.sub("-", text).strip("-")
    return clean if clean == text else f"{clean}-{digest_of(text, 8)}".strip("-")


def check_formats(template: str) -> None:
    """Check the formats of a template.

    Raises:
        ConfigError: If one would be ignored, or gives all dates the same text.
    """
    for name, form in PLACEHOLDER.findall(template):
        if form and name != "date" and not name.startswith(INPUT):
            raise ConfigError(f"{{{name}}} must have no format in an id, got {{{name}:{form}}}")
        if form and name == "date" and len({one.strftime(form) for one in _DATES}) == 1:
            raise ConfigError(
                f"{{date}} must have a format that tells dates apart, such as {{date:%Y-%m}}, got "
                f"{{date:{form}}}"
            )


def _check_date(template: str, inputs: Mapping[str, Any], task: str) -> None:
    dates = [name for name, kind in inputs.items() if _kind(kind) is date]
    if len(dates) > 1:
        raise _ambiguous(dates, task)
    # an input without an annotation may be the date
    if not dates and None not in inputs.values():
        logger.warning(
            "W&B: {date} in the id %r is the day on which a pod of %s starts, because no input of "
            "it is a date; give it the kickoff time of the schedule, or a backfill of October "
            "lands in November's run",
            template, task,
        )  # fmt: skip


def _check_input(name: str, form: str, inputs: Mapping[str, Any], task: str) -> None:
    if name not in inputs:
        raise _no_such(name, inputs, task)
    kind = _kind(inputs[name])
    if kind is None:
        return
    if kind not in _PLAIN:
        raise ConfigError(
            f"{{{INPUT}{name}}} must be a text, a number or a date to be part of an id, "
            f"got {getattr(kind, '__name__', kind)} in {task}"
        )
    try:
        _formatted(_PLAIN[kind], form)
    except ValueError as error:
        raise ConfigError(
            f"{{{INPUT}{name}:{form}}} must have a format for a {kind.__name__}: {error}"
        ) from None


def _hints(target: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(getattr(target, "func", target))
    except Exception:  # noqa: BLE001 - annotations may be any expression
        return {}


def _kind(annotation: Any) -> Any:
    """The plain type that an annotation stands for, or itself; None if it says nothing."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [one for one in typing.get_args(annotation) if one is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else annotation
    if annotation is Any:
        return None
    if not isinstance(annotation, type):
        return annotation
    return next((plain for plain in _PLAIN if issubclass(annotation, plain)), annotation)


def _date_among(inputs: Mapping[str, Any]) -> date | None:
    dates = [name for name, value in inputs.items() if isinstance(value, date)]
    if len(dates) > 1:
        raise _ambiguous(dates, "the task")
    found: date | None = inputs[dates[0]] if dates else None
    return found


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, tuple(_PLAIN)):
        return value
    raise ConfigError(
        f"{{{INPUT}{name}}} must be a text, a number or a date to be part of an id, "
        f"got {type(value).__name__}"
    )


def _written(name: str, value: Any, form: str) -> str:
    try:
        return _formatted(value, form)
    except (ValueError, OverflowError) as error:  # `NaT`, or a time outside of the years 1 to 9999
        raise ConfigError(
            f"{{{name}}} must be a value that {form or 'its default format'!r} can write, got "
            f"{type(value).__name__}: {error}"
        ) from None


def _formatted(value: Any, form: str) -> str:
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value
        return moment.astimezone(timezone.utc).strftime(form or "%Y-%m-%dT%H%M%S")
    if isinstance(value, date):
        return value.strftime(form or "%Y-%m-%d")
    return format(value, form) if form else str(value)


def _ambiguous(dates: list[str], task: str) -> ConfigError:
    return ConfigError(
        f"{{date}} in an id must be one date, and {listed_names(dates)} of {task} are dates; say "
        f"which: {{{INPUT}{dates[0]}:%Y-%m-%d}}"
    )


def _no_such(name: str, inputs: Mapping[str, Any], task: str) -> ConfigError:
    near = difflib.get_close_matches(name, inputs, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {listed_names(inputs)}"
    return ConfigError(f"{{{INPUT}{name}}} must be an input of {task}; {hint}")
