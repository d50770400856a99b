"""Steps of a log's rows at W&B."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery.runs.steps import FILE_NAME, GivenSteps, SentSteps
from flytekitplugins.wbmon.errors import DataError

# for each call of `run.log`, how far its step is beyond the last one; None to let wandb count
Calls = list[int | None]
CALLS = st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=30)


def offline(calls: Calls) -> tuple[list[int], list[bool]]:
    """Step of each row of an offline run, and whether it was given; a row a call."""
    steps, given_, following = list[int](), list[bool](), 0
    for ahead in calls:
        step = following if ahead is None else following + ahead
        steps.append(step)
        given_.append(ahead is not None)
        following = step + 1
    return steps, given_


def note(folder: Path, steps: Sequence[int], is_given: Sequence[bool]) -> None:
    """The file as the task writes it: a line where the kind of the steps changes."""
    before = False
    with (folder / FILE_NAME).open("w") as file:
        for step, one in zip(steps, is_given, strict=True):
            if one != before:
                file.write(json.dumps([step, one]) + "\n")
            before = one


@given(calls=CALLS, first=st.integers(0, 40))
def test_given_steps_stay_and_counted_ones_go_on_after_the_last(
    tmp_path_factory: pytest.TempPathFactory, calls: Calls, first: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    steps, is_given = offline(calls)
    note(folder, steps, is_given)
    sent = SentSteps(first, GivenSteps(folder))
    found = [sent.of(step) for step in steps]
    # what an online run does: it knows the last step from the start
    following = first
    for number, (step, one, at_server) in enumerate(zip(steps, is_given, found, strict=True)):
        lowest = found[number - 1] + 1 if number else 0
        assert at_server == (max(step, lowest) if one else following)
        following = max(following, at_server + 1)
    assert found == sorted(set(found))


def test_a_file_that_grows_is_read_on(tmp_path: Path) -> None:
    steps = GivenSteps(tmp_path)
    assert not steps.has(3)
    path = tmp_path / FILE_NAME
    path.write_text("[10, true]\n")
    assert steps.has(10)
    assert steps.has(11)
    with path.open("a") as file:
        file.write("[12, false]\n[20, tr")
    assert not steps.has(12)
    assert not steps.has(20)


@pytest.mark.parametrize("content", ["10\n", "[10]\n", '["a", true]\n', "{\n", "null\n"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(DataError, match=FILE_NAME):
        GivenSteps(tmp_path).has(0)
