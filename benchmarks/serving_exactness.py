"""Requests that a client sent and counted, against the log: by process model and kind of death.

Prints the table of docs/serving.md.

python -m benchmarks.serving_exactness
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.exact_traffic import DEATHS, MODELS, Account, account

N_REQUESTS = 3000


def main() -> None:
    """Print a row for each process model and death."""
    print(
        "| server | its end | sent | in windows | groups that differ | failures, their rows "
        "| other requests, sum of their weights | rows of further predictions, expected |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for seed, model in enumerate(MODELS):
        for death in DEATHS:
            with tempfile.TemporaryDirectory() as folder:
                found = account(model, death, Path(folder), n=N_REQUESTS, seed=seed)
            print(row(model, death, found), flush=True)


def row(model: str, death: str, found: Account) -> str:
    """A row of the table."""
    sent, counted = sum(found.sent.values()), sum(found.counted.values())
    keys = found.sent.keys() | found.counted.keys()
    differ = sum(found.sent[key] != found.counted[key] for key in keys)
    failed = sum(n for (_, status, _), n in found.sent.items() if status == "5xx")
    kept = [each for each in found.rows if each["sample_reason"] == "error"]
    weights = found.weights(lambda each: each["sample_reason"] != "error")
    batches = [each for each in found.rows if each["route"] == "/batch"]
    return (
        f"| {model} | {death} | {sent} | {counted} | {differ} of {len(keys)} "
        f"| {failed}, {len(kept)} | {sent - failed}, {weights:.0f} "
        f"| {len(found.further)}, {4 * len(batches)} |"
    )


if __name__ == "__main__":
    main()
