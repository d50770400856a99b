"""What a task shows on its Flyte Deck: the link to its W&B run, notes about it, and its reports.

Outside of a Flyte task there is no Deck, and nothing happens.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

TITLE = "W&B run"


def show_run(label: str, url: str) -> None:
    """Put a link to the run into the task's Deck."""
    name = escape(label)
    link = f'<a href="{escape(url, quote=True)}">{name}</a>' if url else name
    _append(f"<p>{link}</p>")


def show_note(text: str) -> None:
    """Add a line of text to the task's Deck page about its run."""
    _append(f"<p>{escape(text)}</p>")


def show_report(report: Any) -> None:
    """Add a report's page to the Deck of the running task as a tab of its own.

    Args:
        report: A record with `to_html`.
    """
    from flytekit import Deck, FlyteContextManager

    if FlyteContextManager.current_context().user_space_params is None:
        return
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(report).__name__)
    Deck(words.capitalize(), report.to_html())


def current_decks() -> dict[str, str]:
    """HTML of the running task's Decks, by title."""
    return {deck.name: deck.html for deck in _decks() or ()}


def _append(html: str) -> None:
    from flytekit import Deck

    decks = _decks()
    if decks is None:
        return
    page = next((deck for deck in decks if deck.name == TITLE), None)
    (page or Deck(TITLE)).append(html)


def _decks() -> list[Any] | None:
    from flytekitplugins.wbmon.flyte.internals import running_task

    task = running_task()
    return None if task is None else task.params.decks
