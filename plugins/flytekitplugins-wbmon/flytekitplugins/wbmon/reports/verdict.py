"""The verdict on a metric compared with its baseline."""

from __future__ import annotations

from typing import Literal

MetricVerdict = Literal["ok", "worse", "better", "unknown"]
