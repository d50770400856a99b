"""What a night of an LLM application amounts to, for a person: a verdict, a table, a page."""

from __future__ import annotations

from flytekit import task
from flytekit.types.file import FlyteFile
from rich.console import Console
from rich.table import Table

from flytekitplugins.wbmon import (
    Decision,
    EvaluationReport,
    FeedbackReport,
    RAGReport,
    UsageReport,
)
from flytekitplugins.wbmon.records.decision_html import decision_section
from flytekitplugins.wbmon.records.llm_html import (
    evaluation_section,
    feedback_section,
    rag_section,
    usage_section,
)
from workflows.summary import save_page


@task
def summarise_llm(
    usage: UsageReport,
    feedback: FeedbackReport,
    prompts: EvaluationReport,
    models: EvaluationReport,
    rag: RAGReport,
    decision: Decision,
) -> FlyteFile:
    """Print what was found and what to do; write the same as a page.

    Args:
        usage: What the calls cost.
        feedback: What users said.
        prompts: The prompt in use against the candidate.
        models: The model in use against another.
        rag: How good retrieval is.
        decision: What the rules made of it.
    """
    console = Console(width=100, highlight=False)
    console.print()
    console.print(f"[bold]Cost.[/] {usage.reason}")
    console.print(f"[bold]Feedback.[/] {feedback.reason}")
    console.print(f"[bold]Retrieval.[/] {rag.reason}; judges spent ${rag.judge_cost_usd:.4f}")
    console.print(f"[bold]Prompt: {prompts.verdict}.[/] {prompts.reason}")
    console.print(_variants(prompts))
    console.print(f"[bold]Model: {models.verdict}.[/] {models.reason}")
    console.print(_variants(models))
    console.print(f"[bold]Decision.[/] {decision.reason}")
    for each in decision.alerts:
        console.print(f"  {each.phase:>8}  {each.rule.title}")
    return save_page(
        "Night of an LLM application",
        decision_section(decision),
        usage_section(usage),
        feedback_section(feedback),
        evaluation_section(prompts),
        evaluation_section(models),
        rag_section(rag),
    )


def _variants(report: EvaluationReport) -> Table:
    table = Table()
    for name in (
        "variant",
        report.metric,
        "95 % interval",
        "cost a call",
        "mean latency",
        "failed",
    ):
        table.add_column(name)
    for result in report.variants:
        score = result.scores[report.metric]
        table.add_row(
            result.variant.name,
            f"{score.mean:.3f}",
            f"{score.low:.3f} … {score.high:.3f}",
            f"${result.cost_per_call_usd:.2e}",
            f"{result.latency_ms['mean']:.1f} ms",
            str(result.n_failed),
        )
    return table
