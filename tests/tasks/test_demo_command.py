"""The whole of task=demo at once: the command, the model that comes along, a real video, a real browser."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdp_lightning import load_model
from fdp_lightning.data.synthetic.film import draw_clip, draw_film, write_film
from tests.evaluation.browser import chromium

pytestmark = pytest.mark.costly


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a demo whose working folder stays empty, and that ends by Ctrl-C with exit code 0."""
    place = tmp_path / "place"
    place.mkdir()
    command = [sys.executable, "-m", "fdp_lightning", "task=demo", "demo.port=0"]
    environment = {**os.environ, "TMPDIR": str(place)}
    process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found
    yield found[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert [path for path in place.rglob("*") if path.is_file()] == []  # torch makes an empty folder


def test_a_video_is_dropped_and_its_prediction_is_shown(tmp_path: Path, address: str) -> None:
    clip, long = tmp_path / "clip.mp4", tmp_path / "long.mp4"
    draw_film(clip, "surprise", seed=2)
    write_film(long, draw_clip("happiness").pictures * 6, 60)
    expected = load_model().predict(clip)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        assert "Synthetic model" in page.locator("header").inner_text()
        page.set_input_files("#file", clip)
        page.wait_for_selector("#result:not([hidden])")
        names = page.locator(".bars dt").all_text_contents()
        values = page.eval_on_selector_all(".bars dd", "all => all.map(one => Number(one.dataset.value))")
        assert dict(zip(names, values, strict=True)) == expected.probabilities
        assert page.locator("#result-title").text_content() == f"The model says: {expected.label}"
        assert page.get_by_role("img", name="rank score over time").count() == 1
        assert page.get_by_role("img", name=re.compile("^Dynamic image")).count() == 2
        page.set_input_files("#file", long)
        page.get_by_text("not spotting").first.wait_for()
        page.click("#try")
        page.get_by_text("The model says: surprise").wait_for()
        page.set_input_files("#file", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
        page.wait_for_selector("#error:not([hidden])")
        assert "cannot be read as a video" in page.locator("#error").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert {url.split("/")[2] for url in asked if url.startswith("http")} == {address.split("/")[2]}
