"""The nightly workflow over what a logger wrote: a breached promise pages like anything else."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

import pytest

from flytekitplugins.wbmon import CompactPredictionLog, profile_data
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from support.environment import ROOT, SOURCE, clean_environment
from workflows.digits import digit_rows

NIGHT = """
import json
from datetime import datetime, timedelta, timezone

from workflows.serving_nightly import serving_night

night = serving_night(at=datetime.now(timezone.utc) + timedelta(days=1))
found = {alert.rule.title: [alert.phase, alert.reason] for alert in night.decision.alerts}
told = {"fired": night.fired, "severity": night.decision.severity, "alerts": found}
told["numbers"] = dict(night.decision.numbers)
print("NIGHT", json.dumps(told))
"""


def serve(folder: Path, *, every_failed: int) -> None:
    """Log the training rows as a service that predicts them right; some requests fail."""
    rows = digit_rows(0, 900)
    labels = rows.pop("label").tolist()
    log = PredictionLogger("digits", str(folder), sampling=SamplingPolicy(rate=1.0))
    for i, features in enumerate(rows.to_dict("records")):
        with suppress(ConnectionError), log.request("/predict") as request:
            log.log_prediction(
                features={name: int(value) for name, value in features.items()},
                prediction=labels[i],
                score=0.99,
            )
            log.log_feedback(request.request_id, "label", label=labels[i])
            if i % every_failed == 0:
                raise ConnectionError("the scanner is gone")
    log.close()


@pytest.mark.slow
def test_a_missed_objective_fires_an_alert_of_the_night(tmp_path: Path) -> None:
    serve(tmp_path / "log", every_failed=20)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NIGHT)],
        cwd=ROOT,
        env={
            **clean_environment(home=tmp_path),
            "PYTHONPATH": f"{SOURCE}:{ROOT}",
            "WBMON_SHARED": str(tmp_path),
            "WANDB_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.split("NIGHT", 1)[1].splitlines()[0])
    phase, reason = told["alerts"]["slo.available > 0"]
    assert (phase, reason) == (
        "firing",
        "available: 95.0000% of 900 requests were good, 45 failed; 99.0000% is promised",
    )
    assert told["alerts"]["performance.accuracy worse than baseline"][0] == "ok"
    assert (told["fired"], told["severity"]) == (True, "error")
    assert told["numbers"]["slo/available/burn_rate"] == pytest.approx(5.0)


def test_a_day_without_a_request_has_no_tenant_and_every_finding(tmp_path: Path) -> None:
    night = import_module("workflows.serving_nightly")
    log = CompactPredictionLog("t.quiet", destination=str(tmp_path / "log"), service="digits")
    day = log(at=datetime(2026, 3, 2, tzinfo=timezone.utc))
    assert day.report.unmeasured.startswith("no row of digits on 2026-03-01 or any other day: noth")
    rows = digit_rows(0, 100)
    labels = rows.pop("label")
    rows = rows.add_prefix("feature.").assign(prediction=labels, score=0.99)
    reference = profile_data(rows, columns=night.LOGGED)
    assert night.drift_by_tenant(reference=reference, predictions=day.predictions) == {}
