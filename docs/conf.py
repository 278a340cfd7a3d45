"""The documentation site, `make docs`: Markdown (MyST), and in rooms/ the READMEs that lie beside the code."""

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

import fdp_lightning

HERE = Path(__file__).parent
REPOSITORY = HERE.parent

project = "fdp_lightning"
author = copyright = "The fdp_lightning authors"
version = release = fdp_lightning.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build", "notebooks"]
suppress_warnings = ["myst.header"]  # a room's README may begin its sections at any level

default_role = "code"  # `x` in a docstring
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "fdp_lightning"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#79b8ff", "color-brand-content": "#79b8ff"},
}

STUDIES = {path.parent.name: path for path in sorted(REPOSITORY.glob("experiments/*/README.md"))}
ROOMS = {
    "data": REPOSITORY / "src/fdp_lightning/data/README.md",
    "evaluation": REPOSITORY / "src/fdp_lightning/evaluation/README.md",
    "models": REPOSITORY / "src/fdp_lightning/models/README.md",
    "inference": REPOSITORY / "src/fdp_lightning/inference/README.md",
    "benchmarks": REPOSITORY / "benchmarks/README.md",
    "experiments": REPOSITORY / "experiments/README.md",
    "log": REPOSITORY / "experiments/LOG.md",
    **STUDIES,
}
"""Page of rooms/ → the file beside the code that it shows: a text lies in one place."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
log = logging.getLogger(__name__)


def write_rooms(app: Sphinx) -> None:
    """Write the pages of rooms/, with links that hold on this site; git ignores them."""
    folder = HERE / "rooms"
    folder.mkdir(exist_ok=True)
    for name, readme in ROOMS.items():
        text = LINK.sub(partial(_link, readme), readme.read_text(encoding="utf-8"))
        if name == "experiments":
            text += "\n```{toctree}\n:hidden:\n\n" + "\n".join(STUDIES) + "\n```\n"
        page = folder / f"{name}.md"
        if not page.is_file() or page.read_text(encoding="utf-8") != text:  # what is unchanged is not read again
            page.write_text(text, encoding="utf-8")


def _link(readme: Path, match: re.Match[str]) -> str:
    """A link of a README: to a page where its target is one, else the words alone; a missing target is a warning."""
    image, words, target = match.groups()
    if "://" in target or target.startswith("#"):
        return match[0]
    name, _, anchor = target.partition("#")
    path = (readme.parent / name).resolve()
    if not path.exists():
        log.warning("%s links to %s, which does not exist", readme, target)
        return words
    pages = {file.resolve(): HERE / "rooms" / f"{page}.md" for page, file in ROOMS.items()}
    shown = pages.get(path, pages.get(path / "README.md", path))
    if image or shown.is_relative_to(HERE):
        place = Path(os.path.relpath(shown, HERE / "rooms")).as_posix()
        return f"{image}[{words}]({place}{'#' + anchor if anchor else ''})"
    return words if words.startswith("`") else f"`{words}`"


def _mathml(display: str, writer: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw by themselves: nothing is fetched when a page is read."""
    writer.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def _plain_signs(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep signs of docstrings that reStructuredText would read as markup: |x|, shapes such as "b *input"."""
    lines[:] = [re.sub(r"(?<![\w*\\])\*(?=[\w\"])|(?<!\\)\|", lambda sign: "\\" + sign[0], line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.add_html_math_renderer("mathml", (partial(_mathml, "inline"), None), (partial(_mathml, "block"), None))
    app.connect("builder-inited", write_rooms)
    app.connect("autodoc-process-docstring", _plain_signs, priority=900)  # after napoleon
