"""Late, repeated and future windows: no page is lost, doubled or taken back by them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from flytekit import Secret
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from flytekitplugins.wbmon.publish.alerts.read_heartbeat import read_heartbeat
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from support.examples import AT, drift_report

DAY = timedelta(days=1)
# its secret is not there: what would be told stays in the memory, in order
CHANNEL = Channel(secret=Secret(group="alerts", key="none"), name="pager")
RULE = AlertRule(metric="drift.drifted", above=0, name="drift", severity="error")


class Monitor:
    """A monitor with one rule and a state file of its own."""

    def __init__(self, folder: Path, rule: AlertRule = RULE, **routing: object) -> None:
        self.rule = rule
        self.routing = AlertRouting(
            state_uri=str(folder / "m.json"),
            channels=(CHANNEL,),
            budget=None,
            **{"keep_nights": 200, **routing},
        )

    def judge(self, at: datetime, bad: bool | None) -> Decision:
        """Judge one window; None is one without a report."""
        report = None if bad is None else report_of(bad=bad)
        return decide_and_notify([self.rule], [report], at=at, routing=self.routing)

    @property
    def memory(self) -> AlertMemory:
        return MemoryFile(self.routing.state_uri).read()

    @property
    def told(self) -> tuple[Notification, ...]:
        return self.memory.outbox

    @property
    def titles(self) -> list[str]:
        return [each.title for each in self.told]


def report_of(*, bad: bool) -> DriftReport:
    return replace(drift_report(), verdict="drift" if bad else "ok")


@pytest.fixture
def monitor(tmp_path: Path) -> Monitor:
    return Monitor(tmp_path)


@pytest.fixture
def in_a_year() -> datetime:
    return datetime.now(timezone.utc) + timedelta(days=400)


def test_a_window_of_the_future_is_a_finding_and_the_nights_after_it_go_on(
    tmp_path: Path, in_a_year: datetime
) -> None:
    monitor = Monitor(tmp_path, replace(RULE, for_windows=2))
    monitor.judge(AT, bad=False)
    wrong = monitor.judge(in_a_year, bad=False)
    assert any("the memory goes on without it; give at=" in each for each in wrong.findings)
    assert monitor.memory.state.at == AT
    fired = [monitor.judge(AT + n * DAY, bad=True).fired for n in range(1, 8)]
    assert fired == [False] + [True] * 6
    monitor.judge(AT + 8 * DAY, bad=False)
    assert monitor.titles == ["drift", "Resolved: drift"]


def test_a_fault_of_a_future_window_is_told_and_says_so(
    monitor: Monitor, in_a_year: datetime
) -> None:
    monitor.judge(AT, bad=False)
    assert monitor.judge(in_a_year, bad=True).fired
    assert monitor.judge(in_a_year, bad=True).fired
    (page,) = monitor.told
    assert "the window is dated in the future" in page.text
    assert "The monitor itself: the window is dated" in page.text


def test_nights_that_are_all_dated_ahead_are_told_once_too(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, replace(RULE, for_windows=2))
    ahead = datetime.now(timezone.utc) + 7 * DAY
    for number, bad in enumerate([False, True, True, True, False, True, True]):
        monitor.judge(ahead + number * DAY, bad=bad)
    assert [each.at - ahead for each in monitor.told] == [2 * DAY, 6 * DAY]


def test_a_window_within_a_day_of_the_clock_is_a_night_like_others(monitor: Monitor) -> None:
    at = datetime.now(timezone.utc) + timedelta(hours=23)
    decision = monitor.judge(at, bad=True)
    assert not any("dated" in each for each in decision.findings)
    assert monitor.memory.state.at == at


def test_a_memory_of_the_future_heals_at_the_next_night(
    monitor: Monitor, in_a_year: datetime
) -> None:
    monitor.judge(AT, bad=False)
    monitor.judge(AT + DAY, bad=True)

    def spoil(memory: AlertMemory) -> AlertMemory:
        future = replace(memory.history[-1], at=in_a_year)
        state = replace(memory.state, at=in_a_year)
        return replace(memory, state=state, history=(*memory.history, future))

    MemoryFile(monitor.routing.state_uri).update(spoil)
    healed = monitor.judge(AT + 2 * DAY, bad=True)
    assert any("was dated" in each and "2026-02-06" in each for each in healed.findings)
    assert healed.alerts[0].n_windows == 2
    later = monitor.judge(AT + 3 * DAY, bad=False)
    assert not any("dated" in each for each in later.findings)
    assert monitor.titles == ["drift", "Resolved: drift"]


def test_a_window_of_the_future_is_no_sign_of_life_and_not_the_newest_night(
    monitor: Monitor, in_a_year: datetime
) -> None:
    monitor.judge(AT, bad=False)
    monitor.judge(in_a_year, bad=True)
    pulse = read_heartbeat(at=AT + 3 * DAY, watched_uri=monitor.routing.state_uri)
    assert pulse.report_age_h == 72
    page = Path(monitor.routing.state_uri).with_suffix(".html").read_text()
    assert f"Newest night {AT:%Y-%m-%d}" in page
    assert "1 dated in the future" in page


@pytest.mark.parametrize("keep", [1, 60])
def test_old_nights_of_a_standing_fault_are_no_news(tmp_path: Path, keep: int) -> None:
    monitor = Monitor(tmp_path, keep_nights=keep)
    monitor.judge(AT + 40 * DAY, bad=True)
    for number in range(10):
        assert monitor.judge(AT + number * DAY, bad=True).fired
    assert monitor.titles == ["drift"]


@pytest.mark.parametrize("order", [range(10), range(9, -1, -1), (0, 5, 9, 2, 7, 1, 3, 4, 6, 8)])
@pytest.mark.parametrize("keep", [1, 60])
def test_ten_old_nights_are_told_at_once_by_their_first_and_with_the_next_night_together(
    tmp_path: Path, order: range, keep: int
) -> None:
    monitor = Monitor(tmp_path, keep_nights=keep)
    monitor.judge(AT + 40 * DAY, bad=False)
    for number in order:
        monitor.judge(AT + number * DAY, bad=True)
    assert monitor.titles == ["drift"]
    assert monitor.told[0].at == AT + order[0] * DAY
    assert "is older than the newest one judged" in monitor.told[0].text
    for number in range(41, 44):
        monitor.judge(AT + number * DAY, bad=False)
    assert monitor.titles == ["drift", "Late windows: drift"]
    for number in range(10):
        assert f"{AT + number * DAY:%Y-%m-%d %H:%M} UTC" in monitor.told[1].text


def test_one_late_night_is_told_once(monitor: Monitor) -> None:
    monitor.judge(AT + 4 * DAY, bad=False)
    monitor.judge(AT, bad=True)
    monitor.judge(AT, bad=True)
    monitor.judge(AT + 5 * DAY, bad=False)
    assert monitor.titles == ["drift"]


def test_late_nights_count_in_a_row(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, replace(RULE, for_windows=2))
    monitor.judge(AT + 9 * DAY, bad=False)
    fired = [monitor.judge(AT + n * DAY, bad=True).fired for n in range(3)]
    assert fired == [False, True, True]
    assert [each.at for each in monitor.told] == [AT + DAY]


def test_a_late_night_has_no_reminder_and_puts_off_none(
    tmp_path: Path, in_a_year: datetime
) -> None:
    monitor = Monitor(tmp_path, remind_after=3 * DAY)
    for number in range(3):
        monitor.judge(AT + number * DAY, bad=True)
    monitor.judge(in_a_year, bad=True)
    monitor.judge(AT - DAY, bad=True)
    assert monitor.titles == ["drift"]
    monitor.judge(AT + 3 * DAY, bad=True)
    assert monitor.titles == ["drift", "Reminder: drift"]


def test_a_fault_that_was_silent_is_news_in_the_late_night_after_the_silence(
    tmp_path: Path,
) -> None:
    monitor = Monitor(tmp_path, replace(RULE, silent_until=AT + DAY))
    monitor.judge(AT, bad=True)
    monitor.judge(AT + 9 * DAY, bad=False)
    monitor.judge(AT + DAY, bad=True)
    assert monitor.titles == ["drift"]


def test_a_late_night_is_held_against_the_nights_that_are_known(tmp_path: Path) -> None:
    rule = AlertRule(metric="drift.n_current", beyond_sd=3, name="rows")
    monitor = Monitor(tmp_path, rule)
    for number, n_rows in enumerate([900, 910, 890, 905, 895, 900]):
        report = replace(drift_report(), n_current=n_rows)
        at = AT + (9 + number) * DAY
        decide_and_notify([rule], [report], at=at, routing=monitor.routing)
    fired = [
        decide_and_notify(
            [rule], [replace(drift_report(), n_current=n)], at=AT + day * DAY,
            routing=monitor.routing,
        ).fired
        for day, n in ((0, 902), (1, 20))
    ]  # fmt: skip
    assert fired == [False, True]
    assert monitor.titles == ["rows"]


def test_old_nights_that_lack_what_a_rule_asks_are_told_once(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, replace(RULE, metric="drift.effect_size.amount", above=9))
    monitor.judge(AT + 40 * DAY, bad=False)
    without = replace(drift_report(), features={})
    for number in range(5):
        at = AT + number * DAY
        decision = decide_and_notify([monitor.rule], [without], at=at, routing=monitor.routing)
        assert decision.alerts[0].is_broken
    assert monitor.titles == ["drift"]
    monitor.judge(AT + 41 * DAY, bad=False)
    assert monitor.titles == ["drift", "Late windows: drift"]


def test_a_late_night_that_is_fine_after_all_takes_its_page_back_once(monitor: Monitor) -> None:
    monitor.judge(AT + 4 * DAY, bad=False)
    for bad in (True, False, False):
        monitor.judge(AT, bad=bad)
    assert monitor.titles == ["drift", "Withdrawn: drift"]


def test_the_first_night_of_a_fault_that_goes_on_is_not_taken_back(monitor: Monitor) -> None:
    for number in range(3):
        monitor.judge(AT + number * DAY, bad=True)
    monitor.judge(AT, bad=False)
    assert monitor.titles == ["drift"]


def test_a_night_judged_three_times_tells_what_is_true_at_last(monitor: Monitor) -> None:
    for bad in (True, False, True):
        monitor.judge(AT, bad=bad)
    assert monitor.titles == ["drift", "Withdrawn: drift", "drift"]
    for bad in (False, True):
        monitor.judge(AT + DAY, bad=bad)
    assert monitor.titles[3:] == ["Resolved: drift", "drift"]


def test_a_night_judged_again_without_a_report_stays_as_it_was(monitor: Monitor) -> None:
    monitor.judge(AT, bad=True)
    assert monitor.judge(AT, bad=None).alerts[0].phase == "no_data"
    monitor.judge(AT + DAY, bad=True)
    monitor.judge(AT + 2 * DAY, bad=False)
    assert monitor.titles == ["drift", "Resolved: drift"]


def test_a_state_file_of_another_monitor_is_refused_and_left_alone(tmp_path: Path) -> None:
    first, second = Monitor(tmp_path, monitor="first"), Monitor(tmp_path, monitor="second")
    for number in range(3):
        first.judge(AT + number * DAY, bad=True)
        before = Path(first.routing.state_uri).read_bytes()
        with pytest.raises(ConfigError, match=r"is that of 'first'; this is 'second'.*of its own"):
            second.judge(AT + number * DAY, bad=False)
        assert Path(first.routing.state_uri).read_bytes() == before
    assert first.titles == ["drift"]


def test_the_same_monitor_in_another_domain_is_another_one(tmp_path: Path) -> None:
    production, staging, anywhere = (
        Monitor(tmp_path, monitor="m", place=place) for place in ("p/production", "p/staging", "")
    )
    anywhere.judge(AT, bad=False)
    production.judge(AT + DAY, bad=True)
    anywhere.judge(AT + 2 * DAY, bad=True)
    with pytest.raises(ConfigError, match=r"'m' in p/production; this is 'm' in p/staging"):
        staging.judge(AT + 3 * DAY, bad=False)
    assert production.titles == ["drift"]


def test_a_file_without_a_monitor_is_that_of_the_first_that_comes(tmp_path: Path) -> None:
    Monitor(tmp_path).judge(AT, bad=True)
    monitor = Monitor(tmp_path, monitor="first")
    monitor.judge(AT + DAY, bad=True)
    assert (monitor.memory.monitor, monitor.titles) == ("first", ["drift"])


def test_the_file_of_a_newer_release_is_a_finding_and_the_night_is_judged(
    monitor: Monitor,
) -> None:
    Path(monitor.routing.state_uri).write_text('{"version": 99}')
    decision = monitor.judge(AT, bad=True)
    assert decision.fired
    assert any("of a newer release: it is left as it is" in each for each in decision.findings)
    assert Path(monitor.routing.state_uri).read_text() == '{"version": 99}'


kinds = st.sampled_from(["next", "next", "again", "again", "late", "late", "future"])
outcomes = st.sampled_from([True, False, True, False, None])
sequences = st.lists(st.tuples(kinds, outcomes), min_size=9, max_size=14)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(sequences)
def test_whatever_comes_in_between_people_know_what_stands(
    steps: list[tuple[str, bool | None]],
) -> None:
    future = datetime.now(timezone.utc) + timedelta(days=400)
    with tempfile.TemporaryDirectory() as folder:
        monitor, nights, n_future = Monitor(Path(folder)), 0, 0
        late = dict[datetime, bool]()
        n_stretches, in_stretch = 0, False
        for kind, bad in steps:
            if kind in ("next", "again") or not nights:
                nights += kind == "next" or not nights
                monitor.judge(AT + 100 * DAY + nights * DAY, bad=bad)
                in_stretch = False
            elif kind == "late":
                # in any order, and never at the time of a night
                at = AT + ((7 * len(late)) % 97) * DAY + DAY / 2
                is_new = bad is True and not has_firing_neighbour(monitor, at)
                monitor.judge(at, bad=bad)
                late[at] = is_new
                n_stretches, in_stretch = n_stretches + (not in_stretch), True
            else:
                n_future += 1
                monitor.judge(future + n_future * DAY, bad=bad)
            assert believed(monitor, in_order=True) == stands(monitor)
        if nights:
            monitor.judge(AT + 100 * DAY + (nights + 1) * DAY, bad=None)
        assert not monitor.memory.late
        assert_late_faults_are_told(monitor, late, n_stretches)


def stands(monitor: Monitor) -> bool:
    kept = monitor.memory.state.rules.get(monitor.rule.title)
    return kept is not None and kept.is_open


def believed(monitor: Monitor, *, in_order: bool) -> bool:
    """What the messages about nights in order say at last; each says something else than before."""
    is_open = False
    for each in monitor.told:
        is_night = each.at >= AT + 100 * DAY and "dated in the future" not in each.text
        if is_night is in_order and not each.title.startswith("Late"):
            assert is_open is (each.kind != "firing"), monitor.titles
            is_open = each.kind == "firing"
    return is_open


def has_firing_neighbour(monitor: Monitor, at: datetime) -> bool:
    """Whether the night before or after is known to fire: then it is one fault with it."""
    nights = [(each.at, each.phases[monitor.rule.title]) for each in monitor.memory.history]
    known = [(time, phase) for time, phase in nights if phase != "no_data"]
    before = [phase for time, phase in known if time < at][-1:]
    after = [phase for time, phase in known if time > at][:1]
    return "firing" in (*before, *after)


def assert_late_faults_are_told(
    monitor: Monitor, late: dict[datetime, bool], n_stretches: int
) -> None:
    told = " ".join(each.text for each in monitor.told if "Late" in each.title)
    told += " ".join(f"{each.at:%Y-%m-%d %H:%M}" for each in monitor.told if each.kind == "firing")
    for at, is_new in late.items():
        assert not is_new or f"{at:%Y-%m-%d %H:%M}" in told, (at, told)
    pages = [each for each in monitor.told if "older than the newest" in each.text]
    summaries = [each for each in monitor.told if each.title.startswith("Late")]
    # one at once and one together, for each stretch between two nights
    assert len(summaries) <= n_stretches
    assert len(pages) + len(summaries) <= 2 * n_stretches
