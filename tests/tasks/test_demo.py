"""The demo in a real browser, against requests from other pages, and with the real model."""

import csv
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic.film import draw_clip, draw_film, write_film
from fdp_lightning.errors import UserError
from fdp_lightning.inference.demo.app import answer_of
from fdp_lightning.tasks.demo import demo, listening
from tests.evaluation.browser import LOOK, chromium
from tests.tasks.demo_model import CLASSES, answer, film, frames_of

ROOT = Path(__file__).resolve().parents[2]
MOST = 3_000_000
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class Server:
    """A demo in a separate process, with `folder` as working folder and temporary folder."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.folder, self.errors = folder, folder.parent / f"{folder.name}.stderr"
        # Otherwise Python would write bytecode of libraries on first use.
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=folder, env={**os.environ, **own}, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert found, self.errors.read_text()
        self.address, self.port = found[0], int(found[1])

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Send a request; return the status, the JSON (or bytes) and the headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        content, kind = response.read(), response.headers.get_content_type()
        connection.close()
        return response.status, json.loads(content) if kind == "application/json" else content, dict(response.headers)

    def send_half(self, head: str) -> socket.socket:
        """Return a connection on which a request has been started."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{head}\r\n".encode())
        return connection


@contextmanager
def running(folder: Path, *command: str) -> Iterator[Server]:
    folder.mkdir()
    server = Server(folder, *command)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


STAND_IN = ("tests.tasks.demo_model", str(MOST))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("demo") / "place", *STAND_IN, "60") as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*CAMERA) as one:
        yield one


@contextmanager
def opened(browser: Any, server: Server, width: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """Yield the page, which must not log anything or load anything from elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, heard = context.new_page(), []
    own = (f"{server.address}/", f"blob:{server.address}/", "data:")
    # Browsers log failed requests on the console; the page itself shows a message.
    page.on("console", lambda said: heard.append(said.text) if "status of 4" not in said.text else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda asked: heard.append(asked.url) if not asked.url.startswith(own) else None)
    page.goto(server.address)
    try:
        yield page
        assert heard == []
    finally:
        context.close()


def upload(page: Any, content: bytes, name: str = "clip.mp4") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "video/mp4", "buffer": content})


def shown(page: Any) -> dict[str, float]:
    """Return class → probability as shown on the page."""
    page.wait_for_selector("#result:not([hidden])")
    names = page.locator(".bars dt").all_text_contents()
    values = page.eval_on_selector_all(".bars dd", "all => all.map(one => Number(one.dataset.value))")
    return dict(zip(names, values, strict=True))


def error_on(page: Any) -> str:
    page.wait_for_selector("#error:not([hidden])")
    return str(page.get_by_role("alert").text_content())


def test_an_uploaded_video_is_shown_with_its_prediction(browser: Any, server: Server) -> None:
    video = film(20)
    expected = answer(frames_of(video), "clip.mp4")
    with opened(browser, server) as page:
        upload(page, video)
        assert list(shown(page).items()) == list(expected.probabilities.items())
        assert page.locator("#result-title").text_content() == f"Prediction: {expected.label}"
        assert page.locator(".warnings li").all_text_contents() == expected.warnings
        curve = page.get_by_role("img", name="rank score over time")
        label = curve.get_attribute("aria-label")
        assert label.split(": ")[1].split(", ") == answer_of(expected)["sections"][0]["extras"][0]["texts"]
        assert curve.locator("circle").count() == curve.locator("image").count() == len(expected.extras["score"])
        assert page.get_by_role("img", name=re.compile("^Pictures")).count() == 2
        # the face box is drawn on the video at the model's position: 24 of 160 pixels from the left
        page.wait_for_selector(".face:not([hidden])")
        box, frame = (page.locator(name).bounding_box() for name in (".face", ".film"))
        assert (box["x"] - frame["x"]) / frame["width"] == pytest.approx(24 / 160, abs=0.01)
        assert box["width"] / frame["width"] == pytest.approx(112 / 160, abs=0.01)


def test_a_chosen_window_is_shown_in_the_video(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        upload(page, film(150))
        page.wait_for_selector("#result:not([hidden])")
        page.wait_for_function("() => document.querySelector('.film video').readyState >= 1")
        page.locator("svg .target").nth(2).click()
        at = "() => document.querySelector('.film video').currentTime"
        assert page.evaluate(at) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("frames", [20, 150])
def test_results_can_be_saved(browser: Any, server: Server, frames: int) -> None:
    with opened(browser, server) as page:
        upload(page, film(frames), 'my "clip", 1.mp4')
        page.wait_for_selector("#result:not([hidden])")
        saved = {}
        for kind in ("JSON", "CSV", "image"):
            with page.expect_download() as waited:
                page.locator(".saving").get_by_text(kind, exact=True).click()
            saved[waited.value.suggested_filename.rpartition(".")[2]] = Path(waited.value.path()).read_bytes()
        facts = json.loads(saved["json"])
        rows = list(csv.DictReader(io.StringIO(saved["csv"].decode())))
        assert saved["png"].startswith(b"\x89PNG")
        expected = facts["windows"] if frames == 150 else [facts]
        assert [row["class"] for row in rows] == [one["class"] or "" for one in expected]
        assert {name: float(rows[0][f"prob_{name}"]) for name in CLASSES} == expected[0]["probabilities"]
        assert rows[0]["clip"] == facts["clip"] == 'my "clip", 1.mp4'


KEEP_CAMERA = """() => { const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (what) => (window.kept = await open(what)); }"""


def test_a_camera_recording_is_predicted_and_the_camera_released(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        page.evaluate(KEEP_CAMERA)
        page.click("#camera")
        page.click("#record")
        stop = page.get_by_role("button", name="Stop")
        stop.wait_for()
        page.wait_for_timeout(600)
        stop.click()
        assert len(shown(page)) == len(CLASSES)
        assert page.evaluate("() => window.kept.getTracks().every((track) => track.readyState === 'ended')")


def test_bad_files_are_explained_and_file_names_are_shown_as_text(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        name = "<img src=x onerror=alert(1)>.mp4"
        upload(page, b"no video at all\n" * 50, name)
        assert error_on(page).startswith(name)
        upload(page, film(), name)
        shown(page)
        assert page.locator("#error").is_hidden()
        assert name in page.locator(".name").text_content()
        assert page.locator("img[src=x]").count() == 0
        upload(page, bytes(MOST + 1))
        assert "at most 3 MB" in error_on(page)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_is_accessible_and_fits_the_screen(browser: Any, server: Server, width: int, scheme: str) -> None:
    with opened(browser, server, width, scheme) as page:
        assert page.evaluate(LOOK) == []
        page.click("#try")
        shown(page)
        assert page.evaluate(LOOK) == []
        upload(page, film(150))
        page.wait_for_selector("table", state="attached")
        page.click("summary >> nth=0")
        assert page.evaluate(LOOK) == []
        upload(page, b"text")
        assert error_on(page) and page.evaluate(LOOK) == []


def test_other_host_names_and_other_origins_are_refused(server: Server) -> None:
    video, own = film(), f"127.0.0.1:{server.port}"
    evil = f"evil.example:{server.port}"
    for host in ("evil.example", evil, "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.{evil}"):
        for method, path in (("GET", "/"), ("GET", "/example.mp4"), ("POST", "/predict")):
            assert server.ask(method, path, Host=host)[0] == 403, (host, path)
    # localhost is this machine, but a different origin
    for origin in ("http://evil.example", "null", f"http://localhost:{server.port}", f"https://{own}"):
        assert server.ask("POST", "/predict", video, Origin=origin)[0] == 403, origin
    for site in ("cross-site", "same-site"):
        assert server.ask("POST", "/predict", video, Sec_Fetch_Site=site)[0] == 403, site
    assert server.ask("POST", "/predict", video)[0] == 200
    assert server.ask("POST", "/predict", video, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200
    assert server.ask("GET", "/", Host=f"localhost:{server.port}")[0] == 200


def test_every_response_has_a_content_security_policy(server: Server) -> None:
    answers = [server.ask("GET", path) for path in ("/", "/example.mp4", "/example-2.mp4", "/nothing")]
    assert [status for status, _, _ in answers] == [200, 200, 200, 404]
    answers += [server.ask("POST", "/predict", b"x"), server.ask("GET", "/", Host="evil.example")]
    for status, _, headers in answers:
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "*" not in policy, status
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control")]


def test_a_video_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    with server.send_half(f"Content-Length: {MOST + 1}\r\n") as connection:  # no content is sent
        assert b" 413 " in connection.recv(4096)
    piece = b"%x\r\n%b\r\n" % (MOST // 3, bytes(MOST // 3))
    with server.send_half("Transfer-Encoding: chunked\r\n") as connection:  # states no length and never ends
        connection.sendall(3 * piece + b"1\r\nx\r\n")
        answer_ = connection.recv(4096)
        assert b" 413 " in answer_ and b"larger than 3 MB" in answer_ + connection.recv(4096)


def test_one_prediction_runs_at_a_time_and_few_wait(server: Server) -> None:
    video = film()
    with ThreadPoolExecutor(6) as asking:
        asked = [asking.submit(server.ask, "POST", "/predict", video, X_Name="slow") for _ in range(6)]
        refused = list(islice(as_completed(asked, timeout=60), 2))
        assert server.ask("GET", "/")[0] == 200  # the page responds meanwhile
        (server.folder / "go on").touch()
    (server.folder / "go on").unlink()
    assert sorted(one.result()[0] for one in asked) == [200] * 4 + [503] * 2  # two predictions at once give a 500
    assert all("waiting" in one.result()[1]["error"] for one in refused)


def test_a_bug_shows_no_detail_and_a_prediction_ends_if_its_client_leaves(server: Server) -> None:
    status, words, _ = server.ask("POST", "/predict", film(), X_Name="bug")
    assert status == 500 and "a bug" not in words["error"]
    assert "RuntimeError: a bug" in server.errors.read_text()
    with server.send_half("Content-Length: 4\r\nX-Name: endless\r\n") as connection:
        connection.sendall(b"abcd")
        time.sleep(0.5)
    assert server.ask("POST", "/predict", film())[0] == 200  # not blocked


def test_no_video_is_written_to_disk_and_no_connection_is_opened(server: Server) -> None:
    assert server.ask("POST", "/predict", film())[0] == 200
    assert server.ask("POST", "/predict", bytes(2_900_000))[0] == 422  # more than a pipe or a spooled file buffers
    assert list(server.folder.iterdir()) == []
    assert "AUDIT" not in server.errors.read_text()


def test_the_server_listens_on_this_machine_only_and_limits_the_time_of_a_prediction(tmp_path: Path) -> None:
    with running(tmp_path / "place", *STAND_IN, "1") as server:
        status, words, _ = server.ask("POST", "/predict", b"abcd", X_Name="endless")
        assert status == 422 and "1 s" in words["error"]
        assert server.ask("POST", "/predict", film())[0] == 200  # not blocked
        table = Path("/proc/net/tcp")
        if table.exists():
            listening_at = [row.split()[1] for row in table.read_text().splitlines()[1:] if row.split()[3] == "0A"]
            assert [at for at in listening_at if at.endswith(f":{server.port:04X}")] == [f"0100007F:{server.port:04X}"]
        with server.send_half("Content-Length: 4\r\nX-Name: endless\r\n") as connection:
            connection.sendall(b"abcd")
            time.sleep(0.3)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(timeout=60) == 0


def test_a_port_in_use_is_refused_with_the_option_to_change() -> None:
    with listening(0) as place, pytest.raises(UserError, match=r"demo\.port=0"):
        demo(configuration("task=demo", f"demo.port={place.getsockname()[1]}"))


def test_the_command_shows_the_prediction_of_the_real_model_and_writes_nothing(tmp_path: Path, browser: Any) -> None:
    clip, long = tmp_path / "clip.mp4", tmp_path / "long.mp4"
    draw_film(clip, "surprise", seed=2)
    write_film(long, draw_clip("happiness").images * 6, 60)
    expected = load_model().predict(clip)
    with running(tmp_path / "place", "fdp_lightning", "task=demo", "demo.port=0") as server:
        with opened(browser, server, width=390) as page:
            assert "Synthetic model" in page.locator("header").inner_text()
            page.set_input_files("#file", clip)
            assert shown(page) == expected.probabilities
            assert page.get_by_role("img", name="rank score over time").count() == 1
            assert page.get_by_role("img", name=re.compile("^Dynamic image")).count() == 2
            page.set_input_files("#file", long)
            page.locator("#result-title", has_text="A scan").wait_for()
            page.click("#try")
            page.get_by_text("Prediction: surprise").wait_for()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 0
        assert [path for path in server.folder.rglob("*") if path.is_file()] == []  # torch creates an empty folder
