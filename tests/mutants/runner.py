"""A pytest run that, instead of its tests, tries the mutants of modules against them.

The tests are collected once. Each mutant gets a forked copy of the process: there its statement is
compiled anew and put into the imported module, and those tests run that execute its line, the
fastest first, until one fails. One such copy runs them all without a mutant first, to see which
line each test executes and that all pass.
"""

from __future__ import annotations
import __future__

import ast
import gc
import inspect
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import coverage
import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.operators import Mutant

SURVIVED, TIMED_OUT, UNTESTED = "survived", "timed out", "no test runs it"
_MEMORY = 16 << 30
_PLAIN = (bool, int, float, str, tuple, frozenset, type(None))


@dataclass(frozen=True)
class Subject:
    """A module, the mutants of it to try, and the files of tests that may notice them."""

    name: str
    path: Path
    mutants: Sequence[Mutant]
    tests: Sequence[Path]


class MutantRun:
    """A plugin of pytest; `keep` gets of each mutant the test that failed, or what else came."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        folder: Path,
        *,
        jobs: int,
        patience: float,
        keep: Callable[[Subject, Mapping[str, str]], None],
    ) -> None:
        self._subjects, self._folder, self._jobs, self._keep = subjects, folder, jobs, keep
        self._patience = patience  # seconds beyond three times what a test takes without a mutant
        self._running: dict[int, str] = {}
        self._results: dict[str, str] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant."""
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        # here and not in each copy, which would empty it
        session.config._tmp_path_factory.getbasetemp()
        for subject in self._subjects:
            import_module(subject.name)
        gc.freeze()
        times, lines = self._without_a_mutant(session.items)
        for subject in self._subjects:
            self._try(subject, session.items, times, lines[str(subject.path)])
        return True

    def _try(
        self,
        subject: Subject,
        items: Sequence[pytest.Item],
        times: Sequence[float],
        lines: Mapping[str, Sequence[int]],
    ) -> None:
        mine = {at for at, item in enumerate(items) if item.path in {subject.path, *subject.tests}}
        anywhere = {at for tests in lines.values() for at in tests}
        self._results = {}
        for mutant in subject.mutants:
            chosen = {at for line in mutant.lines for at in lines.get(str(line), ())}
            if isinstance(mutant.statement, (ast.Assign, ast.AnnAssign, ast.ClassDef)):
                chosen |= anywhere  # what is computed at import shows in any of them
            ordered = sorted(chosen & mine, key=times.__getitem__)
            if ordered:
                limits = [self._patience + 3 * times[at] for at in ordered]
                self._start(subject.name, mutant, [items[at] for at in ordered], limits)
            else:
                self._results[mutant.key] = UNTESTED
        while self._running:
            self._await_one()
        self._keep(subject, self._results)

    def _without_a_mutant(
        self, items: Sequence[pytest.Item]
    ) -> tuple[list[float], dict[str, dict[str, list[int]]]]:
        """Seconds of each test, and which tests execute each line of each module."""
        answer = self._folder / "without"

        def measure() -> None:
            included = [str(subject.path) for subject in self._subjects]
            tracer = coverage.Coverage(data_file=None, include=included)
            times = []
            tracer.start()
            for at, (item, following) in enumerate(_with_next(items)):
                tracer.switch_context(str(at))
                start = time.process_time()
                failed = _failed(item, following)
                times.append(time.process_time() - start)
                if failed:
                    answer.write_text(f"{item.nodeid} fails without a mutant: mend it first")
                    os._exit(1)
            tracer.stop()
            lines = {
                path: {
                    line: [int(at) for at in tests if at]
                    for line, tests in tracer.get_data().contexts_by_lineno(path).items()
                }
                for path in included
            }
            answer.write_text(json.dumps([times, lines]))
            os._exit(0)

        pid = _fork(measure, self._folder)
        if os.waitpid(pid, 0)[1]:
            raise pytest.UsageError(
                answer.read_text() if answer.exists() else (self._folder / "output").read_text()
            )
        times, lines = json.loads(answer.read_text())
        return times, lines

    def _start(
        self, name: str, mutant: Mutant, items: Sequence[pytest.Item], limits: Sequence[float]
    ) -> None:
        def attempt() -> None:
            mutant.apply()
            try:
                implant(mutant.statement, sys.modules[name])
            except Exception as error:  # noqa: BLE001 - it shows as soon as the module is imported
                self._answer(os.getpid()).write_text(f"import: {type(error).__name__}")
                os._exit(1)
            for (item, following), limit in zip(_with_next(items), limits, strict=True):
                signal.setitimer(signal.ITIMER_PROF, limit)  # computing without an end
                signal.alarm(int(20 * limit) + 60)  # waiting without an end
                if _failed(item, following):
                    self._answer(os.getpid()).write_text(item.nodeid)
                    os._exit(1)
            os._exit(0)

        self._running[_fork(attempt, self._folder)] = mutant.key
        if len(self._running) >= self._jobs:
            self._await_one()

    def _await_one(self) -> None:
        pid, status = os.wait()
        key = self._running.pop(pid)
        answer = self._answer(pid)
        if answer.exists():
            self._results[key] = answer.read_text()
            answer.unlink()
        else:
            self._results[key] = TIMED_OUT if status else SURVIVED
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) > 1:
            raise RuntimeError(f"{key}: {(self._folder / 'output').read_text()}")

    def _answer(self, pid: int) -> Path:
        return self._folder / f"{pid}.failed"


def implant(statement: ast.stmt, module: ModuleType) -> None:
    """Run a changed statement of a module, and put what it defines where the old is in use."""
    tree = ast.fix_missing_locations(ast.Module([statement], []))
    code = compile(tree, str(module.__file__), "exec", __future__.annotations.compiler_flag)
    new = dict(vars(module))
    exec(code, new)  # noqa: S102 - the module's own source
    for name in _defined(statement):
        old = vars(module)[name]
        if isinstance(old, type):
            _implant_members(old, new[name])
        elif isinstance(inspect.unwrap(old) if callable(old) else old, FunctionType):
            _implant_function(old, new[name])
        else:
            for other in list(sys.modules.values()):
                if getattr(other, "__dict__", {}).get(name, _PLAIN) is old:
                    setattr(other, name, new[name])


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        return [node.id for node in statement.targets if isinstance(node, ast.Name)]
    if isinstance(statement, ast.AnnAssign):
        return [ast.unparse(statement.target)]
    return [statement.name] if hasattr(statement, "name") else []


def _implant_members(old: type, new: type) -> None:
    for name, member in vars(new).items():
        before = vars(old).get(name)
        if isinstance(_function(before), FunctionType):
            _implant_function(_function(before), _function(member))
        elif isinstance(before, _PLAIN) and not name.startswith("__"):
            setattr(old, name, member)


def _function(member: Any) -> Any:
    """Of a property, a class method or a static method; anything else is itself."""
    return getattr(member, "fget", None) or getattr(member, "__func__", member)


def _implant_function(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    target, source = inspect.unwrap(old), inspect.unwrap(new)
    target.__code__ = source.__code__
    target.__defaults__, target.__kwdefaults__ = source.__defaults__, source.__kwdefaults__
    if hasattr(old, "cache_clear"):
        old.cache_clear()


def _fork(work: Callable[[], None], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
    finally:
        os._exit(2)


def _failed(item: pytest.Item, following: pytest.Item | None) -> bool:
    try:
        reports = runtestprotocol(item, log=False, nextitem=following)
    except BaseException:  # noqa: BLE001 - a test that ends the process has noticed, too
        return True
    return any(report.failed for report in reports)


def _with_next(
    items: Sequence[pytest.Item],
) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)
