"""Reports as tabs of the task's Flyte Deck."""

from __future__ import annotations

import re
from typing import Any


def show_report(report: Any) -> None:
    """Add a report's page to the Deck of the running task; outside a task nothing happens.

    Args:
        report: A record with `to_html`.
    """
    from flytekit import Deck, FlyteContextManager

    if FlyteContextManager.current_context().user_space_params is None:
        return
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(report).__name__)
    Deck(words.capitalize(), report.to_html())
