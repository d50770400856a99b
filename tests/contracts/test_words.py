"""One word for one thing: one class a name, and words that were given up stay away."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from support.environment import SOURCE

PACKAGE = SOURCE / "flytekitplugins" / "wbmon"
GIVEN_UP = re.compile(
    r"\b(carrier|relay|ledger|deliverer|purse|journey|foretold|overrated|hurried|enumeration"
    r"|counts_something_off|changes_since|take_pulse|dead_man|go_on_from|gave_up|settle|decide_and_tell"
    r"|satisfaction|picturing)(?:s|d)?\b",
    re.IGNORECASE,
)
# where the names of an earlier release are turned into those of this one
EARLIER_NAMES = {"monitor/alerts/addresses.py", "publish/alerts/state_file.py"}


def test_no_two_classes_have_one_name() -> None:
    homes = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path.relative_to(PACKAGE).as_posix())
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert twice == {}


def test_words_that_were_given_up_stay_away() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): sorted(set(GIVEN_UP.findall(text)))
        for path in sorted(PACKAGE.rglob("*.py"))
        if GIVEN_UP.search(text := path.read_text(encoding="utf-8"))
    }
    assert {place: words for place, words in found.items() if place not in EARLIER_NAMES} == {}
