"""Open a page in headless Chromium and list its faults."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox (containers may lack user namespaces) and no background network traffic.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LOOK = (Path(__file__).parent / "look.js").read_text()


@contextmanager
def chromium(*more: str) -> Iterator[Any]:
    """Yield a browser started with `more` arguments; without one, skip the test, or fail if CI_REQUIRE_BROWSER=1."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        reason = f"needs playwright and one of {', '.join(NAMES)} on the PATH"
        if os.environ.get("CI_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> Iterator[tuple[Any, list[str]]]:
    """Yield a page and a growing list of its console messages, errors and requests for other URLs."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, heard, own = context.new_page(), [], ("data:", path.as_uri())
    page.on("console", lambda message: heard.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda sent: None if sent.url.startswith(own) else heard.append(f"request: {sent.url}"))
    page.goto(path.as_uri(), wait_until="load")
    try:
        yield page, heard
    finally:
        context.close()


def faults(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> list[str]:
    """Return all faults of a page: requests, messages, layout and contrast.

    Contrast is measured between rendered text and its actual background: at least 4.5 to 1 (WCAG 2.2, 1.4.3), and
    3 to 1 for the lines of drawings except grid and axes (1.4.11).
    """
    with opened(browser, path, width, scheme) as (page, heard):
        seen: list[str] = page.evaluate(LOOK)
        return heard + seen
