"""What a script does to a run, call by call; the same code plays it in every way.

A script is plain data, so that it can be handed to another process and printed: `{"id": …,
"sessions": [{"init": {…}, "calls": [["log", {…}, {…}], …], "end": ["return"]}]}`. Values that JSON
does not have are lists that begin with `$`, such as `["$float", "nan"]`; see `_VALUES`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# the name of each call, and what it answered
Said = list[tuple[str, Any]]


class ScriptError(Exception):
    """The error with which a script's body may end."""


def play(run: Any, session: Mapping[str, Any], folder: Path, said: Said) -> None:
    """Make the session's calls, then end as it says.

    Args:
        run: The W&B run.
        session: Its `calls` and its `end`.
        folder: Where files are written.
        said: Takes what each call returned, or the type of the error that it raised.

    Raises:
        ScriptError: If the session ends so.
        SystemExit: If the session ends so.
    """
    for number, (name, *arguments) in enumerate(session["calls"]):
        try:
            answer = _CALLS[name](run, folder / str(number), *map(decode, arguments))
        except Exception as error:  # noqa: BLE001 - what a call raises is compared, too
            answer = type(error).__name__
        said.append((name, answer))
    kind, *arguments = session["end"]
    if kind == "raise":
        raise ScriptError(*arguments)
    if kind == "exit":
        sys.exit(*arguments)


def _log(run: Any, _: Path, row: Any, how: Mapping[str, Any]) -> None:
    run.log(row, **how)


def _set_summary(run: Any, _: Path, key: str, value: Any) -> None:
    run.summary[key] = value


def _update_summary(run: Any, _: Path, values: Any) -> None:
    run.summary.update(values)


def _delete_summary(run: Any, _: Path, key: str) -> None:
    del run.summary[key]


def _read(run: Any, _: Path, name: str) -> str:
    value = getattr(run, name)
    # tags have no order, and count once
    return repr(sorted(set(value)) if name == "tags" else value)


def _read_summary(run: Any, _: Path, key: str) -> str:
    return repr(run.summary.get(key))


def _config(run: Any, _: Path, values: Any, how: Mapping[str, Any]) -> None:
    run.config.update(values, **how)


def _set_config(run: Any, _: Path, key: str, value: Any) -> None:
    run.config[key] = value


def _define(run: Any, _: Path, name: str, how: Mapping[str, Any]) -> None:
    run.define_metric(name, **how)


def _alert(run: Any, _: Path, title: str, text: str, how: Mapping[str, Any]) -> None:
    run.alert(title, text, **how)


def _artifact(
    run: Any,
    folder: Path,
    name: str,
    files: Mapping[str, str],
    made: Mapping[str, Any],
    logged: Mapping[str, Any],
) -> None:
    import wandb

    # of the run's own: the versions of a name are counted over all runs
    artifact = wandb.Artifact(f"{run.id}-{name}", **made)
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        artifact.add_file(str(path), name=place)
    run.log_artifact(artifact, **logged)


def _set(run: Any, _: Path, name: str, value: Any) -> None:
    setattr(run, name, tuple(value) if name == "tags" else value)


def _add_tags(run: Any, _: Path, tags: Any) -> None:
    run.tags += tuple(tags)


def _save(run: Any, folder: Path, name: str, text: str, how: Mapping[str, Any]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    run.save(str(path), base_path=str(folder), **how)


def _print(run: Any, _: Path, text: str) -> None:
    print(run.id, text)  # noqa: T201 - what a run captures


def _mark_preempting(run: Any, _: Path) -> None:
    run.mark_preempting()


_CALLS: Mapping[str, Callable[..., object]] = {
    "add_tags": _add_tags,
    "alert": _alert,
    "artifact": _artifact,
    "config": _config,
    "define_metric": _define,
    "delete_summary": _delete_summary,
    "log": _log,
    "mark_preempting": _mark_preempting,
    "print": _print,
    "read": _read,
    "read_summary": _read_summary,
    "save": _save,
    "set": _set,
    "set_config": _set_config,
    "set_summary": _set_summary,
    "update_summary": _update_summary,
}


def decode(written: Any) -> Any:
    """A script's value as the value that it stands for."""
    if isinstance(written, dict):
        return {key: decode(value) for key, value in written.items()}
    if not isinstance(written, list):
        return written
    if written and isinstance(written[0], str) and written[0].startswith("$"):
        kind, *arguments = written
        return _VALUES[kind](*map(decode, arguments))
    return [decode(value) for value in written]


def _histogram(values: list[float]) -> Any:
    import wandb

    return wandb.Histogram(values)


def _table(columns: list[str], rows: list[list[Any]]) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=rows)


def _html(text: str) -> Any:
    import wandb

    return wandb.Html(text, inject=False)


def _image(width: int, caption: str | None) -> Any:
    import wandb

    pixels = np.arange(width * width * 3, dtype=np.uint8).reshape(width, width, 3)
    return wandb.Image(pixels, caption=caption)


class _Tensor:
    """As much of a PyTorch scalar as wandb looks at; it knows one by the name of its type."""

    requires_grad = True

    def __init__(self, value: float) -> None:
        self._value = value
        self.data = self

    def detach(self) -> _Tensor:
        return self

    def size(self) -> tuple[int, ...]:
        return ()

    def item(self) -> float:
        return self._value


_Tensor.__module__, _Tensor.__name__, _Tensor.__qualname__ = "torch", "Tensor", "Tensor"


class _Opaque:
    """A value of which wandb knows nothing; its text is the same in every process."""

    def __repr__(self) -> str:
        return "opaque"

    __str__ = __repr__


_VALUES: Mapping[str, Callable[..., Any]] = {
    "$array": lambda kind, values: np.array(values, dtype=kind),
    "$bytes": lambda text: text.encode(),
    "$complex": complex,
    "$date": dt.date.fromisoformat,
    "$datetime": dt.datetime.fromisoformat,
    "$decimal": decimal.Decimal,
    "$float": float,
    "$histogram": _histogram,
    "$html": _html,
    "$image": _image,
    "$int": int,
    "$keyed": lambda key, value: {key: value},
    "$numpy": lambda kind, value: np.dtype(kind).type(value),
    "$opaque": _Opaque,
    "$set": set,
    "$table": _table,
    "$tensor": _Tensor,
    "$tuple": lambda *values: values,
}
