"""A circuit breaker per model: a model that keeps failing receives no calls for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flytekitplugins.wbmon.errors import ConfigError


@dataclass(slots=True)
class _Circuit:
    n_failures: int = 0
    opened_at: float | None = None
    is_probing: bool = False


@dataclass(slots=True, kw_only=True)
class CircuitBreaker:
    """Refuses calls to a model after consecutive failures, and probes it after a cool-down.

    Args:
        failures: Consecutive failures that open the circuit; `>= 1`.
        cooldown_s: Seconds that it stays open before one call may probe the model; `> 0`.
        clock: A monotonic clock in seconds.

    Raises:
        ConfigError: If a number is not positive.
    """

    failures: int = 5
    cooldown_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _circuits: dict[str, _Circuit] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.failures < 1 or not self.cooldown_s > 0:
            raise ConfigError(
                "a breaker must have failures >= 1 and cooldown_s > 0, got "
                f"{self.failures} and {self.cooldown_s}"
            )

    def allows(self, model: str) -> bool:
        """Whether a call may go to the model now.

        After the cool-down, True makes the caller the only probe: it must then call `succeeded`,
        `failed` or `release_probe`.
        """
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is None or circuit.opened_at is None:
                return True
            if circuit.is_probing or self.clock() - circuit.opened_at < self.cooldown_s:
                return False
            circuit.is_probing = True
            return True

    def succeeded(self, model: str) -> None:
        """Record an answer of the model; this closes the circuit."""
        with self._lock:
            self._circuits.pop(model, None)

    def failed(self, model: str) -> None:
        """Record a failure that shows that the model is unavailable."""
        with self._lock:
            circuit = self._circuits.setdefault(model, _Circuit())
            circuit.n_failures += 1
            # a failed probe starts a new cool-down: its failures are enough already
            if circuit.n_failures >= self.failures:
                circuit.opened_at = self.clock()
                circuit.is_probing = False

    def release_probe(self, model: str) -> None:
        """Record a call that says nothing about availability; another call may probe the model."""
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is not None:
                circuit.is_probing = False

    @property
    def open_models(self) -> tuple[str, ...]:
        """Models whose circuit is open, including those being probed."""
        with self._lock:
            return tuple(m for m, each in self._circuits.items() if each.opened_at is not None)
