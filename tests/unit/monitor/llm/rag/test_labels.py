"""The relevant documents of a query, as frames, Arrow and Parquet hold them."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer, RAGRule
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag
from flytekitplugins.wbmon.monitor.llm.rag.labels import relevant_documents


def through_parquet(column: Any) -> list[Any]:
    file = io.BytesIO()
    pq.write_table(pa.table({"relevant": column}), file)
    found: list[Any] = pq.read_table(file)["relevant"].to_pylist()
    return found


@given(
    st.lists(
        st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(1, 3), min_size=1),
        min_size=1,
        max_size=5,
    )
)
def test_grades_by_id_are_the_same_after_parquet_made_structs_of_them(grades: list[dict]) -> None:
    assert [relevant_documents(row) for row in through_parquet(pa.array(grades))] == grades


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("0", 3.0), ("5", 1.0)]], type=pa.map_(pa.string(), pa.float64())),
        pa.array([[{"id": "0", "grade": 3}, {"id": "5", "grade": 1}]]),
        pa.array([[{"key": 0, "value": 3}, {"key": 5, "value": 1}]]),
        pa.array([{"0": 3, "5": 1, "7": None, "8": 0}]),
    ],
)
def test_maps_and_lists_of_structs_are_grades_by_id(column: pa.Array) -> None:
    assert relevant_documents(through_parquet(column)[0]) == {"0": 3.0, "5": 1.0}


@pytest.mark.parametrize(
    "value",
    [[["0", 3], ("5", 1)], {"0": 3, 5: 1}, {0.0: 3, np.float32(5): 1}, [(np.int64(0), 3), (5, 1)]],
)
def test_pairs_and_mappings_of_python_are_grades_by_id(value: Any) -> None:
    assert relevant_documents(value) == {"0": 3.0, "5": 1.0}


@pytest.mark.parametrize("value", [["0", "5"], {"0", "5"}, np.array(["0", "5"]), [0, 5.0, None]])
def test_ids_are_documents_of_grade_1(value: Any) -> None:
    assert relevant_documents(value) == {"0": 1.0, "5": 1.0}


@pytest.mark.parametrize("value", [None, math.nan, [], {}, {"0": None}, {"0": 0}])
def test_no_known_document_is_no_label(value: Any) -> None:
    assert relevant_documents(value) == {}


@pytest.mark.parametrize(
    "value", ["0", b"0", 3, {"0": -1}, {"0": "high"}, [("0", 1, 2)], [{"name": "0"}]]
)
def test_what_is_neither_is_refused_before_anything_is_asked(value: Any) -> None:
    with pytest.raises(DataError):
        evaluate_rag(
            [{"question": "q", "relevant": value}], lambda item: pytest.fail("it was asked")
        )


def test_ids_that_are_numbers_meet_ids_that_are_text() -> None:
    report = evaluate_rag(
        [{"question": "a", "relevant": [7]}, {"question": "b", "relevant": {"8": 2}}],
        lambda item: Answer(retrieved=(7, 8.0)),  # type: ignore[arg-type]
        rule=RAGRule(k=2),
    )

    assert report.retrieval["recall"].mean == 1
    assert report.retrieval["mrr"].mean == 0.75
