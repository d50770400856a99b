"""The page of the mutants: figures by module, and every survivor with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.mutants.runner import SURVIVED, TIMED_OUT, UNTESTED

_HEAD = """# Mutants

A mutant is the code with one small fault put in: `<` for `<=`, `+` for `-`, a number one higher, a
keyword dropped, a statement removed, `None` returned. A test that passes all the same would not
notice that fault. `make mutants` puts every such fault into the code that computes and judges and
runs the tests of the folder against it; it writes this page, and fails if a mutant survives without
a reason here (`tests/mutants/reasons.txt`). Strings, messages and annotations are left alone.

| module | mutants | tried | noticed | by no end | survive | share noticed |
|---|---:|---:|---:|---:|---:|---:|
"""


@dataclass(frozen=True)
class Row:
    """A mutant and what became of it; no result if it has to be tried again."""

    key: str
    line: int
    result: str | None

    @property
    def survived(self) -> bool:
        """Whether no test noticed it."""
        return self.result in (SURVIVED, UNTESTED)


def page(table: Mapping[str, Sequence[Row]], reasons: Mapping[tuple[str, str], str]) -> str:
    """The page in Markdown."""
    groups = {group: [] for group in ("stats", "monitor", "all")}
    for name, rows in table.items():
        groups[name.split("/")[0]] += rows
        groups["all"] += rows
    lines = [_figures(f"`{name}`", rows) for name, rows in table.items()]
    lines += [_figures(f"**{group}**", rows) for group, rows in groups.items()]
    return _HEAD + "\n".join([*lines, "", "## Survivors", *_survivors(table, reasons), ""])


def _figures(title: str, rows: Sequence[Row]) -> str:
    survivors = sum(row.survived for row in rows)
    endless = sum(row.result == TIMED_OUT for row in rows)
    tried = sum(row.result is not None for row in rows)
    noticed = tried - survivors
    # what a change leaves to try again is mostly survivors: a share of the rest would flatter
    share = f"{noticed / tried:.1%}" if rows and tried == len(rows) else ""
    return f"| {title} | {len(rows)} | {tried} | {noticed} | {endless} | {survivors} | {share} |"


def _survivors(
    table: Mapping[str, Sequence[Row]], reasons: Mapping[tuple[str, str], str]
) -> Iterable[str]:
    for name, rows in table.items():
        survivors = [row.key for row in rows if row.survived]
        if survivors:
            yield f"\n### {name}\n"
        for key in survivors:
            yield f"- {key}: {reasons.get((name, key), 'no reason given')}"
