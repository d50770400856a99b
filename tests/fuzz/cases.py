"""One random case a seed: tables and a few calls, which may only fail as the package promises."""

from __future__ import annotations

import json
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon import (
    DriftRule,
    Profile,
    check_drift,
    check_performance,
    join_labels,
    merge_profiles,
    profile_data,
)
from flytekitplugins.wbmon.errors import WbmonError
from flytekitplugins.wbmon.monitor.profiles.profile_file import sealed
from support.environment import SOURCE
from support.log_calls import check_log
from support.random_tables import Table, random_table


class Failure(NamedTuple):
    """A call that ended as it must not.

    Attributes:
        seed: Makes the case again.
        call: What was called.
        signature: The same for failures that probably have one cause.
        story: The tables and the trace.
    """

    seed: int
    call: str
    signature: str
    story: str


class Case:
    """Tables and calls that a seed makes."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        # not for secrets; the same in every version of Python
        self.rng = Random(seed)  # noqa: S311
        self.folder = folder
        self.recipe: list[str] = []
        self._n_tables = 0

    def run(self) -> Failure | None:
        """The failure, if any."""
        call = self.rng.choice(list(CALLS))
        with warnings.catch_warnings():
            # what users' own libraries deprecate is not of interest; what numpy computes is
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            try:
                CALLS[call](self)
            except WbmonError:
                return None
            except BaseException as error:  # a panic of polars is no Exception
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
                return self._failure(call, error)
        return None

    def table(self, names: list[Any] | None = None) -> Table:
        self._n_tables += 1
        place = self.folder / str(self._n_tables)
        place.mkdir()
        made = random_table(self.rng, place, names=names)
        self.recipe.append(made.recipe)
        return made

    def _failure(self, call: str, error: BaseException) -> Failure:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if str(SOURCE) in frame.filename]
        last = (ours or frames)[-1]
        where = f"{Path(last.filename).name}:{last.name}"
        return Failure(
            seed=self.seed,
            call=call,
            signature=f"{type(error).__name__} in {where}",
            story="\n".join([call, *self.recipe, "".join(traceback.format_exception(error))]),
        )


def run_case(seed: int) -> Failure | None:
    """Run the case of a seed."""
    with TemporaryDirectory() as folder:
        return Case(seed, Path(folder)).run()


def _window(case: Case, like: Table) -> Table:
    """Another window, some of whose columns are called like those of the first."""
    names = [name for name in like.names if case.rng.random() < 0.9]
    return case.table(names if names and case.rng.random() < 0.9 else None)


def _some_name(case: Case, table: Table) -> Any:
    return case.rng.choice([*table.names] or ["x"]) if case.rng.random() < 0.97 else "nowhere"


def _check_report(report: Any) -> None:
    assert "<" in report.to_html()
    addresses = [each.address for each in report.measurements()]
    assert len(set(addresses)) == len(addresses)
    json.dumps(report.to_dict())


def _check_profile(case: Case, profile: Profile) -> None:
    """It can be saved, and is then the same."""
    path = case.folder / "saved.profile"
    try:
        profile.save(path)
        again = Profile.load(path)
    except WbmonError as error:
        raise AssertionError("what was saved must be loaded") from error
    assert (again.n_rows, again.layout, again.weight) == (
        profile.n_rows,
        profile.layout,
        profile.weight,
    )
    assert list(again.features) == list(profile.features)
    for name, feature in profile.features.items():
        assert repr(again.features[name]) == repr(feature)
        assert 0 <= feature.n_missing <= feature.n_rows == profile.n_rows
        if feature.counts is not None and len(feature.counts):
            assert np.min(feature.counts) >= 0


def _profile(case: Case, table: Table, like: Profile | None = None) -> Profile:
    weight = str(_some_name(case, table)) if like is None and case.rng.random() < 0.1 else None
    columns = None
    if case.rng.random() < 0.1:
        columns = [str(name) for name in table.names[:2]]
    return profile_data(table.data, like=like, columns=columns, weight=weight)


def profile(case: Case) -> None:
    _check_profile(case, _profile(case, case.table()))


def profile_like(case: Case) -> None:
    first = case.table()
    reference = _profile(case, first)
    _check_profile(case, _profile(case, _window(case, first), reference))


def merge(case: Case) -> None:
    first = case.table()
    reference = _profile(case, first)
    windows = [
        _profile(case, _window(case, first), reference) for _ in range(case.rng.randint(1, 3))
    ]
    merged = merge_profiles([reference, *windows] if case.rng.random() < 0.5 else windows)
    _check_profile(case, merged)
    _check_report(check_drift(reference, merged))


def _rule(case: Case, table: Table) -> DriftRule | None:
    if case.rng.random() < 0.5:
        return None
    asked = tuple(str(name) for name in table.names[:3]) if case.rng.random() < 0.3 else ()
    return DriftRule(min_rows=case.rng.choice([1, 2, 30]), features=asked)


def drift(case: Case) -> None:
    first = case.table()
    _check_report(check_drift(first.data, _window(case, first).data, rule=_rule(case, first)))


def drift_from_profile(case: Case) -> None:
    first = case.table()
    reference, rule = _profile(case, first), _rule(case, first)
    past = [_profile(case, _window(case, first), reference)] * case.rng.choice([0, 0, 6])
    current: Any = _window(case, first)
    given = profile_data(current.data, like=reference) if case.rng.random() < 0.3 else current.data
    _check_report(check_drift(reference, given, rule=rule, past=past))


def performance(case: Case) -> None:
    rng = case.rng
    table = case.table(rng.sample(["a", "b", "c", "d", "e"], 5))
    a, b, c, d, e = table.names
    report = check_performance(
        table.data,
        task=rng.choice(["classification", "regression"]),
        label=a,
        prediction=rng.choice([a, b]),
        score=rng.choice([None, None, c]),
        weight=rng.choice([None, None, None, c]),
        segments=rng.choice([(), (d,)]),
        time=rng.choice([None, None, e]),
        min_rows=rng.choice([1, 30]),
    )
    _check_report(report)


def join(case: Case) -> None:
    names = ["key", "label", "x"]
    made, came = case.table(["key", "x"] if case.rng.random() < 0.7 else names), case.table(names)
    latest = case.rng.choice([None, "x"])
    joined = join_labels(made.data, came.data, on="key", label="label", latest_by=latest)
    joined.table.validate(full=True)
    assert 0 <= joined.n_labelled <= joined.n_rows == joined.table.num_rows
    assert min(joined.n_unmatched, joined.n_repeated, joined.n_revised) >= 0


def load(case: Case) -> None:
    """A profile of which some bytes are others; what can be loaded can be used."""
    first = case.table()
    path = case.folder / "mutated.profile"
    _profile(case, first).save(path)
    content = bytearray(path.read_bytes()[:-4])
    for _ in range(case.rng.randint(1, 4)):
        place = case.rng.randrange(len(content))
        digit = case.rng.choice(b'0123456789-e[]{}",')
        content[place] = digit if case.rng.random() < 0.7 else case.rng.getrandbits(8)
    # its checksum is right: somebody made it so
    path.write_bytes(sealed(bytes(content)))
    loaded = Profile.load(path)
    _check_report(check_drift(loaded, loaded))
    _check_report(check_drift(loaded, _window(case, first).data))


def log_anything(case: Case) -> None:
    check_log(case.folder / "log", case.rng, 20)


CALLS: dict[str, Callable[[Case], None]] = {
    "profile_data": profile,
    "profile_data like": profile_like,
    "merge_profiles": merge,
    "check_drift": drift,
    "check_drift from a profile": drift_from_profile,
    "check_performance": performance,
    "join_labels": join,
    "Profile.load": load,
    "PredictionLogger": log_anything,
}
