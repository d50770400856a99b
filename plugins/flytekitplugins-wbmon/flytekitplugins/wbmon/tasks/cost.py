"""The node that sums the cost of LLM calls and compares it with budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import BudgetExceededError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.cost.price import Price
from flytekitplugins.wbmon.monitor.llm.cost.report import (
    Budget,
    UsageReport,
)
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSettings:
    """Settings of `TrackCost`, where they are described."""

    prices: tuple[Price, ...] = ()
    builtin_prices: bool = True
    by: tuple[str, ...] = ("model", "tenant", "endpoint", "prompt")
    budgets: tuple[Budget, ...] = ()


class CostTracked(NamedTuple):
    """A usage report, with a primitive output for a `conditional`."""

    report: UsageReport
    over_budget: bool


class TrackCost(Node[CostSettings]):
    """Sum the tokens and cost of the LLM calls of a window by dimension, and check budgets.

    Args:
        name: The task's name.
        prices: `Price` records or mappings; each call is charged the price valid at its time.
        builtin_prices: Whether to use `genai-prices`, if installed, for other models.
        by: Dimensions to group by: `model`, `tenant`, `user`, `endpoint`, `prompt`, `service`,
            `purpose`.
        budgets: Spending limits. If one with the action `fail` is exceeded, the node fails after
            showing its report.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a price is invalid.
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
            by=listed("by", by, "dimensions"),
            budgets=listed("budgets", budgets, "budgets"),
        )
        super().__init__(name, settings, **task_kwargs)

    def execute(self, **inputs: Any) -> Any:
        """Publish the report, then raise if a budget with the action `fail` is exceeded."""
        # published before it may raise: a failed task should show why
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
        """Sum the usage of one window.

        Args:
            data: Rows of the call log or prediction log.
            previous: The report of the previous window, for budgets over longer periods. Windows
                may begin at any hour, overlap and be judged again: each call counts once.
            at: Time at which budgets are evaluated; that of the last call if not given.

        Returns:
            report: Tokens and cost by dimension, and the state of the budgets.
            over_budget: Whether any budget is exceeded, as far as costs are known.
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
