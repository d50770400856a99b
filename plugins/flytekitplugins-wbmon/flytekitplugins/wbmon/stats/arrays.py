"""The arrays that statistics take and give, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""What was observed; shape `(n,)`."""

Floats = NDArray[np.float64]
"""Numbers, one an observation or one a cell; shape `(n,)`."""

Matrix = NDArray[np.float64]
"""Observations by columns; shape `(n, k)`."""

Counts = NDArray[np.int64] | NDArray[np.float64]
"""Observations in each cell, perhaps weighted; shape `(k,)`."""
