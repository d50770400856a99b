"""`batch_scoring`: a task from a predict function, for data of any size."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from flytekit import FlyteContextManager, task
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed, listed_columns
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.checkpoint import FlyteCheckpoints
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.function_reference import load_file
from flytekitplugins.wbmon.flyte.main_module import found_as_its_function
from flytekitplugins.wbmon.flyte.memory import request_memory
from flytekitplugins.wbmon.flyte.store_outage import retried_by_flyte
from flytekitplugins.wbmon.flyte.task_arguments import with_deck
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from flytekitplugins.wbmon.monitor.scoring.report import (
    ScoringReport,
    Watch,
)
from flytekitplugins.wbmon.monitor.scoring.slo import SLO
from flytekitplugins.wbmon.run.artifact_lock import making_artifacts
from flytekitplugins.wbmon.run.lifecycle import current_run

Load = Mapping[str, Callable[[str], Any]]
Returns = Literal["scored", "predictions"]


class Scored(NamedTuple):
    """The data with the predictions appended, and the scoring report."""

    predictions: StructuredDataset
    report: ScoringReport


def batch_scoring(  # noqa: PLR0913 - one keyword a setting
    predict: Callable[..., Any] | None = None,
    *,
    batch_rows: int = 65_536,
    columns: Sequence[str] = (),
    outputs: Mapping[str, str] | None = None,
    slos: Sequence[SLO] = (),
    max_error_rate: float = 0.0,
    watch: Watch | None = None,
    load: Load | None = None,
    sample: Sample | None = None,
    part_rows: int = 1_048_576,
    checkpoint_s: float = 300.0,
    returns: Returns = "scored",
    **task_kwargs: Any,
) -> Any:
    """Turn a predict function into a task that scores a whole data set, batch by batch.

    The first parameter of the function is the batch; its annotation (`pd.DataFrame`, `pa.Table` or
    `np.ndarray`) sets its type. The task has the input `data` (Parquet, or the data frame of
    another task) instead, and all other parameters unchanged. It writes `data` with the predictions
    appended, in the same order.

        @batch_scoring(load={"model": joblib.load})
        def score(batch: pd.DataFrame, model: Pipeline) -> pd.DataFrame:
            return pd.DataFrame({"p_fraud": model.predict_proba(batch)[:, 1]})

        scored = score(data=night, model=model_file)     # in a workflow

    With `retries=`, a repeated attempt (after a lost pod or a `FlyteRecoverableException`) keeps
    the complete parts of the previous attempt and continues after them.

    Args:
        predict: The function; left out when the decorator has arguments.
        batch_rows: Rows per batch; `>= 1`.
        columns: The columns passed to the function; all if empty. All columns are written anyway.
        outputs: The columns that the function returns, by name, with their Arrow type (`float64`,
            `int64`, `string`), so that a window without rows has them, too.
        slos: Objectives for the batch latency, evaluated at the end.
        max_error_rate: Share of rows on which the function may raise, in [0, 1]; these rows are
            written separately with the reason, to a place named in the report.
        watch: Predicted columns whose confidence and distribution the report contains.
        load: For parameters that are model files, the function that loads the model from a local
            path, such as `joblib.load`. The task input is a FlyteFile (or a FlyteDirectory, if so
            annotated). A process loads the same file once.
        sample: Rows to show, redacted, in the table `scoring/sample` of the W&B run of the task.
        part_rows: Number of rows after which a new Parquet part starts.
        checkpoint_s: Seconds after which a new part starts in any case, which limits the work that
            a retry has to repeat.
        returns: `predictions` for a task with this single output, as `map_task` requires; the
            report of each shard is then only in its W&B run.
        task_kwargs: Arguments of `flytekit.task`: `requests`, `container_image`, `cache`, … Without
            one for memory the task requests 1 GiB.

    Returns:
        A Flyte task with outputs `predictions` and `report`.

    Raises:
        ConfigError: If the function has no parameter, `load` names a parameter that it lacks, or a
            number is out of range.
    """
    if predict is None:
        return functools.partial(
            batch_scoring,
            batch_rows=batch_rows,
            columns=columns,
            outputs=outputs,
            slos=slos,
            max_error_rate=max_error_rate,
            watch=watch,
            load=load,
            sample=sample,
            part_rows=part_rows,
            checkpoint_s=checkpoint_s,
            returns=returns,
            **task_kwargs,
        )
    loaders = dict(load or {})
    _check(predict, loaders, returns)
    settings = {
        "batch_rows": batch_rows,
        "columns": listed_columns("columns", columns) or None,
        "outputs": outputs,
        "slos": listed("slos", slos, "objectives"),
        "max_error_rate": max_error_rate,
        "watch": watch,
        "part_rows": part_rows,
        "part_s": checkpoint_s,
    }
    _check_numbers(settings)
    if outputs is not None:
        # imported where it is needed: naming the decorator must not load Arrow
        from flytekitplugins.wbmon.data.batches import declared_outputs

        declared_outputs(outputs)

    @functools.wraps(predict)
    def score_data(data: StructuredDataset, **inputs: Any) -> Scored | StructuredDataset:
        from flytekitplugins.wbmon.publish.lineage import publish_lineage

        # before the files are replaced by models: lineage needs their URIs
        given = {"data": data, **inputs}
        with retried_by_flyte():
            for name, loader in loaders.items():
                inputs[name] = load_file(loader, inputs[name], name)
            scored = _score(predict, data, inputs, settings, sample)
        with making_artifacts():
            publish_lineage(given, scored, run=current_run())
        return scored if returns == "scored" else scored.predictions

    _describe(score_data, predict, loaders, Scored if returns == "scored" else StructuredDataset)
    function = found_as_its_function(score_data)
    return request_memory(task(function, **with_deck(task_kwargs)))


def _check(predict: Callable[..., Any], loaders: Load, returns: str) -> None:
    names = list(inspect.signature(predict).parameters)
    if not names:
        raise ConfigError(f"{predict.__name__} must take a batch as its first parameter, has none")
    if names[0] in loaders or not loaders.keys() <= set(names):
        raise ConfigError(
            f"load must name parameters of {predict.__name__} other than the batch "
            f"({', '.join(names[1:]) or 'it has none'}), got {', '.join(loaders)}"
        )
    if "data" in names[1:]:
        raise ConfigError(
            f"{predict.__name__} has a parameter 'data', which is the task's data; rename it"
        )
    if returns not in get_args(Returns):
        raise ConfigError(f"returns must be one of {', '.join(get_args(Returns))}; got {returns!r}")


def _check_numbers(settings: Mapping[str, Any]) -> None:
    """Check at decoration what `score_batches` checks in the pod, without importing it."""
    for name in ("batch_rows", "part_rows"):
        if settings[name] < 1:
            raise ConfigError(f"{name} must be at least 1, got {settings[name]}")
    if not 0 <= settings["max_error_rate"] <= 1:
        raise ConfigError(
            f"max_error_rate must be a share in [0, 1], got {settings['max_error_rate']}"
        )
    if not settings["part_s"] > 0:
        raise ConfigError(f"checkpoint_s must be positive, got {settings['part_s']}")
    names = [slo.name for slo in settings["slos"]]
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives must have different names, got {', '.join(names)}")


def _describe(
    score_data: Callable[..., Any],
    predict: Callable[..., Any],
    loaders: Load,
    returned: type[Any],
) -> None:
    """Set the signature from which flytekit reads the inputs and outputs of the task."""
    hints = get_type_hints(predict, include_extras=True)
    batch, *others = inspect.signature(predict).parameters.values()
    for name in loaders:
        hints[name] = FlyteDirectory if hints.get(name) is FlyteDirectory else FlyteFile
    data = batch.replace(name="data", annotation=StructuredDataset)
    parameters = [data, *(one.replace(annotation=hints.get(one.name)) for one in others)]
    annotations = {one.name: one.annotation for one in parameters}
    score_data.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by inspect
        parameters, return_annotation=returned
    )
    score_data.__annotations__ = {**annotations, "return": returned}


def _score(
    predict: Callable[..., Any],
    data: StructuredDataset,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    sample: Sample | None,
) -> Scored:
    from flytekitplugins.wbmon.data.batches import batch_kind
    from flytekitplugins.wbmon.monitor.samples.sampler import RowSampler
    from flytekitplugins.wbmon.monitor.scoring.score import score_batches
    from flytekitplugins.wbmon.publish.progress import ScoringProgress, log_sample
    from flytekitplugins.wbmon.publish.report import publish_reports

    files = FlyteContextManager.current_context().file_access
    # a random folder: `PartWriter` needs an empty one, and local tasks share one prefix
    sink = files.join(files.raw_output_prefix, files.get_random_string(), "predictions")
    # a sample is only shown in a W&B run
    run = current_run()
    sampler = RowSampler(sample) if sample is not None and run is not None else None
    progress = ScoringProgress(predict.__name__, run)
    report = score_batches(
        functools.partial(_call, predict, inputs),
        open_data(data),
        sink,
        kind=batch_kind(predict),
        filesystem=filesystem_of_task(sink),
        checkpoints=FlyteCheckpoints.of_task(),
        let_through=(FlyteRecoverableException,),
        on_batch=progress,
        sampler=sampler,
        **settings,
    )
    progress.end()
    with making_artifacts():
        publish_reports([report], run=run)
        if sampler is not None:
            log_sample(sampler.record(), run)
    return Scored(StructuredDataset(uri=sink, file_format="parquet"), report)


def _call(predict: Callable[..., Any], inputs: Mapping[str, Any], batch: Any) -> Any:
    return predict(batch, **inputs)
