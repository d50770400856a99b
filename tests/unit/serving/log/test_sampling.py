from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import SamplingPolicy
from flytekitplugins.wbmon.serving.log.request import Request
from flytekitplugins.wbmon.serving.log.sampling import Sampled, Sampler


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(name: str, *, failed: bool = False, latency_ms: float = 1.0, **marks: str) -> Request:
    made = Request(name, route=marks.get("route", "/r"))
    made.is_failure, made.status = failed, 500 if failed else 200
    made.latency_ms = latency_ms
    made.tenant = marks.get("tenant")
    return made


def kept(sampler: Sampler, requests: Iterable[Request]) -> list[Sampled]:
    decisions = (sampler.decide(each) for each in requests)
    return [decision for decision in decisions if decision is not None]


@given(st.text(min_size=1, max_size=40))
def test_two_services_decide_alike_on_one_id(name: str) -> None:
    policy = SamplingPolicy(rate=0.3)
    assert Sampler(policy).decide(request(name)) == Sampler(policy).decide(request(name))


def test_what_a_lower_rate_keeps_a_higher_one_keeps_too() -> None:
    low, high = Sampler(SamplingPolicy(rate=0.1)), Sampler(SamplingPolicy(rate=0.5))
    names = [f"r-{i}" for i in range(2000)]

    assert {n for n in names if low.decide(request(n))} < {
        n for n in names if high.decide(request(n))
    }


def test_every_error_and_every_slow_request_is_kept_with_weight_one() -> None:
    sampler = Sampler(SamplingPolicy(rate=0.0, slow_threshold_ms=100))

    errors = kept(sampler, (request(f"e{i}", failed=True) for i in range(100)))
    slow = kept(sampler, (request(f"s{i}", latency_ms=100) for i in range(100)))
    fast = kept(sampler, (request(f"f{i}", latency_ms=99) for i in range(100)))

    assert errors == [Sampled("error", 1.0)] * 100
    assert slow == [Sampled("slow", 1.0)] * 100
    assert fast == []


def test_the_sum_of_weights_estimates_the_count_of_requests() -> None:
    sampler = Sampler(SamplingPolicy(rate=0.05))
    decisions = kept(sampler, (request(f"id-{i}") for i in range(40_000)))

    assert sum(each.weight for each in decisions) == pytest.approx(40_000, rel=0.08)
    assert len(decisions) == pytest.approx(2000, rel=0.08)


def test_under_a_ceiling_rows_are_bounded_and_weights_stay_right() -> None:
    clock = Clock()
    sampler = Sampler(SamplingPolicy(rate=1.0, max_rows_per_second=50), clock)
    per_second = []
    weights = 0.0
    for second in range(20):
        rows = 0
        for i in range(1000):
            clock.now = 1000 + second + i / 1000
            decision = sampler.decide(request(f"{second}-{i}"))
            if decision:
                rows += 1
                weights += decision.weight
        per_second.append(rows)

    # the burst of the first second costs 1 + log(1000 / 50) = 4 times the ceiling
    assert per_second[0] < 5 * 50
    assert sum(per_second[1:]) / 19 == pytest.approx(50, rel=0.15)
    assert weights == pytest.approx(20_000, rel=0.1)


def test_a_storm_of_errors_is_held_to_the_ceiling_too() -> None:
    clock = Clock()
    sampler = Sampler(SamplingPolicy(rate=0.1, max_rows_per_second=20), clock)
    rows = []
    for second in range(10):
        clock.now = 1000.0 + second
        rows.append(len(kept(sampler, (request(f"{second}-{i}", failed=True) for i in range(500)))))

    assert sum(rows[1:]) / 9 == pytest.approx(20, rel=0.3)


def test_a_loud_tenant_does_not_crowd_out_a_quiet_one() -> None:
    clock = Clock()
    policy = SamplingPolicy(rate=1.0, max_rows_per_second_per_tenant=10)
    sampler = Sampler(policy, clock)
    rows = {"loud": 0, "quiet": 0}
    for second in range(10):
        clock.now = 1000.0 + second
        for i in range(505):
            tenant = "quiet" if i % 101 == 0 else "loud"
            rows[tenant] += sampler.decide(request(f"{second}-{i}", tenant=tenant)) is not None

    assert rows["quiet"] == 50
    assert rows["loud"] < 200


def test_a_rare_route_keeps_its_rows() -> None:
    clock = Clock()
    policy = SamplingPolicy(rate=0.001, stratify_by=("route",), min_rows_per_minute=30)
    sampler = Sampler(policy, clock)
    reasons = []
    for minute in range(5):
        clock.now = 1000.0 + 60 * minute
        kept(sampler, (request(f"{minute}-{i}", route="/busy") for i in range(5000)))
        reasons += kept(sampler, (request(f"{minute}-r{i}", route="/rare") for i in range(20)))

    assert len(reasons) == 100
    assert {each.reason for each in reasons} == {"stratum"}


def test_during_an_incident_more_is_kept_and_afterwards_less_again() -> None:
    clock = Clock()
    policy = SamplingPolicy(rate=0.01, incident_error_share=0.05, incident_rate=0.5)
    sampler = Sampler(policy, clock)

    def minute(error_every: int) -> int:
        clock.now += 60
        requests = (
            request(f"{clock.now}-{i}", failed=i % error_every == 0) for i in range(1, 2001)
        )
        return sum(each.reason != "error" for each in kept(sampler, requests))

    calm, incident = minute(1000), minute(5)
    minute(1000)
    after = minute(1000)

    assert calm < 60
    assert 400 < incident < 900
    assert after < 60


def test_eleven_errors_in_a_million_requests_are_no_incident() -> None:
    clock = Clock()
    policy = SamplingPolicy(rate=0.0, incident_error_share=0.05, incident_rate=1.0)
    sampler = Sampler(policy, clock)
    kept(sampler, (request(f"{i}") for i in range(5000)))
    kept(sampler, (request(f"e{i}", failed=True) for i in range(11)))

    assert kept(sampler, (request(f"x{i}") for i in range(1000))) == []


def test_a_tenant_may_have_a_policy_of_its_own() -> None:
    sampler = Sampler(SamplingPolicy(rate=0.0, tenants={"acme": SamplingPolicy(rate=1.0)}))

    assert sampler.decide(request("a", tenant="acme")) == Sampled("rate", 1.0)
    assert sampler.decide(request("a", tenant="other")) is None


def test_endless_strata_and_tenants_take_bounded_memory() -> None:
    policy = SamplingPolicy(
        rate=0.1,
        stratify_by=("route", "tenant"),
        min_rows_per_minute=1,
        max_rows_per_second_per_tenant=5,
    )
    sampler = Sampler(policy)
    kept(sampler, (request(f"{i}", route=f"/{i}", tenant=f"t{i}") for i in range(5000)))

    assert len(sampler._strata) <= 1001
    assert len(sampler._limits) <= 1001


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 1.5},
        {"error_rate": -0.1},
        {"max_rows_per_second": 0},
        {"stratify_by": ("colour",)},
        {"min_rows_per_minute": 5},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SamplingPolicy(**wrong)  # type: ignore[arg-type]
