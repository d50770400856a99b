"""Random scripts in three ways until a time is over: `make parity`, or `--seed N` for one script.

`online` is plain wandb, `offline` is plain wandb and `wandb sync`, `spool` is `wandb_init`. What
W&B has afterwards must be the same, but for what `tests/parity/intended.py` lists.
"""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugins" / "flytekitplugins-wbmon")]

from tests.parity.compare import compare  # noqa: E402
from tests.parity.scripts import Script, make_script  # noqa: E402

AT_ONCE = 24


def main() -> int:
    """Play scripts and say which differ.

    Returns:
        1 if any did.
    """
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="play this script alone, and print it")
    parser.add_argument("--script", type=Path, help="play the script of this file")
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--first", type=int, default=time.time_ns() // 10**6, help="first seed")
    arguments = parser.parse_args()
    if arguments.seed is not None or arguments.script:
        script = (
            json.loads(arguments.script.read_text())
            if arguments.script
            else make_script(arguments.seed)
        )
        print(json.dumps(script, indent=1))
        return tell([script], {})
    end = time.monotonic() + arguments.seconds
    seed, places = arguments.first, dict[str, str]()
    while time.monotonic() < end:
        tell([make_script(number) for number in range(seed, seed + AT_ONCE)], places)
        seed += AT_ONCE
    print(f"{seed - arguments.first} scripts from seed {arguments.first}, {len(places)} places")
    return 1 if places else 0


def tell(scripts: list[Script], places: dict[str, str]) -> int:
    """Print what differs; a place that is in `places` by then is not printed again."""
    n_differing = 0
    for run_id, found in compare(scripts).items():
        n_differing += bool(found)
        for difference in found:
            # rows, calls and keys are many, places are few
            place = re.sub(r"\d+|(?<=summary\.)[^:]*", "N", difference.partition(":")[0])
            if place not in places:
                places[place] = run_id
                print(f"{run_id}: {difference}", flush=True)
    return 1 if n_differing else 0


if __name__ == "__main__":
    sys.exit(main())
