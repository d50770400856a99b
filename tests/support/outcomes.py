"""A pytest plugin: what became of every test, written down while it happens.

`--outcomes FILE` adds one JSON object a line, so that a run that is killed leaves what it knew, and
ends with the line `finished`, so that a run that was not killed can be told from one that was.
`--only FILE` runs, of the tests that the other arguments ask for, those that the file names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("outcomes")
    group.addoption("--outcomes", type=Path, help="where to write what became of every test")
    group.addoption(
        "--only", type=Path, help="a file with the tests or test files to run, a line each"
    )


def pytest_configure(config: pytest.Config) -> None:
    if only := config.getoption("only"):
        config.pluginmanager.register(
            Selection(Path(only).read_text(encoding="utf-8").splitlines())
        )
    # the processes of pytest-xdist report to the one that started them
    if (path := config.getoption("outcomes")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(path)))


class Selection:
    """Keeps the wanted tests of those that were asked for.

    Attributes:
        wanted: The tests, and the files or folders of which every test is wanted.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = frozenset(wanted)
        self._files = {test.partition("::")[0] for test in self.wanted}

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Leaves out the files that hold nothing wanted: they may take long to import."""
        if collection_path.is_dir() or not collection_path.is_relative_to(config.rootpath):
            return None
        file = collection_path.relative_to(config.rootpath)
        return None if self._files & {file.as_posix(), *map(Path.as_posix, file.parents)} else True

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        unwanted = [item for item in items if not self._is_wanted(item.nodeid)]
        items[:] = [item for item in items if self._is_wanted(item.nodeid)]
        config.hook.pytest_deselected(items=unwanted)

    def _is_wanted(self, test: str) -> bool:
        file = test.partition("::")[0]
        return bool(self.wanted & {test, file, *map(Path.as_posix, Path(file).parents)})


class Recorder:
    """Writes outcomes to a file.

    Attributes:
        path: The file; it is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = path.open("w", encoding="utf-8", buffering=1)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write("failed", report.nodeid or "collection", reason=_last_line(report))
        elif report.skipped:
            self._write("skipped", report.nodeid, reason=_skip_reason(report))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        outcome = "listed" if session.config.option.collectonly else "collected"
        self._write_all(outcome, [item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._write_all("collected", ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A process that dies while it collects leaves no test that could be told as failed."""
        if error:
            self._write("failed", f"process {node.gateway.id}", reason=str(error))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._write("failed", report.nodeid, reason=_last_line(report))
        elif report.skipped and hasattr(report, "wasxfail"):
            self._write("xfailed", report.nodeid, reason=report.wasxfail)
        elif report.skipped:
            self._write("skipped", report.nodeid, reason=_skip_reason(report))
        elif report.when == "call":
            self._write("passed", report.nodeid)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._write("failed", "pytest", reason=str(excrepr).strip().splitlines()[-1])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write("finished", "pytest", reason=str(int(exitstatus)))
        self._lines.close()

    def _write_all(self, outcome: str, tests: Iterable[str]) -> None:
        for test in tests:
            self._write(outcome, test)

    def _write(self, outcome: str, test: str, *, reason: str = "") -> None:
        self._lines.write(json.dumps({"outcome": outcome, "test": test, "reason": reason}) + "\n")


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason that the test gave."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What a failed report says at its end."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else report.longreprtext).strip().splitlines()
    return lines[0 if crash else -1] if lines else ""
