"""What is known of the tests after pytest ran in one environment, or in several."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Results:
    """The tests by outcome; where it is a dictionary, each with its reason.

    Attributes:
        collected: The tests that were to run.
        listed: The tests that were only to be named (`--collect-only`).
        problems: What ended a run early, or is missing from it.
    """

    collected: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    xfailed: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ran(self) -> set[str]:
        """The tests that were not skipped."""
        return {*self.passed, *self.failed, *self.xfailed}


def read_results(lines: Iterable[str], *, status: int, where: str) -> Results:
    """The results of one environment.

    Args:
        lines: What the plugin `support.outcomes` wrote.
        status: The exit status of pytest; negative if a signal ended it.
        where: The name of the environment.
    """
    results = Results()
    finished = False
    for line in lines:
        event = json.loads(line)
        outcome, test, reason = event["outcome"], event["test"], event["reason"]
        if outcome == "finished":
            finished = True
        elif outcome in ("collected", "listed", "passed"):
            getattr(results, outcome).add(test)
        else:
            getattr(results, outcome)[test] = reason
    # a test whose teardown failed was told as passed or skipped before
    results.passed -= results.failed.keys()
    for test in results.failed:
        results.skipped.pop(test, None)
    results.problems = [f"{where}: {problem}" for problem in _problems(results, status, finished)]
    return results


def merged(first: Results, second: Results) -> Results:
    """One result for two environments, the second of which was asked for what the first skipped.

    A file that was skipped as a whole is replaced by what the second environment found in it, which
    may be nothing that the arguments ask for. A file that the second one skips as a whole, for the
    sake of one test that the first skipped, is no skip more.
    """
    left = {
        test: reason
        for test, reason in first.skipped.items()
        if "::" in test and test not in second.ran
    }
    again = {
        test: reason
        for test, reason in second.skipped.items()
        if "::" in test or test in first.skipped
    }
    return Results(
        collected=first.collected | second.collected,
        listed=first.listed | second.listed,
        passed=first.passed | second.passed,
        failed=first.failed | second.failed,
        skipped=left | again,
        xfailed=first.xfailed | second.xfailed,
        problems=first.problems + second.problems,
    )


def _problems(results: Results, status: int, finished: bool) -> list[str]:
    """Why the outcomes of the tests are not all there is to say."""
    problems = []
    if status < 0:
        problems.append(f"pytest was killed by signal {-status}")
    elif not finished:
        problems.append(f"pytest ended before its end, with status {status}")
    elif status not in (0, 1, 5) or (status == 1 and not results.failed):
        problems.append(f"pytest ended with status {status}")
    if missing := results.collected - results.ran - results.skipped.keys():
        problems.append(f"{len(missing)} of {len(results.collected)} tests did not run")
    return problems
