"""In what a run of `wandb_init` differs from one of plain wandb, on purpose.

Each entry has a pattern that finds its differences among those of `snapshot.differences`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# what docs/parity.md calls it, and where it shows
INTENDED: Mapping[str, str] = {
    "The task's identity": (
        r'config\.flyte: "absent", |job_type: ".*", "body"|told\..* read: .*, "\'body\'"'
    ),
    "Why it failed": r'summary\.error_(type|message): "absent", ',
    "The machine": (
        r"config\._wandb\.e: |events: true, false|"
        r'files\.(wandb-metadata\.json|requirements\.txt): .*, "absent"'
    ),
    "The console": r'(files\.output\.log|output\.\d+): .*, "absent"',
    "The name of a run without one": r"told\.0\.\d+ read: \"'s\d+'\", \"None\"",
    "What a resumed run reads": r"told\.[1-9]\d*\.\d+ (read|read_summary): ",
}
# what plain wandb does otherwise offline
OFFLINE: Mapping[str, str] = {
    "ids and times": r"config\._wandb\.e\.|files\.(wandb-metadata\.json|requirements\.txt): ",
    "the name": r"told\.0\.\d+ read: \"'s\d+'\", \"None\"",
    # what wandb itself prints depends on the clock, and so does how lines are put together
    "the console": r"(files\.output\.log|output\.\d+): ",
    # sampled by the clock: of a short run there may be none
    "system metrics": r"events: (true|false), ",
}


def unintended(found: Iterable[str], listed: Mapping[str, str]) -> list[str]:
    """The differences that are not listed."""
    known = re.compile("|".join(listed.values()))
    return [difference for difference in found if not known.match(difference)]
