"""Random tables and calls until a time is over: `make fuzz`, or `python -m tests.fuzz --seed N`.

Each failure is told once for each place in the code, with the seed that makes it again.
"""

from __future__ import annotations

import sys
import time
from argparse import SUPPRESS, ArgumentParser
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugins" / "flytekitplugins-wbmon")]

from tests.fuzz.cases import Failure, run_case  # noqa: E402
from tests.fuzz.runner import run_child, run_seeds  # noqa: E402


def main() -> int:
    """Run cases and say which failed.

    Returns:
        1 if any did.
    """
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this case alone")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--first", type=int, default=time.time_ns() // 10**6, help="first seed")
    parser.add_argument("--at-once", type=int, default=200, help="cases between looks at the time")
    parser.add_argument("--child", action="store_true", help=SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child()
        return 0
    if arguments.seed is not None:
        failure = run_case(arguments.seed)
        print(f"{failure.signature}\n{failure.story}" if failure else "no failure")
        return 1 if failure else 0
    end = time.monotonic() + arguments.seconds
    failures: list[Failure] = []
    seed = arguments.first
    while time.monotonic() < end:
        failures += run_seeds(range(seed, seed + arguments.at_once))
        seed += arguments.at_once
    tell(failures)
    print(f"{seed - arguments.first} cases from seed {arguments.first}, {len(failures)} failed")
    return 1 if failures else 0


def tell(failures: list[Failure]) -> None:
    """The simplest failure of each place, the most frequent place last."""
    frequent = Counter(failure.signature for failure in failures)
    for signature, number in reversed(frequent.most_common()):
        alike = [failure for failure in failures if failure.signature == signature]
        simplest = min(alike, key=lambda failure: len(failure.story))
        print(f"{number} x {signature}\n    python -m tests.fuzz --seed {simplest.seed}")
        print("    " + simplest.story.strip().replace("\n", "\n    ") + "\n")


if __name__ == "__main__":
    sys.exit(main())
