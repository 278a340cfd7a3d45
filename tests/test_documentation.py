"""README, documentation and notebook: their code runs, their commands compose, their links lead somewhere."""

import doctest
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.evaluation.metrics import SCORE_NAMES, SCORES
from tests.command import command

pytestmark = pytest.mark.costly

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is in the repository alone", allow_module_level=True)

PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CODE_OF_CONDUCT.md", *PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")
"""The first line of a block that is a file."""


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[str]:
    """The commands of a page, those with something left out ('…') apart."""
    text = "\n".join(body for language, body in blocks(path) if language == "bash")
    lines = re.findall(r"^(?:python -m fdp_lightning|fdp-lightning) ?(.*)$", text, re.MULTILINE)
    return [line for line in lines if "…" not in line]


def run_blocks(path: Path) -> None:
    """Write the files of a page into the working folder and run its Python blocks, in order and in one namespace."""
    names: dict[str, object] = {"__name__": path.stem}
    for language, body in blocks(path):
        if (file := FILE.match(body)) and language in ("python", "yaml"):
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(body)
        elif language == "python" and body.startswith(">>>"):
            example = doctest.DocTestParser().get_doctest(body, names, path.name, str(path), 0)
            said: list[str] = []
            failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
                example, out=said.append, clear_globs=False
            )
            names |= example.globs
            assert not failed, "".join(said)
        elif language == "python":
            exec(compile(body, str(path), "exec"), names)


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder that Python imports from; what is imported and registered is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before, scores, titles = set(sys.modules), dict(SCORES), dict(SCORE_NAMES)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]
    for registry, kept in ((SCORES, scores), (SCORE_NAMES, titles)):
        registry.clear()
        registry.update(kept)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "own"], ids=lambda page: page.stem)
def test_a_tutorial_runs(page: Path, own_place: Path) -> None:
    run_blocks(page)
