from __future__ import annotations

from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.outcome import outcome_of


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("of the text")


def test_an_exception_without_a_text_is_the_outcome_and_not_what_its_text_raises() -> None:
    outcome = outcome_of(MuteError(), SecretRedactor())
    assert outcome.exit_code == 1
    assert outcome.summary["error_type"] == "MuteError"
    assert outcome.summary["error_message"]
