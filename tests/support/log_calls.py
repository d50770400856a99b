"""Calls of a `PredictionLogger` with anything, and what must be read of the log then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.schema import PREDICTION_COLUMNS
from flytekitplugins.wbmon.serving import Experiment, PredictionLogger, SamplingPolicy
from support import round_trip as rt
from support.odd_values import PLAIN, odd_name, odd_value

COLUMNS = (*PREDICTION_COLUMNS, "user", "no such column", "kind", "features")
EXPERIMENT = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
# what `log_prediction` takes itself; with a parent it is no request
OWN = ("prediction", "request_id", "parent_request_id", "route", "latency_ms", "features")
Given = dict[str, Any]


class Caller:
    """Calls a log in every way, with anything; what it gave as a prediction is in `given`."""

    def __init__(self, log: PredictionLogger, rng: Random) -> None:
        self.log, self.rng = log, rng
        self.given: Given = {}
        self.n_served = 0

    def call(self) -> None:
        ways: list[Callable[[], None]] = [
            self.predict, self.predict, self.predict, self.rate, self.see, self.assign,
            self.serve, self.tracked,
        ]  # fmt: skip
        self.rng.choice(ways)()

    def value(self) -> Any:
        return odd_value(self.rng)

    def columns(self) -> Given:
        names = self.rng.sample(COLUMNS, self.rng.randrange(5))
        return {name: self.value() for name in names if name not in OWN}

    def predict(self) -> None:
        self.n_served += 1
        more = self.columns()
        more.setdefault("features", {odd_name(self.rng): self.value() for _ in range(2)})
        said = self.rng.choice(PLAIN)
        if self.rng.random() < 0.5:
            name = f"request-{self.n_served}"
            self.log.log_prediction(prediction=said, request_id=name, **more)
            self.given[name] = said
        else:
            more |= {name: self.value() for name in ("latency_ms", "route", "request_id")}
            self.log.log_prediction(prediction=self.value(), **more)

    def rate(self) -> None:
        with suppress(DataError):
            self.log.log_feedback(
                self.value(), self.value(), score=self.value(), label=self.value(),
                comment=self.value(), session_id=self.value(), tenant=self.value(),
                source=self.rng.choice(["user", "code", self.value()]),
                feedback_id=self.rng.choice([None, self.value()]),
            )  # fmt: skip
        # with less that is refused
        with suppress(DataError):
            self.log.log_feedback("r", "stars", score=0.5, label=self.value(), comment=self.value())

    def see(self) -> None:
        with suppress(DataError):
            self.log.log_event("seen", session_id=self.value(), label=self.value())

    def assign(self) -> None:
        self.log.assign(EXPERIMENT, self.value(), tenant=self.value())

    def serve(self) -> None:
        self.n_served += 1
        with (
            suppress(KeyError),
            self.log.request(self.value(), request_id=self.value(), **self.columns()) as request,
        ):
            request.set(**self.columns())
            with self.log.stage(self.value()):
                self.log.log_prediction(prediction=self.value(), **self.columns())
            if self.rng.random() < 0.3:
                raise KeyError(self.value())

    def tracked(self) -> None:
        self.n_served += 1
        with suppress(KeyError):
            self.log.track(self.value())(lambda: self.log.log_prediction(score=self.value()))()


def check_log(folder: Path, rng: Random, n_calls: int) -> None:
    """Call a log in every way, and check that all is accounted for and read back.

    Args:
        folder: Of the log; empty.
        rng: Decides what is called with what.
        n_calls: Number of calls.
    """
    log = PredictionLogger("api", str(folder), sampling=SamplingPolicy(rate=1.0), user_key="k")
    caller = Caller(log, rng)
    for _ in range(n_calls):
        caller.call()
    stats = log.close()
    report = compact_prediction_log(str(folder), "api")

    assert stats.served == caller.n_served
    n_rows = report.n_predictions - stats.further_logged
    assert stats.served == n_rows + stats.dropped + stats.sampled_out
    assert (report.n_torn, report.n_left, report.n_damaged, report.n_duplicates) == (0, 0, 0, 0)
    if not stats.served:
        return
    source = open_source(folder / "prediction_log")
    names, found = (source.column(name).to_pylist() for name in ("request_id", "prediction"))
    read = dict(zip(names, found, strict=True))
    assert read.keys() >= caller.given.keys()
    for name, value in caller.given.items():
        # as it was written, by itself or as text beside the others, or null
        wanted = None if value is None else rt.as_any(value)
        same = read[name] in (None, wanted) or class_name(read[name]) == class_name(wanted)
        assert same, (value, read[name])
