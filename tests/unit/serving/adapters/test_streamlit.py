from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.serving import Experiment, PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.serving.adapters.streamlit import StreamlitSession
from support import experiment_units
from support.experiment_units import Visit
from support.prediction_log import read_rows

LAYOUT = Experiment(name="layout", variants={"a": 0.5, "b": 0.5})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLogger]:
    made = PredictionLogger("ui", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    yield made
    made.close()


def rows(log: PredictionLogger, kind: str = "feedback") -> list[dict[str, Any]]:
    log.close()
    return read_rows(Path(log.destination), kind)


def test_a_script_that_runs_again_is_the_same_session_and_the_same_page_view(
    log: PredictionLogger,
) -> None:
    state: dict[str, Any] = {}
    for page in ("Review", "Review", "Review", "About", "Review"):
        StreamlitSession(log, state).page(page)
    StreamlitSession(log, {}).page("Review")

    views = rows(log)
    assert [row["label"] for row in views] == ["Review", "About", "Review", "Review"]
    assert len({row["session_id"] for row in views[:3]}) == 1
    assert len({row["session_id"] for row in views}) == 2


def test_a_rating_is_written_when_it_changes_and_for_the_right_prediction(
    log: PredictionLogger,
) -> None:
    state: dict[str, Any] = {}
    session = StreamlitSession(log, state)
    session.feedback(score=1.0)
    with session.request("judge", review="good") as first:
        log.log_prediction(prediction="kind")
    for score in (1.0, None, 1.0, 1.0, 0.0, 0.0):
        StreamlitSession(log, state).feedback(score=score)
    with StreamlitSession(log, state, user="ann").request("judge") as second:
        pass
    # the widget keeps its value: nobody has rated the second one yet
    for score in (0.0, 0.0, 1.0):
        StreamlitSession(log, state, user="ann").feedback(score=score)
    with StreamlitSession(log, state).request("judge") as third:
        pass
    StreamlitSession(log, state).feedback(score=1.0, request_id=third.request_id)

    said = [(row["request_id"], row["score"]) for row in rows(log)]
    assert said == [
        (first.request_id, 1.0),
        (first.request_id, 0.0),
        (second.request_id, 1.0),
        (third.request_id, 1.0),
    ]


def test_a_variant_sticks_to_the_user_and_goes_with_the_predictions(
    log: PredictionLogger,
) -> None:
    sessions = [StreamlitSession(log, {}, user="ann", tenant="acme") for _ in range(3)]
    variants = {session.variant(LAYOUT) for session in sessions}
    with sessions[0].request("judge"):
        pass
    sessions[0].interaction("judge")

    events = rows(log)
    assert len(variants) == 1
    assert [row["name"] for row in events] == ["exposure", "interaction"]
    (row,) = read_rows(Path(log.destination))
    assert row["variant"] in variants
    assert row["tenant"] == "acme"
    assert row["session_id"] == sessions[0].id


class RerunException(BaseException):
    """As Streamlit raises it in a script whose user did something else."""


def test_a_script_that_is_ended_is_no_failure_and_one_that_raises_is(log: PredictionLogger) -> None:
    session = StreamlitSession(log, {})
    for error in (RerunException(), ConnectionError("the model died")):
        with pytest.raises(type(error)), session.request("judge"):
            raise error

    found = rows(log, "prediction")
    assert [row["error_type"] for row in found] == ["client_disconnect", "ConnectionError"]
    assert [row["sample_reason"] for row in found] == ["rate", "error"]
    (window,) = rows(log, "window")
    assert (window["requests"], window["failed"]) == (2, 1)


def test_streamlit_ends_scripts_by_these_names() -> None:
    ends = pytest.importorskip("streamlit.runtime.scriptrunner_utils.exceptions")
    assert issubclass(ends.RerunException, BaseException)
    assert issubclass(ends.StopException, BaseException)


def test_ratings_of_an_experiment_belong_to_the_user_or_else_to_the_session(tmp_path: Path) -> None:
    log = PredictionLogger("ui", str(tmp_path), user_key=experiment_units.KEY)

    def rate(visit: Visit, score: float) -> None:
        visit.state.setdefault("id", visit.session)
        session = StreamlitSession(log, visit.state, user=visit.user)
        session.page("Home")
        session.variant(experiment_units.LAYOUT)
        with session.request("answer", text="a") as request:
            pass
        session.feedback(score=score, request_id=request.request_id)

    experiment_units.rate_and_recount(log, rate)


def test_a_rating_after_the_login_is_of_the_variant_that_was_shown_before(
    log: PredictionLogger,
) -> None:
    state: dict[str, Any] = {}
    session = StreamlitSession(log, state, tenant="guests")
    session.variant(LAYOUT)
    with session.request("judge"):
        pass
    session = StreamlitSession(log, state, user="ann", tenant="acme")
    session.variant(LAYOUT)
    session.feedback(score=1.0)

    anonymous, known, rating = rows(log)
    assert rating["tenant"] == anonymous["tenant"] != known["tenant"]
    assert rating["unit"] == anonymous["unit"] != known["unit"]
    assert rating["session_id"] == anonymous["session_id"] == known["session_id"]


def chat(destination: str) -> None:
    """A script as Streamlit runs it: a chat that streams, with thumbs, a fragment and a form."""
    import streamlit as st

    from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, streamlit_session

    @st.cache_resource
    def prediction_log() -> PredictionLogger:
        return PredictionLogger("ui", destination, sampling=SamplingPolicy(rate=1.0))

    st.session_state["log"] = prediction_log()
    session = streamlit_session(prediction_log())
    session.page("Chat")
    answers = st.session_state.setdefault("answers", [])
    for answer, name in answers:
        st.chat_message("assistant").write(answer)
        session.feedback(score=st.feedback("thumbs", key=name), request_id=name)
    if asked := st.chat_input("Ask"):
        with st.chat_message("assistant"), session.request("answer", asked=asked) as request:
            answer = st.write_stream(f"{word} " for word in asked.split())
            request.set(output_text=answer)
        answers.append((answer, request.request_id))
        st.rerun()

    @st.fragment
    def ask_again() -> None:
        if st.button("Again", key="again"):
            with session.request("again"):
                session.interaction("again")

    ask_again()
    with st.form("rate"):
        stars = st.slider("Stars", 0, 5, key="stars")
        if st.form_submit_button("Rate"):
            session.feedback("stars", score=stars, request_id=answers[0][1])
    if st.button("Stop", key="stop"):
        with session.request("stopped"):
            st.stop()


def test_an_app_of_chats_fragments_and_forms_logs_each_thing_once_for_each_tab(
    tmp_path: Path,
) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    tabs = [testing.AppTest.from_function(chat, args=(str(tmp_path),)).run() for _ in range(2)]
    for tab, texts in zip(tabs, (["one two", "three"], ["four"]), strict=True):
        for text in texts:
            tab.chat_input[0].set_value(text).run()
    first, second = tabs
    asked = [name for _, name in first.session_state["answers"]]
    for name, score in ((asked[0], 1), (asked[1], 0), (asked[1], 1)):
        first.session_state[name] = score
        first.run()
    first.button(key="again").click().run()
    first.slider(key="stars").set_value(4)
    first.button[-2].click().run()
    first.run()
    second.button(key="stop").click().run()
    assert not first.exception
    assert not second.exception
    first.session_state["log"].close()

    found = read_rows(tmp_path)
    assert [(row["route"], row.get("output_text"), row.get("error_type")) for row in found] == [
        ("answer", "one two ", None),
        ("answer", "three ", None),
        ("answer", "four ", None),
        ("again", None, None),
        ("stopped", None, "client_disconnect"),
    ]
    tab_of = {row["session_id"]: row["route"] for row in found}
    assert [*tab_of.values()] == ["again", "stopped"]
    said = [row for row in read_rows(tmp_path, "feedback") if row["source"] == "user"]
    assert [(row["name"], row["request_id"], row["score"]) for row in said] == [
        ("thumbs", asked[0], 1),
        ("thumbs", asked[1], 0),
        ("thumbs", asked[1], 1),
        ("stars", asked[0], 4),
    ]
    assert {row["session_id"] for row in said} == {found[0]["session_id"]}
