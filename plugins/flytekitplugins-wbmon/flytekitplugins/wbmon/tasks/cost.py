"""The node that says what LLM calls cost, and whether that keeps within the budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import BudgetExceededError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.cost.report import Budget, Price, UsageReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSettings:
    """What `TrackCost` adds up, at which prices, against which budgets."""

    prices: tuple[Price, ...] = ()
    builtin_prices: bool = True
    by: tuple[str, ...] = ("model", "tenant", "endpoint", "prompt")
    budgets: tuple[Budget, ...] = ()


class CostTracked(NamedTuple):
    """A usage report, and its gate for a `conditional`."""

    report: UsageReport
    over_budget: bool


class TrackCost(Node[CostSettings]):
    """Add up what the LLM calls of a window used and cost, by whom, against budgets.

    Args:
        name: The task's name.
        prices: `Price` records or mappings; the price in force at a call's time counts.
        builtin_prices: Ask `genai-prices`, where it is installed, about other models.
        by: Dimensions to group by: `model`, `tenant`, `user`, `endpoint`, `prompt`, `service`,
            `purpose`.
        budgets: Limits; one whose action is `fail` fails the node, after its report is shown.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a price cannot be one.
    """

    def __init__(
        self,
        name: str,
        *,
        prices: Sequence[Price | Mapping[str, Any]] = (),
        builtin_prices: bool = True,
        by: Sequence[str] = ("model", "tenant", "endpoint", "prompt"),
        budgets: Sequence[Budget] = (),
        **task_kwargs: Any,
    ) -> None:
        from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable

        settings = CostSettings(
            prices=PriceTable(prices).rows,
            builtin_prices=builtin_prices,
            by=tuple(by),
            budgets=tuple(budgets),
        )
        super().__init__(name, settings, **task_kwargs)

    def execute(self, **inputs: Any) -> Any:
        """Do the work and show the report; then fail if a budget says so."""
        outputs = super().execute(**inputs)
        broken = [
            status
            for status in outputs.report.budgets
            if status.verdict == "exceeded" and status.budget.action == "fail"
        ]
        if broken:
            raise BudgetExceededError(outputs.report.reason)
        return outputs

    def compute(
        self,
        data: StructuredDataset,
        previous: UsageReport | None = None,
        at: datetime | None = None,
    ) -> CostTracked:
        """Add up a window of the call log.

        Args:
            data: Rows of the call log or prediction log.
            previous: The report of the window before, for budgets of longer periods.
            at: The time to judge budgets at; the last call's if not given.

        Returns:
            report: What was used and spent, by whom.
            over_budget: Whether any budget is exceeded.
        """
        from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable
        from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage

        config = self.config
        report = summarise_usage(
            open_data(data),
            PriceTable(config.prices, builtin=config.builtin_prices),
            by=config.by,
            budgets=config.budgets,
            previous=previous,
            at=at,
        )
        return CostTracked(report=report, over_budget=report.over_budget)
