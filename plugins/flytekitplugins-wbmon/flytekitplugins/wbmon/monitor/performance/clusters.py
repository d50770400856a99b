"""Which rows belong together, such as those of one customer or session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_valid
from flytekitplugins.wbmon.data.groups import is_scalar
from flytekitplugins.wbmon.data.names import plain_names
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.names import quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]


def row_clusters(column: pa.ChunkedArray, name: str) -> Codes:
    """The cluster of each row; a row without one is a cluster of its own.

    Args:
        column: The column whose values are the same for rows that belong together.
        name: Its name.

    Raises:
        DataError: If it holds lists or structs.
    """
    if not is_scalar(column.type):
        raise DataError(
            "clusters must be named by text, numbers, booleans or times; column "
            f"{quoted_name(name)} holds {column.type}"
        )
    names = plain_names(column)
    is_blank = pc.equal(pc.utf8_trim_whitespace(names), "")
    encoded = pc.if_else(is_blank, pa.scalar(None, names.type), names).dictionary_encode()
    known = is_valid(encoded.indices)
    codes = np.zeros(len(encoded), dtype=np.int64)
    codes[known] = dense_numbers(encoded.indices.drop_null())
    codes[~known] = len(encoded.dictionary) + np.arange(int((~known).sum()))
    return codes


def in_clusters(outcomes: Outcomes, clusters: Codes) -> Outcomes:
    """The outcomes with their clusters.

    Args:
        outcomes: The measured rows of a window.
        clusters: Cluster of each row of the window, measured or not; shape `(n_rows,)`.
    """
    proxies = outcomes.proxies
    if proxies is not None:
        proxies = replace(proxies, cluster=clusters[proxies.rows])
    return replace(outcomes, cluster=clusters[outcomes.rows], proxies=proxies)
