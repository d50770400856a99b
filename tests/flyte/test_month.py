"""Thirty synthetic nights with known faults: every one is told, once, and the rest is quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.month import MISSING, Month, make_reference, page, replay
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from workflows.payments import FAULTS

SILENT = "no report for 26 h"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("month")


@pytest.fixture(scope="module")
def month(folder: Path) -> Month:
    return replay(folder, make_reference(2_000), n_rows=5_000)


def test_every_injected_fault_is_told_in_its_own_night(month: Month) -> None:
    begins = {night for night in FAULTS if FAULTS.get(night - 1) != FAULTS[night]} | {MISSING}
    told = {night.number for night in month.nights if set(night.told) & {"drift", "model worse"}}
    assert told | {MISSING} == begins
    assert month.nights[MISSING].told == (SILENT,)


def test_good_nights_are_quiet_but_for_the_end_of_a_fault(month: Month) -> None:
    good = [night for night in month.nights if not night.fault]
    assert len(good) == 20
    assert [night.number for night in good if night.firing] == []
    assert all(title.startswith("Resolved: ") for night in good for title in night.told)


def test_what_begins_ends_and_is_told_once(month: Month) -> None:
    told = [title for night in month.nights for title in night.told]
    for title in ("drift", "model worse", SILENT):
        assert told.count(title) == told.count(f"Resolved: {title}")


def test_a_fault_that_lasts_is_told_at_its_begin_and_by_a_reminder(month: Month) -> None:
    first, second, third = month.nights[10:13]
    assert (first.told, second.told, third.told) == (("drift",), (), ("Reminder: drift",))


def test_concept_drift_is_seen_by_the_labels_and_by_no_drift_rule(month: Month) -> None:
    assert month.nights[18].firing == ("model worse",)


def test_the_memory_on_disk_holds_the_month(month: Month, folder: Path) -> None:
    memory = MemoryFile(str(folder / "payments.json")).read()
    assert len(memory.history) == 29
    assert memory.outbox == ()
    assert "the last 29 nights" in (folder / "payments.html").read_text()
    assert month.state_bytes < 64_000


def test_the_page_about_the_month_counts_right(month: Month) -> None:
    text = page(month, n_rows=5_000)
    assert "**10 of 10 faulty nights**" in text
    assert "**0 false alarms** in 20 good nights" in text
