"""Every test of the repository, each in the first environment that can run it; one verdict.

    python tests/run.py [arguments of pytest]

pytest runs in `.venv`. What was skipped there is asked for again, with the same arguments, in
`.venv-llm` (weave changes the environment that it is installed in). So nothing runs twice, no list
says which test needs what, and a test counts as skipped only if no environment ran it.

The last line is `N passed, N failed, N skipped`. What ended a run early is at least one failure
there, and so is a skip under CI, unless `MAY_BE_SKIPPED` names its reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from support.results import Results, merged, read_results

ENVIRONMENTS = (".venv", ".venv-llm")
# what a machine refuses and no set-up can give; what could be installed does not belong here
MAY_BE_SKIPPED = {
    "there is no Chromium on this machine": "only root can install it, and not on every system",
    "this machine does not let a test mount a disk": "some containers forbid it, to root too",
}
# in the environment of pytest and of all that it starts
MARK = "_TESTS_OUTCOMES"
# more processes than a small machine has cores: many tests wait, for a pod or for a server that is
# down; files in the order that `tests/conftest.py` gives them, not by the number of their tests
PROCESSES = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart", "0")
SETTINGS = ("-q", "-rfE", "--durations=15", *PROCESSES)
# `python -m pytest` with this folder on the path from the start, since the plugin is in it
PYTEST = (
    f"import sys; sys.path.insert(1, {str(Path(__file__).resolve().parent)!r}); "
    "import pytest; sys.exit(pytest.main())"
)


def main(arguments: Sequence[str]) -> int:
    """Run the tests and say how it went.

    Returns:
        0 if tests ran and none failed, else 1.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results = run_pytest(ENVIRONMENTS[0], arguments)
    for environment in ENVIRONMENTS[1:]:
        if results.skipped and not results.problems:
            again = run_pytest(environment, arguments, only=results.skipped)
            results = merged(results, again)
    return verdict(results, is_ci=os.environ.get("CI", "").lower() not in ("", "0", "false"))


def run_pytest(
    environment: str, arguments: Sequence[str], *, only: Iterable[str] | None = None
) -> Results:
    """Run pytest in an environment, or those of its tests that `only` names."""
    print(f"{environment}:", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcomes, selected = Path(folder, "outcomes"), Path(folder, "selected")
        options = [*SETTINGS, "-p", "support.outcomes", f"--outcomes={outcomes}"]
        if only is not None:
            selected.write_text("\n".join(only), encoding="utf-8")
            options.append(f"--only={selected}")
        python = Path(environment, "bin", "python")
        process = subprocess.Popen(
            [python, "-c", PYTEST, *options, *arguments], env=os.environ | {MARK: str(outcomes)}
        )
        interrupted = False
        try:
            process.wait()
        except KeyboardInterrupt:  # pytest got it too, and says what it knows
            interrupted = True
            process.wait()
        finally:
            process.terminate()
        if process.returncode < 0:
            wait_for_workers(str(outcomes))
        # a process that is killed may leave the last line unfinished
        lines = outcomes.read_text(encoding="utf-8").split("\n")[:-1] if outcomes.exists() else []
        results = read_results(lines, status=process.returncode, where=environment)
    if interrupted:
        results.problems.append(f"{environment}: interrupted")
    return results


def wait_for_workers(mark: str, *, longest_s: float = 10.0) -> None:
    """Wait for the workers of a pytest that was killed, so that none writes after the verdict.

    Args:
        mark: What stands in the environment of each.
        longest_s: Seconds; what a test started may live on.
    """
    until = time.monotonic() + longest_s
    while time.monotonic() < until and any(mark.encode() in text for text in environments()):
        time.sleep(0.05)


def environments() -> Iterator[bytes]:
    """The environments of the processes of this machine, where it tells them."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            yield path.read_bytes()


def verdict(results: Results, *, is_ci: bool) -> int:
    """Print what has to be known of a run, the closing line last."""
    skipped, failed = dict(results.skipped), dict(results.failed)
    if is_ci:
        forbidden = {t: reason for t, reason in skipped.items() if reason not in MAY_BE_SKIPPED}
        skipped = {t: reason for t, reason in skipped.items() if t not in forbidden}
        failed |= {t: f"skipped, which CI does not allow: {why}" for t, why in forbidden.items()}
    problems = list(results.problems)
    if not (results.ran or results.listed):
        problems.append("no test ran")
    print_reasons("failed as expected", results.xfailed)
    print_reasons("skipped", skipped)
    print_reasons("failed", failed)
    for problem in problems:
        print(problem)
    n_failed = len(failed) or min(len(problems), 1)
    if results.listed and not n_failed:
        print(f"{len(results.listed)} collected")
    else:
        print(f"{len(results.passed)} passed, {n_failed} failed, {len(skipped)} skipped")
    return 1 if n_failed else 0


def print_reasons(heading: str, tests: Mapping[str, str]) -> None:
    """How many tests there are for each reason, and one of them."""
    if tests:
        print(f"{heading}, {len(tests)}:")
    for reason, number in Counter(tests.values()).most_common():
        example = next(test for test, own in tests.items() if own == reason)
        print(f"{number:6}  {reason} ({example}{', …' if number > 1 else ''})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
