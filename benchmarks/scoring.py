"""What batch scoring costs over a bare loop with the same model and batches, and its memory.

The bare loop is what one would write without us: `ParquetFile.iter_batches`, the same model on the
same pandas batches, the predictions appended, a `ParquetWriter` with the same compression. The
model is scikit-learn's logistic regression, among the cheapest there are, so the overhead is seen
at its largest. Each variant runs in a process of its own, in turns; medians are reported.

python -m benchmarks.scoring
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = 20
BATCH = 65_536
Predict = Callable[[pd.DataFrame], pd.DataFrame]
NAMES = [f"x{i}" for i in range(COLUMNS)]


def main() -> None:
    """Print one line for each size: overhead in per cent, rows a second, peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 2_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=4, metavar=("VARIANT", "SOURCE", "MODEL", "SINK"))
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    print("| rows | bare loop s | score_batches s | overhead | Mrows/s | peak MiB | bare MiB |")
    print("|--|--|--|--|--|--|--|")
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        for n_rows in args.rows:
            source = make_data(Path(folder), n_rows)
            found = {"bare": [], "ours": []}
            for number in range(args.rounds):
                for variant in ("bare", "ours") if number % 2 else ("ours", "bare"):
                    sink = Path(folder) / f"{variant}-{n_rows}-{number}"
                    found[variant].append(run_apart(variant, source, model, sink))
            print(row(n_rows, found))


def row(n_rows: int, found: dict[str, list[dict[str, float]]]) -> str:
    """One line of the table; the overhead is that of CPU seconds, which neighbours disturb less."""
    bare, ours = (
        {
            key: statistics.median(run[key] for run in found[variant])
            for key in ("s", "cpu_s", "mib")
        }
        for variant in ("bare", "ours")
    )
    overhead = ours["cpu_s"] / bare["cpu_s"] - 1
    return (
        f"| {n_rows:,} | {bare['s']:.2f} | {ours['s']:.2f} | {overhead:+.1%} "
        f"| {n_rows / ours['s'] / 1e6:.2f} | {ours['mib']:.0f} | {bare['mib']:.0f} |"
    )


def make_model(folder: Path) -> Path:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, COLUMNS))
    y = rng.random(5000) < 1 / (1 + np.exp(-x[:, 0]))
    path = folder / "model.joblib"
    joblib.dump(LogisticRegression().fit(pd.DataFrame(x, columns=NAMES), y), path)
    return path


def make_data(folder: Path, n_rows: int) -> Path:
    rng = np.random.default_rng(1)
    path = folder / f"{n_rows}.parquet"
    with pq.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in NAMES])) as writer:
        for start in range(0, n_rows, 2 * BATCH):
            size = min(2 * BATCH, n_rows - start)
            writer.write_table(pa.table({name: rng.normal(size=size) for name in NAMES}))
    return path


def run_apart(variant: str, source: Path, model: Path, sink: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", variant, str(source), str(model), str(sink)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def measure(variant: str, source: str, model_path: str, sink: str) -> dict[str, float]:
    model = joblib.load(model_path)

    def predict(batch: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p": model.predict_proba(batch[NAMES])[:, 1]})

    predict(pd.DataFrame(np.zeros((10, COLUMNS)), columns=NAMES))
    score = bare_loop if variant == "bare" else our_loop
    before, cpu = time.perf_counter(), time.process_time()
    score(predict, source, sink)
    return {
        "s": time.perf_counter() - before,
        "cpu_s": time.process_time() - cpu,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def our_loop(predict: Predict, source: str, sink: str) -> None:
    from flytekitplugins.wbmon.monitor.scoring.score import score_batches

    score_batches(predict, source, sink, batch_rows=BATCH)


def bare_loop(predict: Predict, source: str, sink: str) -> None:
    Path(sink).mkdir()
    writer = None
    for batch in pq.ParquetFile(source).iter_batches(BATCH):
        scores = predict(batch.to_pandas())
        table = pa.Table.from_batches([batch]).append_column("p", pa.array(scores["p"]))
        writer = writer or pq.ParquetWriter(
            Path(sink) / "0.parquet", table.schema, compression="zstd"
        )
        writer.write_table(table)
    writer.close()


if __name__ == "__main__":
    main()
