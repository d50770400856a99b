"""A circuit breaker for each model: a model that keeps failing is not called for a while."""

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
    """Refuses calls to a model after failures in a row; one probe a cool-down finds its recovery.

    Args:
        failures: Failures in a row that open the circuit.
        cooldown_s: How long it stays open before one call may probe.
        clock: Seconds that only go forward.

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
        """Whether a call may go to the model now; a probe is given to one caller only."""
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is None or circuit.opened_at is None:
                return True
            if circuit.is_probing or self.clock() - circuit.opened_at < self.cooldown_s:
                return False
            circuit.is_probing = True
            return True

    def succeeded(self, model: str) -> None:
        """The model answered: the circuit closes."""
        with self._lock:
            self._circuits.pop(model, None)

    def failed(self, model: str) -> None:
        """The model failed in a way that speaks of its health."""
        with self._lock:
            circuit = self._circuits.setdefault(model, _Circuit())
            circuit.n_failures += 1
            if circuit.n_failures >= self.failures:  # so does a probe that failed
                circuit.opened_at = self.clock()
                circuit.is_probing = False

    def release_probe(self, model: str) -> None:
        """The call ended without telling of the model's health: a probe may be tried again."""
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is not None:
                circuit.is_probing = False

    @property
    def open_models(self) -> tuple[str, ...]:
        """The models that are not called now."""
        with self._lock:
            return tuple(m for m, each in self._circuits.items() if each.opened_at is not None)
