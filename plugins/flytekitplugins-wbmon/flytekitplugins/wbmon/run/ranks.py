"""Which processes of a distributed task open a run (torchrun and its like)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from flytekitplugins.wbmon.run.settings import RankScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process among those that torchrun started.

    Attributes:
        rank: Number of the process among all, from 0.
        local_rank: Number of the process on its worker.
        worker: Number of the worker (torchrun's group rank).
        world_size: Count of all processes.
    """

    rank: int
    local_rank: int
    worker: int
    world_size: int

    def opens_run(self, scope: RankScope) -> bool:
        """Whether this process has a run: one in all, one a worker, or every process."""
        if scope == "all":
            return True
        return (self.rank if scope == "global" else self.local_rank) == 0

    def suffix(self, scope: RankScope) -> str:
        """What tells the runs of one task apart; ends their ids."""
        return {"global": "", "worker": f"-w{self.worker}", "all": f"-r{self.rank}"}[scope]

    def to_config(self) -> dict[str, int]:
        """For the run's `flyte` config block."""
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
        worker=int(environ.get("GROUP_RANK") or environ.get("NODE_RANK") or 0),
        world_size=int(environ["WORLD_SIZE"]),
    )
