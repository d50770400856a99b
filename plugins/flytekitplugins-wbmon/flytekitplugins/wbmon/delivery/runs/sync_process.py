"""The process that runs `wandb sync` for one folder, with the key from its standard input.

`wandb sync` itself takes the key from its environment, where it could be read as long as it runs.
"""

from __future__ import annotations

import sys

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.sync_command import warm_up


def main(folder: str, key: str) -> None:
    """Send the log of a folder with `wandb sync`.

    Args:
        folder: The run's folder.
        key: The W&B key.
    """
    warm_up(ApiKey(key))
    from wandb.cli.cli import cli

    cli.main(["sync", "--include-online", folder])


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.read())
