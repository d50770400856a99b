from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.request import Request

MAIL = "me@x.com"


def encoded(**columns: Any) -> dict[str, Any]:
    encoder = RowEncoder({}, Screen(PatternRedactor(), user_key=b"k", max_text=1000))
    request = Request("r")
    request.user = columns.pop("user", None)
    request.add_features(columns.pop("features", {}))
    request.set(**columns)
    return dict(json.loads(encoder.prediction(request)))


@pytest.mark.parametrize("prediction", [[MAIL], {"to": MAIL}, MAIL, {"to": [{"cc": MAIL}]}])
def test_a_prediction_is_redacted_whatever_it_is_made_of(prediction: Any) -> None:
    row = encoded(prediction=prediction)

    assert MAIL not in json.dumps(row)
    assert "[EMAIL]" in row["prediction"]
    assert row["redactions"] == 1


def test_an_error_text_that_a_handler_gives_is_redacted() -> None:
    assert encoded(error_text=f"no {MAIL}")["error_text"] == "no [EMAIL]"


def test_of_documents_only_what_the_contract_names_is_kept() -> None:
    documents = [{"id": 7, "rank": 1, "text": "secret"}, "no document"]

    assert encoded(retrieved_documents=documents)["retrieved_documents"] == [{"id": "7", "rank": 1}]


def test_a_user_of_any_letters_has_a_hash() -> None:
    assert len(encoded(user="\ud800")["user_hash"]) == 64


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 10**400, 10**80], ids=hash)
def test_a_number_is_logged_however_many_digits_it_has(number: int) -> None:
    row = encoded(prediction=number, features={"n": number, "m": 1})
    inside = encoded(prediction={"n": [number]})

    assert int(row["prediction"], 0) == int(row["features"]["n"], 0) == number
    assert row["features"]["m"] == 1
    written = str(number) if abs(number) < 10**4000 else hex(number)
    # a text is cut
    assert written[:900] in inside["prediction"]


def test_a_decimal_beyond_all_floats_is_a_category_and_not_lost() -> None:
    row = encoded(features={"n": Decimal("1E+5000"), "m": Decimal("1E-5000")})

    assert row["cat_features"] == {"n": "1E+5000"}
    assert row["features"] == {"m": 0.0}
