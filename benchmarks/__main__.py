"""Every benchmark, one after the other, each in a process of its own.

python -m benchmarks            # all of them, into docs/benchmarks.md
python -m benchmarks NAME …     # only these, to the terminal
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
OWN_ENVIRONMENT = ("drift_peers", "llm_capacity", "llm_judge", "llm_outages", "llm_overhead")


def programs() -> list[str]:
    """The modules here that can be run, without those that build environments of their own."""
    names = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
    return [name for name in names if name not in OWN_ENVIRONMENT and _runs(name)]


def measure(name: str) -> str:
    """A section of the page: what is measured, how to repeat it, and what came out."""
    title, _, _ = _docstring(name).partition("\n")
    print(f"{name} …", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    found = done.stdout if done.returncode == 0 else f"did not finish: {done.stderr[-500:]}"
    return f"## {title}\n\n`python -m benchmarks.{name}`\n\n{found.strip()}\n"


def main(*names: str) -> None:
    """Run all benchmarks and write the page, or print those that are named."""
    if names:
        print("\n".join(map(measure, names)))
        return
    head = "# Benchmarks\n\nWritten by `make bench`, in one go on one machine.\n"
    PAGE.write_text("\n".join([head, *map(measure, programs())]), encoding="utf-8")


def _docstring(name: str) -> str:
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or name


def _runs(name: str) -> bool:
    text = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return 'if __name__ == "__main__"' in text


if __name__ == "__main__":
    main(*sys.argv[1:])
