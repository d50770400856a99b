"""The example apps, used by people in real browsers."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.environment import ROOT, SOURCE
from support.prediction_log import read_rows, running
from support.serving import free_port
from support.waiting import wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
GRADIO = """
import runpy
runpy.run_module("examples.reviews.gradio_app", run_name="__main__")
"""
STREAMLIT = """
import sys
from streamlit.web import cli
sys.argv = ["streamlit", "run", "{app}", "--server.port", "{port}", "--server.headless", "true",
            "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"]
cli.main()
"""
LINK = "http://127.0.0.1:9/dashboard"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as api:
        launched = api.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@contextmanager
def app(code: str, port: int, home: Path) -> Iterator[str]:
    """An app on a port, ended by SIGTERM, its log in `home/log`."""
    env = {
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(ROOT)]),
        "WBMON_LOG": str(home / "log"),
        "WANDB_LINK": LINK,
        "PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with running(code, home=home, env=env) as process:
        wait_until(lambda: answers(url))
        yield url
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.TransportError:
        return False


def test_gradio_joins_each_rating_to_the_prediction_its_visitor_saw(
    browser: Any, tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    log = tmp_path / "log"
    with app(GRADIO, free_port(), tmp_path) as url:
        visitors = []
        for review in ("a great and good thing", "awful, I hate it"):
            page = browser.new_page()
            page.goto(url)
            page.get_by_label("Review").wait_for()
            visitors.append((page, review))
        first, second = visitors[0][0], visitors[1][0]
        first.get_by_role("button", name="Right").click()
        first.get_by_text("nothing to rate").wait_for()
        for page, review in visitors:
            page.get_by_label("Review").fill(review)
            page.get_by_role("button", name="Judge").click()
            page.get_by_text("kind").first.wait_for()
        first.get_by_role("button", name="Right").click()
        second.get_by_role("button", name="Wrong").click()
        second.get_by_label("Comment").fill("mail me@x.com")
        second.get_by_role("button", name="Rate").click()
        wait_until(lambda: count(log, "feedback", name="stars") == 1)
        first.get_by_label("Review").fill("")
        first.get_by_role("button", name="Judge").click()
        wait_until(lambda: count(log, "prediction", error_type="ValueError") == 1)
        assert first.get_by_role("link", name="Live dashboard").get_attribute("href") == LINK
        wait_until(lambda: count(log, "feedback", name="thumbs") == 2)

    rows = {row["request_id"]: row for row in read_rows(log)}
    thumbs = [row for row in read_rows(log, "feedback") if row["name"] == "thumbs"]
    said = {rows[row["request_id"]]["prediction"]: row["score"] for row in thumbs}
    assert said == {"kind": 1.0, "unkind": 0.0}
    for row in thumbs:
        assert rows[row["request_id"]]["session_id"] == row["session_id"]
    (stars,) = (row for row in read_rows(log, "feedback") if row["name"] == "stars")
    assert (stars["score"], stars["comment"]) == (3.0, "mail [EMAIL]")
    exposures = [row for row in read_rows(log, "feedback") if row["name"] == "exposure"]
    assert len({row["session_id"] for row in exposures}) == 2
    shown = {row["session_id"]: row["variant"] for row in exposures}
    assert all(shown[row["session_id"]] == row["variant"] for row in rows.values())


def test_streamlit_counts_sessions_and_pages_however_often_its_script_runs(
    browser: Any, tmp_path: Path
) -> None:
    pytest.importorskip("streamlit")
    log = tmp_path / "log"
    port = free_port()
    script = ROOT / "examples" / "reviews" / "streamlit_app.py"
    with app(STREAMLIT.format(app=script, port=port), port, tmp_path) as url:
        pages = [browser.new_page() for _ in range(2)]
        for page, review in zip(pages, ("great, love it", "terrible"), strict=True):
            page.goto(url)
            page.get_by_role("textbox", name="Review").fill(review)
            page.keyboard.press("Enter")
            page.get_by_test_id("stMain").get_by_test_id("stBaseButton-secondary").first.click()
            page.get_by_text("This review is").wait_for()
        up, down = (pages[0].get_by_role("radio", name=f"Thumbs {way}") for way in ("up", "down"))

        up.click()
        wait_until(lambda: count(log, "feedback", name="thumbs") == 1)
        down.click()
        wait_until(lambda: count(log, "feedback", name="thumbs") == 2)
        pages[1].get_by_text("About", exact=True).first.click()
        wait_until(lambda: count(log, "feedback", name="page_view") == 3)
        # while the script runs again, what it drew before stands beside the new
        link = pages[1].get_by_role("link", name="Live dashboard").first
        assert link.get_attribute("href") == LINK

    rows = read_rows(log)
    events = read_rows(log, "feedback")
    assert sorted(row["prediction"] for row in rows) == ["kind", "unkind"]
    assert len({row["session_id"] for row in rows}) == 2
    views = Counter(row["label"] for row in events if row["name"] == "page_view")
    assert views == {"Review": 2, "About": 1}
    assert sum(row["name"] == "interaction" for row in events) == 2
    kind = next(row["request_id"] for row in rows if row["prediction"] == "kind")
    ratings = [row for row in events if row["name"] == "thumbs"]
    assert [row["score"] for row in ratings] == [1.0, 0.0]
    assert {row["request_id"] for row in ratings} == {kind}


def count(log: Path, kind: str, **marks: str) -> int:
    """Rows of a kind that have these values."""
    return sum(
        all(row.get(name) == value for name, value in marks.items()) for row in read_rows(log, kind)
    )
