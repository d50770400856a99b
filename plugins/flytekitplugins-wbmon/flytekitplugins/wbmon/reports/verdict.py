"""What is said of a metric beside its baseline."""

from __future__ import annotations

from typing import Literal

MetricVerdict = Literal["ok", "worse", "better", "unknown"]
