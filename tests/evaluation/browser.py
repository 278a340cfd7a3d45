"""Looks at a page in headless Chromium, as a reader would meet it, and says what is wrong with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox in a container without user namespaces; nothing that the browser would do by itself over the network.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LOOK = (Path(__file__).parent / "look.js").read_text()


@contextmanager
def chromium(*more: str) -> Iterator[Any]:
    """A running browser; the test is skipped where there is none, unless CI_REQUIRE_BROWSER=1.

    Args:
        more: arguments beside the usual ones.
    """
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
    """A page, and a list that grows by its words to the console, its errors and what it loads beside itself."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}") if not own(request.url) else None)

    def own(url: str) -> bool:
        return url == path.as_uri() or url.startswith("data:")

    page.goto(path.as_uri(), wait_until="load")
    try:
        yield page, heard
    finally:
        context.close()


def faults(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> list[str]:
    """Everything that is wrong with a page: what it loads and says, how it is laid out, and what cannot be read.

    Contrast is of the text that is really drawn on what lies really behind it: at least 4.5 to 1 (WCAG 2.2, 1.4.3), and
    3 to 1 for the lines of drawings (1.4.11), grid and axes apart.
    """
    with opened(browser, path, width, scheme) as (page, heard):
        seen: list[str] = page.evaluate(LOOK)
        return heard + seen
