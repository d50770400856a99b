"""A Streamlit app with a prediction log: sessions, pages, thumbs, and two button texts under test.

.venv/bin/streamlit run examples/reviews/streamlit_app.py
"""

from __future__ import annotations

import os

import streamlit as st

from examples.reviews.model import judge
from flytekitplugins.wbmon.serving import (
    Experiment,
    PredictionLogger,
    SamplingPolicy,
    streamlit_session,
)

BUTTON = Experiment(name="button", variants={"Judge": 0.5, "Tell me": 0.5})


@st.cache_resource
def prediction_log() -> PredictionLogger:
    """The log of this process, whatever number of sessions it has."""
    return PredictionLogger(
        "reviews-streamlit",
        os.environ.get("WBMON_LOG", "out/reviews/log"),
        model="words",
        sampling=SamplingPolicy(rate=1.0),
    )


session = streamlit_session(prediction_log())
page = st.sidebar.radio("Page", ["Review", "About"])
session.page(page)
st.title(page)
if page == "Review":
    review = st.text_input("Review")
    if st.button(session.variant(BUTTON), key="judge"):
        session.interaction("judge")
        with session.request("judge", review=review) as request:
            scores = judge(review)
            best = max(scores, key=scores.__getitem__)
            request.set(prediction=best, score=scores[best])
        st.session_state["verdict"] = best
    if "verdict" in st.session_state:
        st.write(f"This review is {st.session_state['verdict']}.")
        thumbs = st.feedback("thumbs", key=f"thumbs-{session.last_request_id}")
        session.feedback("thumbs", score=thumbs, request_id=session.last_request_id)
st.link_button("Live dashboard", os.environ.get("WANDB_LINK", "https://wandb.ai"))
