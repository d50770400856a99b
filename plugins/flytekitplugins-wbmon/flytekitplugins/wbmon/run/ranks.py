"""Decides which processes of a distributed task (torchrun and similar) open a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from flytekitplugins.wbmon.run.settings import RankScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The position of one process among those that torchrun started.

    Attributes:
        rank: Index of the process among all processes, from 0.
        local_rank: Index of the process on its worker, from 0.
        worker: Index of the worker, from 0 (torchrun's group rank).
        world_size: Number of all processes.
    """

    rank: int
    local_rank: int
    worker: int
    world_size: int

    def opens_run(self, scope: RankScope) -> bool:
        """Whether this process opens a run.

        Args:
            scope: `global` for one run in total, `worker` for one run per worker, `all` for one run
                per process.
        """
        if scope == "all":
            return True
        return (self.rank if scope == "global" else self.local_rank) == 0

    def suffix(self, scope: RankScope) -> str:
        """The suffix of the run id that makes the ids of one task's runs distinct."""
        # a single run needs no suffix: its id is that of a task without ranks
        return {"global": "", "worker": f"-w{self.worker}", "all": f"-r{self.rank}"}[scope]

    def to_config(self) -> dict[str, int]:
        """The entries for the `flyte` block of the run's config."""
        return {
            "rank": self.rank,
            "local_rank": self.local_rank,
            "worker": self.worker,
            "world_size": self.world_size,
        }


def current_rank(environ: Mapping[str, str] | None = None) -> Rank | None:
    """The rank that torchrun gave to this process; None if there is only one process."""
    environ = os.environ if environ is None else environ
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return None
    return Rank(
        rank=int(environ["RANK"]),
        local_rank=int(environ.get("LOCAL_RANK") or 0),
        # torchrun sets GROUP_RANK; other launchers call the same number NODE_RANK
        worker=int(environ.get("GROUP_RANK") or environ.get("NODE_RANK") or 0),
        world_size=int(environ["WORLD_SIZE"]),
    )
