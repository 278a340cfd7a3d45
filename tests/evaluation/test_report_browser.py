"""The report in a real browser: offline, readable, no errors; on phone and desktop, in dark mode, printed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, faults, opened
from random_runs import make_run

from fdp_lightning.evaluation.report import build_report

SCORES = {score: {"mean": 0.5, "sd": 0.01} for score in ("accuracy", "uf1", "uar", "weighted_f1")}
SEEDS = {"seeds": [0, 1, 2], "selections": {"last": SCORES, "oracle": SCORES}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that a report can contain."""
    run = tmp_path_factory.mktemp("page") / "an_experiment" / "model.pooling-mean__trainer.max_epochs-3" / "seed-0"
    make_run(run, skill=0.2, colour=True, inner=True, selections=("last", "inner", "oracle"))
    metrics = json.loads((run / "metrics.json").read_text())
    metrics |= {"caveats": ["One subject appears under two names."], "untested": ["18"], "left_out": {"why": ["01/a"]}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "config.yaml").write_text("".join(f"option_{i}: value\n" for i in range(400)))
    title = "an_experiment · model.pooling-mean__trainer.max_epochs-3 · seed-0"
    return build_report(run, title, True, True, seeds=SEEDS)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_has_no_fault(browser: Any, page: Path, width: int, scheme: str) -> None:
    assert faults(browser, page, width, scheme) == []


def test_collapsed_parts_are_printed_and_nothing_is_cut_off(browser: Any, page: Path) -> None:
    with opened(browser, page, width=680, scheme="dark") as (tab, _):  # A4 minus 15 mm on either side
        inside = "[...document.querySelectorAll('details pre, details table')]"
        assert tab.evaluate(f"{inside}.map(each => each.checkVisibility())") == [False] * 5
        tab.emulate_media(media="print", color_scheme="dark")
        tab.wait_for_function(f"{inside}.every(each => each.checkVisibility())")  # takes effect with the next frame
        wide = "all => all.filter(each => each.getBoundingClientRect().right > 681).map(each => each.outerHTML)"
        assert tab.eval_on_selector_all("table, img, svg, pre", wide) == []
        assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.locator("nav").is_hidden()


FAULTS = {
    "request: http://127.0.0.1:9/": '<img src="http://127.0.0.1:9/x.png" alt="an image from elsewhere">',
    "image: not drawn": '<img src="data:image/png;base64,AAAA" alt="a broken image">',
    "console warning": "<script>console.warn('look')</script>",
    "error: look": "<script>throw new Error('look')</script>",
    "overflow": '<div style="width: 2000px">wide</div>',
    "dead link": '<a href="#nowhere">a link</a>',
    "no alternative": '<svg viewBox="0 0 1 1"></svg>',
    "<h4> after level 2": "<h4>too deep</h4>",
    "a table without a name": '<table><tr><th scope="col">head</th></tr></table>',
    "th without scope": "<table><caption>name</caption><tr><th>head</th></tr></table>",
    "contrast: 4.48 of <p>": '<p style="color: #777; background: #fff">grey</p>',
    "contrast: 2.36": '<div style="background: #000"><p style="background: #ffffff59">a pale veil</p></div>',
    "contrast: 2.32": '<svg aria-label="faint" viewBox="0 0 9 9"><path d="M0 0 9 9" stroke="#aaa"/></svg>',
}


def test_planted_faults_are_found(browser: Any, page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text().replace("</main>", "".join(FAULTS.values()) + "</main>"))
    found = faults(browser, copy)
    assert [fault for fault in FAULTS if not any(fault in one for one in found)] == [], found
