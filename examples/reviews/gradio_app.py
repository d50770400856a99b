"""A Gradio app with a prediction log, thumbs, stars, and two layouts under test.

.venv/bin/python -m examples.reviews.gradio_app
"""

from __future__ import annotations

import os

import gradio as gr

from examples.reviews.model import judge
from flytekitplugins.wbmon.serving import (
    Experiment,
    PredictionLogger,
    SamplingPolicy,
    gradio_feedback,
    monitor_gradio,
)

HEADING = Experiment(name="heading", variants={"plain": 0.5, "warm": 0.5})
HEADINGS = {"plain": "## Reviews", "warm": "## We would love to read your review"}

log = PredictionLogger(
    "reviews-gradio",
    os.environ.get("WBMON_LOG", "out/reviews/log"),
    model="words",
    sampling=SamplingPolicy(rate=1.0),
)


def show_heading(request: gr.Request) -> str:
    """The heading that this session is to see."""
    session = str(request.session_hash)
    return HEADINGS[log.assign(HEADING, request.username or session, session_id=session)]


with gr.Blocks(title="Reviews") as app:
    heading = gr.Markdown()
    request_id = gr.State()
    review = gr.Textbox(label="Review")
    ask = gr.Button("Judge")
    answer = gr.Label(label="Verdict")
    with gr.Row():
        up, down = gr.Button("Right"), gr.Button("Wrong")
    stars = gr.Slider(1, 5, step=1, value=3, label="Stars")
    comment = gr.Textbox(label="Comment")
    rate = gr.Button("Rate")
    gr.Markdown(f"[Live dashboard]({os.environ.get('WANDB_LINK', 'https://wandb.ai')})")

    app.load(show_heading, outputs=heading)
    ask.click(
        monitor_gradio(judge, log, route="judge", experiment=HEADING),
        inputs=review,
        outputs=[answer, request_id],
    )
    up.click(gradio_feedback(log, score=1.0), inputs=request_id)
    down.click(gradio_feedback(log, score=0.0), inputs=request_id)
    rate.click(gradio_feedback(log, "stars"), inputs=[request_id, stars, comment])

if __name__ == "__main__":
    app.launch(server_name="127.0.0.1", server_port=int(os.environ.get("PORT", "7860")))
