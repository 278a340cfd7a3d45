"""README, documentation and notebook: their code runs, their commands compose, their links lead to files."""

import doctest
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.evaluation.metrics import SCORE_NAMES, SCORES
from tests.command import command, new_process
from tests.tasks.conftest import SMALL, finished_workplace

__all__ = ["finished_workplace"]  # a fixture of the tests of tasks

pytestmark = pytest.mark.costly

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is only in the repository", allow_module_level=True)

PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "rooms"} & set(path.parts))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CODE_OF_CONDUCT.md", *PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")  # the first line of a block that is a file


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return language and text of each fenced block of a page."""
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[str]:
    """Return the commands of a page, except abbreviated ones ('…')."""
    text = "\n".join(body for language, body in blocks(path) if language == "bash")
    lines = re.findall(r"^python -m fdp_lightning (.*)$", text, re.MULTILINE)
    return [line for line in lines if "…" not in line]


def run_blocks(path: Path) -> None:
    """Write the files of a page into the working folder and run its Python blocks in one namespace."""
    names: dict[str, object] = {"__name__": path.stem}
    for language, body in blocks(path):
        if (file := FILE.match(body)) and language in ("python", "yaml"):
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(body)
        elif language == "python" and body.startswith(">>>"):
            example = doctest.DocTestParser().get_doctest(body, names, path.name, str(path), 0)
            said: list[str] = []
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            failed, _ = runner.run(example, out=said.append, clear_globs=False)
            names |= example.globs
            assert not failed, "".join(said)
        elif language == "python":
            exec(compile(body, str(path), "exec"), names)


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder that Python imports from; its modules and registered scores are removed afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before, scores, titles = set(sys.modules), dict(SCORES), dict(SCORE_NAMES)
    yield tmp_path
    for name in [name for name in set(sys.modules) - before if name.startswith("my_")]:
        del sys.modules[name]
    for registry, kept in ((SCORES, scores), (SCORE_NAMES, titles)):
        registry.clear()
        registry.update(kept)


@pytest.mark.parametrize("page", [*sorted((DOCS / "own").glob("*.md")), DOCS / "video.md"], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, own_place: Path) -> None:
    run_blocks(page)
    for line in commands(page):
        if "--config-dir" in line and "task=check_data" in line:
            command(*shlex.split(line), cwd=own_place, code=0)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((DOCS / "own").glob("[!i]*.md")), ids=lambda page: page.stem)
def test_training_commands_of_a_tutorial_run(page: Path, own_place: Path, finished_workplace: Path) -> None:
    run_blocks(page)
    for shared in ("data", "stores"):
        (own_place / shared).symlink_to(finished_workplace / shared)
    path = os.pathsep.join([str(own_place), *sys.path])
    for line in commands(page):
        words, small = shlex.split(line), SMALL[1:] if "+experiment=synthetic_loso" in line else SMALL[-2:]
        if "task=compare" not in line:  # its folders are those of the full configuration
            new_process(*words, *small, cwd=own_place, env=os.environ | {"PYTHONPATH": path}, code=0)


def slow_if_dataset(page: Path) -> object:
    return pytest.param(page, marks=pytest.mark.slow if page.parent.name == "datasets" else ())


@pytest.mark.parametrize("page", map(slow_if_dataset, filter(commands, TEXTS)), ids=lambda page: page.stem)
def test_commands_of_a_page_compose(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line, comments=True)
        if "--config-dir" not in words:
            # The first job of a sweep: what precedes a comma outside brackets.
            configuration(*(re.split(r",(?![^\[{]*[\]}])", word)[0] for word in words if word != "-m"))


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    near = [target for pair in targets for target in pair if target and "://" not in target and target[0] != "#"]
    # The site's build makes the pages of rooms/ and checks their links.
    files = [target.partition("#")[0] for target in near if "rooms/" not in target]
    assert [file for file in files if not (page.parent / file).exists()] == []


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(own_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, object] = {}
    cells = json.loads((DOCS / "notebooks" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
