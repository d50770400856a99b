"""What a night of an LLM application amounts to, for a person: a verdict, a table, a page."""

from __future__ import annotations

from flytekit import task
from flytekit.types.file import FlyteFile
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from flytekitplugins.wbmon import (
    Decision,
    EvaluationReport,
    FeedbackReport,
    RAGReport,
    UsageReport,
)
from flytekitplugins.wbmon.monitor.alerts.page import decision_section
from flytekitplugins.wbmon.monitor.llm.cost.page import usage_section
from flytekitplugins.wbmon.monitor.llm.evaluation.page import evaluation_section
from flytekitplugins.wbmon.monitor.llm.feedback.page import feedback_section
from flytekitplugins.wbmon.monitor.llm.rag.page import rag_section
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
    console.print("\n[bold]After this night[/]\n")
    for each in decision.alerts:
        if each.phase == "firing":
            console.print(f" [red]ALERT[/]  {each.rule.metric.partition('.')[0]} {each.reason}")
    for finding in decision.findings:
        console.print(f" [red]BLIND[/]  {finding}")
    for what, report in (("prompt", prompts), ("model", models)):
        console.print(_advice(what, report))
    quiet = [each.rule.metric for each in decision.alerts if each.phase == "ok"]
    if quiet:
        console.print(f" [green]FINE [/]  {', '.join(quiet)}")
    console.print("\n[bold]Why[/]\n")
    console.print(f"Cost. {usage.reason}")
    console.print(f"Feedback. {feedback.reason}")
    console.print(f"Retrieval. {rag.reason}; judges spent ${rag.judge_cost_usd:.4f}")
    for what, report in (("Prompt", prompts), ("Model", models)):
        console.print(f"\n{what}: {report.reason}")
        console.print(_variants(report))
    return save_page(
        "WindowSummary of an LLM application",
        decision_section(decision),
        usage_section(usage),
        feedback_section(feedback),
        evaluation_section(prompts),
        evaluation_section(models),
        rag_section(rag),
    )


def _advice(what: str, report: EvaluationReport) -> str:
    """What to do about a comparison, with the numbers of the two that it is about."""
    now = report.variants[0]
    best = next((each for each in report.variants if each.variant.name == report.winner), now)
    if report.verdict != "ship":
        return (
            f" [yellow]{report.verdict.upper():5}[/]  {what} `{now.variant.name}`: {report.reason}"
        )
    before, after = (each.scores[report.metric].mean for each in (now, best))
    cost = best.cost_per_call_usd / now.cost_per_call_usd - 1
    return (
        f" [green]SHIP [/]  {what} `{best.variant.name}` instead of `{now.variant.name}`: "
        f"right answers {before:.0%} → {after:.0%}, cost {cost:+.0%}"
    )


def _variants(report: EvaluationReport) -> Table:
    table = Table(box=SIMPLE)
    for name in (
        "variant",
        report.metric,
        "95 % interval",
        "$ for 1000 calls",
        "mean latency",
        "failed",
    ):
        table.add_column(name)
    for result in report.variants:
        score = result.scores[report.metric]
        table.add_row(
            result.variant.name,
            f"{score.mean:.0%}",
            f"{score.low:.0%} … {score.high:.0%}",
            f"{1000 * result.cost_per_call_usd:.4f}",
            f"{result.latency_ms['mean']:.1f} ms",
            str(result.n_failed),
        )
    return table
