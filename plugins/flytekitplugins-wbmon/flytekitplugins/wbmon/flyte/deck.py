"""Shows a task's W&B link, notes about its run, and its reports on the task's Flyte Deck.

Outside of a Flyte task `show_run` and `show_note` do nothing.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

TITLE = "W&B run"


def show_run(label: str, url: str) -> None:
    """Add a link to the W&B run to the task's Deck.

    Args:
        label: Text of the link.
        url: Page of the run; if empty, the label is shown without a link.
    """
    name = escape(label)
    link = f'<a href="{escape(url, quote=True)}">{name}</a>' if url else name
    _append(f"<p>{link}</p>")


def show_note(text: str) -> None:
    """Add a line of plain text to the Deck page about the task's run."""
    _append(f"<p>{escape(text)}</p>")


def show_report(report: Any) -> None:
    """Add a report to the Deck of the running task, as a separate tab.

    Args:
        report: A record with a method `to_html`.
    """
    from flytekit import Deck, FlyteContextManager

    # without these parameters there is no list of Decks, and making a Deck raises
    if FlyteContextManager.current_context().user_space_params is None:
        return
    # the class name as a title: `DriftReport` becomes "Drift report"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(report).__name__)
    # a Deck adds itself to the task when it is made
    Deck(words.capitalize(), report.to_html())


def current_decks() -> dict[str, str]:
    """HTML of the running task's Decks, by title."""
    return {deck.name: deck.html for deck in _decks() or ()}


def _append(html: str) -> None:
    from flytekit import Deck

    decks = _decks()
    if decks is None:
        return
    # all notes go to one page; flytekit would make a tab for each new Deck
    page = next((deck for deck in decks if deck.name == TITLE), None)
    (page or Deck(TITLE)).append(html)


def _decks() -> list[Any] | None:
    from flytekitplugins.wbmon.flyte.internals import running_task

    task = running_task()
    return None if task is None else task.params.decks
