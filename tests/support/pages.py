"""The code that the pages show."""

from __future__ import annotations

import re

from support.environment import ROOT


def code_blocks(page: str, language: str = "python") -> list[str]:
    """The blocks of code of a page, in its order.

    Args:
        page: Its path from the top of the project, such as `docs/drift.md`.
        language: The word that its fence names.
    """
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
