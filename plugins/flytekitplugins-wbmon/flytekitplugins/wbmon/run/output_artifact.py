"""Logs the outputs of a task (configuration, metrics, plots, reports) as one W&B artifact."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, path_of, read_records
from flytekitplugins.wbmon.flyte.deck import TITLE, current_decks
from flytekitplugins.wbmon.run.artifact_lock import making_artifacts

if TYPE_CHECKING:
    import wandb

# wandb flushes its log every second; half a second more is for a busy machine
_FLUSH_S = 1.5


def log_outputs(run: wandb.Run, run_folder: Path) -> None:
    """Log `config.json`, `metrics.json`, `metrics.csv`, `plots/` and `reports/` of a run.

    The plots are the images that were logged to the run. The reports are the task's Decks, except
    the Deck about the run itself.

    Args:
        run: A run that is still open.
        run_folder: Its folder.
    """
    import wandb

    with tempfile.TemporaryDirectory(prefix="wandb-outputs-") as name:
        folder = Path(name)
        _write_json(folder / "config.json", run.config.as_dict())  # type: ignore[no-untyped-call]
        _write_json(folder / "metrics.json", _plain(dict(run.summary)))
        _write_csv(folder / "metrics.csv", _rows(run, run_folder))
        images = run_folder / "files" / "media" / "images"
        if images.is_dir():
            shutil.copytree(images, folder / "plots")
        for title, html in current_decks().items():
            if title != TITLE and html:
                report = folder / "reports" / f"{_file_name(title)}.html"
                report.parent.mkdir(exist_ok=True)
                report.write_text(html, encoding="utf-8")
        # wandb copies the files into its staging area, so the temporary folder may go afterwards
        with making_artifacts():
            artifact = wandb.Artifact(f"outputs-{run.id}", type="task-outputs")
            artifact.add_dir(name)
            run.log_artifact(artifact)


def _rows(run: wandb.Run, run_folder: Path) -> list[dict[str, Any]]:
    """The scalars of the logged rows, read from the transaction log.

    wandb writes a row to the log up to a second after it was logged, so this function waits until
    all rows are there, for at most 1.5 seconds.
    """
    until = time.monotonic() + _FLUSH_S
    log = log_path(run_folder)
    while True:
        rows = [
            {".".join(path_of(item)): item.value_json for item in one.history.item}
            for one in read_records(log)
            if one.WhichOneof("record_type") == "history"
        ]
        if len(rows) >= run.step or time.monotonic() > until:
            return [_scalars(row) for row in rows]
        time.sleep(0.05)


def _scalars(row: dict[str, str]) -> dict[str, Any]:
    values = {name: json.loads(text) for name, text in row.items()}
    # tables, images and histograms are dictionaries, which have no place in a CSV cell
    return {name: value for name, value in values.items() if not isinstance(value, (dict, list))}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    # rows may have different keys: the columns are all keys, in order of first appearance
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    # wandb adds entries of its own that start with an underscore, such as `_step`
    return {name: value for name, value in summary.items() if not name.startswith("_")}


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title)
