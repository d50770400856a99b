"""In what a run of `wandb_init` differs from one of plain wandb, on purpose.

Each entry has a pattern that finds its differences among those of `snapshot.differences`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# what the docs call it, and where it shows
INTENDED: Mapping[str, str] = {
    "the task's identity": r'config\.flyte: "absent", |(job_type|group): "", ',
    "why it failed": r'summary\.error_(type|message): "absent", ',
    "the machine": (
        r"config\._wandb\.e\b|events: true, false|"
        r'files\.(wandb-metadata\.json|requirements\.txt): .*, "absent"'
    ),
    "the console": r'files\.output\.log: .*, "absent"|output\.\d+: .*, "absent"',
    # a resumed run, which the task does not ask W&B about
    "what a resumed run reads": r"told\.[1-9]\d*\.\d+ ",
    "names of media files": r"files\.media/|(rows\.\d+|summary)\..*\b(path|filenames\.\d+): ",
}
# what plain wandb itself does otherwise offline
OFFLINE: Mapping[str, str] = {"the ids of a writer": r"files\.(wandb-metadata\.json|requirements\.txt): |config\._wandb\.e\."}


def unintended(found: list[str], listed: Mapping[str, str]) -> list[str]:
    """The differences that are not listed."""
    known = re.compile("|".join(listed.values()))
    return [difference for difference in found if not known.match(difference)]
