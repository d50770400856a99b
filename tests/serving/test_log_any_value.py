"""Whatever a program gives to a log, the program goes on, and every request is accounted for.

`make fuzz` does the same with many seeds.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from support.log_calls import check_log


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_value_is_accounted_for(tmp_path: Path, seed: int) -> None:
    check_log(tmp_path, Random(seed), 150)  # noqa: S311 - not for secrets
