"""The file format of a model of the loss: the arrays of NumPy's `.npz`, and a text of JSON.

Unlike a pickle, reading it executes nothing, and what it claims of itself is believed only as far
as trees can go: their nodes must follow each other, and compare features that there are.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.stats.boosted_trees import BoostedTrees
from flytekitplugins.wbmon.stats.loss_model import FittedLoss
from flytekitplugins.wbmon.storage.record_file import MAX_FILE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

FORMAT_VERSION = 1
_MAX_PAYLOAD_BYTES = 2**30
_MAX_TREES = 1000
_MAX_NODES = 64  # of a tree, so a walk has no more steps
_LOSSES = ("mae", "mse")
_ABOUT = "about"
_NODES = ("feature", "threshold", "missing_left", "left", "right", "value")
_TYPES = {
    "rows": "<f8",
    "row_weight": "<f8",
    "residual": "<f8",
    "base": "<f8",
    "roots": "<i4",
    "feature": "<i4",
    "threshold": "<f8",
    "missing_left": "|b1",
    "left": "<i4",
    "right": "<i4",
    "value": "<f8",
}


def fields_to_bytes(fields: Mapping[str, Any]) -> bytes:
    """The content of the file of a model.

    Args:
        fields: What a `LossModel` holds, by attribute.

    Raises:
        DataError: If it does not fit in 256 MiB.
    """
    losses: Mapping[str, FittedLoss] = fields["losses"]
    about = {
        "version": FORMAT_VERSION,
        "label": fields["label"],
        "prediction": fields["prediction"],
        "features": list(fields["features"]),
        "weight": fields["weight"],
        "words": {name: list(words) for name, words in fields["words"].items()},
        "units": dict(fields["units"]),
        "reference": json.loads(record_to_json(fields["reference"])),
        "losses": list(losses),
    }
    arrays: dict[str, NDArray[Any]] = {
        _ABOUT: np.frombuffer(json.dumps(about, allow_nan=False).encode(), dtype=np.uint8),
        "rows": fields["rows"],
        "row_weight": fields["row_weight"],
    }
    for name, loss in losses.items():
        arrays[f"{name}.residual"] = loss.residual
        for field, value in loss.trees._asdict().items():
            arrays[f"{name}.{field}"] = np.asarray(value)
    stored = {name: each.astype(_type_of(name), copy=False) for name, each in arrays.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **stored)  # type: ignore[arg-type]  # arrays, no flag
    content = file.getvalue()
    if len(content) > MAX_FILE_BYTES or sum(each.nbytes for each in stored.values()) > (
        _MAX_PAYLOAD_BYTES - 2**20
    ):
        raise DataError(
            f"a model of the loss must fit in a file of {MAX_FILE_BYTES} bytes, got {len(content)}"
            "; give fewer features, and none of text that hardly repeats"
        )
    return content


def fields_from_bytes(content: bytes, path: str) -> dict[str, Any]:
    """Read the content of the file of a model.

    Args:
        content: The bytes of the file.
        path: Name of the file in error messages.

    Returns:
        What a `LossModel` holds, by attribute.

    Raises:
        DataError: If it is not a model of the loss, is damaged, or was written by a newer version
            of this package.
    """
    try:
        arrays = _arrays(content)
        about = json.loads(arrays[_ABOUT].tobytes())
        version = about["version"]
        _require(type(version) is int and version >= 1, "version must be a whole number >= 1")
        if version <= FORMAT_VERSION:
            return _fields(about, arrays)
    except (
        DataError,
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{path!r} must be a file that LossModel.save wrote, and is another or damaged "
            f"({error}); write it again: fit_loss_model(...).save(path)"
        ) from error
    raise DataError(
        f"{path!r} is a model of the loss of format version {version}, this package reads up to "
        f"{FORMAT_VERSION}; upgrade flytekitplugins-wbmon"
    )


def _type_of(name: str) -> str:
    return "|u1" if name == _ABOUT else _TYPES[name.rpartition(".")[2]]


def _arrays(content: bytes) -> Arrays:
    """The arrays of the file, unpacked only if they are not too large together."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        size = sum(each.file_size for each in file.infolist())
        _require(size <= _MAX_PAYLOAD_BYTES, f"unpacked it must have {_MAX_PAYLOAD_BYTES} bytes")
        # NumPy reads the description of an array before its checksum is known
        _require(file.testzip() is None, "its checksums must be those of its content")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, each in arrays.items():
        _require(each.dtype == np.dtype(_type_of(name)), f"{name} must be of {_type_of(name)}")
    return arrays


def _fields(about: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    features, words, units = about["features"], about["words"], about["units"]
    _require(all(type(each) is str for each in features), "features must be names")
    texts = [word for of_feature in words.values() for word in of_feature]
    _require(all(type(word) is str for word in texts), "words must be text")
    for name in ("label", "prediction", "weight"):
        _require(type(about[name]) is str, f"{name} must be a name")
    _require(words.keys() | units.keys() <= set(features), "words and units must be of features")
    _require(all(type(unit) is str for unit in units.values()), "units must be text")
    rows, row_weight = arrays["rows"], arrays["row_weight"]
    _require(rows.ndim == 2 and rows.shape[1] == len(features), "rows must have every feature")  # noqa: PLR2004
    _require(row_weight.shape == rows.shape[:1], "every row must have a weight")
    _require(bool(np.isfinite(row_weight).all() and (row_weight > 0).all()), "weights must be > 0")
    _require(about["losses"] in ([], list(_LOSSES)), f"losses must be {_LOSSES} or none")
    return {
        "label": about["label"],
        "prediction": about["prediction"],
        "features": tuple(features),
        "weight": about["weight"],
        "words": {name: tuple(each) for name, each in words.items()},
        "units": units,
        "reference": record_from_json(PerformanceReport, json.dumps(about["reference"])),
        "rows": rows,
        "row_weight": row_weight,
        "losses": {name: _loss(name, arrays) for name in about["losses"]},
    }


def _loss(name: str, arrays: Arrays) -> FittedLoss:
    residual = arrays[f"{name}.residual"]
    _require(residual.shape == arrays["row_weight"].shape, "every row must have a residual")
    _require(bool(np.isfinite(residual).all()), "residuals must be finite")
    found = {field: arrays[f"{name}.{field}"] for field in BoostedTrees._fields}
    base = found.pop("base")
    _require(base.shape == () and bool(np.isfinite(base)), "base must be a number")
    trees = BoostedTrees(base=float(base), **found)
    _require_trees(trees, arrays["rows"].shape[1])
    return FittedLoss(trees, residual)


def _require_trees(trees: BoostedTrees, n_features: int) -> None:
    n, roots = len(trees.feature), trees.roots
    shapes = {getattr(trees, field).shape for field in _NODES}
    _require(shapes == {(n,)} and roots.ndim == 1, "nodes must be of one length")
    ends = np.append(roots[1:], n)
    sizes = ends - roots
    _require(
        0 < len(roots) <= _MAX_TREES and roots[0] == 0, "trees must be few, and hold all nodes"
    )
    _require(bool(((sizes > 0) & (sizes <= _MAX_NODES)).all()), "trees must be small")
    inner, place = trees.feature >= 0, np.arange(n)
    _require(bool((trees.feature < n_features).all()), "nodes must compare features")
    for side in (trees.left, trees.right):
        # behind it in its tree: no walk goes round
        follows = (side > place) & (side < np.repeat(ends, sizes))
        _require(bool(follows[inner].all()), "nodes must be in order")
    is_known = np.isfinite(trees.value).all() and not np.isnan(trees.threshold).any()
    _require(bool(is_known), "nodes must hold numbers")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
