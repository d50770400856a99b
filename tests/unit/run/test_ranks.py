from __future__ import annotations

import pytest

from flytekitplugins.wbmon.run.ranks import current_rank
from flytekitplugins.wbmon.run.settings import RankScope

WORLD = [
    {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank % 2),
        "GROUP_RANK": str(rank // 2),
        "WORLD_SIZE": "4",
    }
    for rank in range(4)
]


def test_a_process_alone_has_no_rank() -> None:
    assert current_rank({}) is None
    assert current_rank({"RANK": "0"}) is None


@pytest.mark.parametrize(
    ("scope", "opening"), [("global", [0]), ("worker", [0, 2]), ("all", [0, 1, 2, 3])]
)
def test_the_scope_says_who_opens_a_run(scope: RankScope, opening: list[int]) -> None:
    ranks = [current_rank(environ) for environ in WORLD]
    assert [rank.rank for rank in ranks if rank and rank.opens_run(scope)] == opening


@pytest.mark.parametrize("scope", ["global", "worker", "all"])
def test_runs_of_one_task_have_different_suffixes(scope: RankScope) -> None:
    ranks = [current_rank(environ) for environ in WORLD]
    suffixes = [rank.suffix(scope) for rank in ranks if rank and rank.opens_run(scope)]
    assert len(set(suffixes)) == len(suffixes)


def test_the_rank_is_part_of_the_config() -> None:
    rank = current_rank(WORLD[3])
    assert rank is not None
    assert rank.to_config() == {"rank": 3, "local_rank": 1, "worker": 1, "world_size": 4}
