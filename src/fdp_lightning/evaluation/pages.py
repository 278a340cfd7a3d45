"""Templates of pages, and links that save each figure of a page as SVG and each table as CSV and LaTeX.

The links contain the files as data URIs, so a page remains a single file without scripts. They are built from the
finished HTML, whatever produced it.
"""

import base64
import html
import re
from collections.abc import Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import escape

from fdp_lightning.evaluation.tables.words import csv_text, latex_escape

if TYPE_CHECKING:
    from jinja2 import Template

_BOX = re.compile(r'<div class="box"[^>]*aria-label="([^"]*)"[^>]*>(?:(?!</div>).)*<table.*?</div>', re.DOTALL)
_FIGURE = re.compile(r"<figcaption>((?:(?!</figcaption>).)*)</figcaption>(<svg.*?</svg>)", re.DOTALL)
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")


def template(name: str, folder: Path = Path(__file__).parent, escaped: bool = True) -> "Template":
    """Return a template by its file name; values are escaped unless `escaped` is False, and undefined names raise."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def with_links(page: str) -> str:
    """Add links below each figure and each table in a box; the same page yields the same bytes."""

    def table_links(found: re.Match[str]) -> str:
        name, rows = html.unescape(found[1]), table_rows(found[0])
        links = _link(name, "CSV", "csv", "text/csv", table_csv(rows))
        links += _link(name, "LaTeX", "tex", "application/x-tex", table_latex(rows))
        return f'{found[0]}<p class="save">{links}</p>'

    def figure_link(found: re.Match[str]) -> str:
        label = re.search(r'aria-label="([^"]*)"', found[2])
        caption = " ".join(re.sub(r"<[^>]*>", " ", found[1]).split())
        name = html.unescape(label[1] if label else caption)[:80]
        return f'{found[0]}<p class="save">{_link(name, "SVG", "svg", "image/svg+xml", standalone(found[2]))}</p>'

    return _FIGURE.sub(figure_link, _BOX.sub(table_links, page))


def _link(name: str, kind: str, suffix: str, media: str, content: str) -> str:
    data = base64.b64encode(content.encode()).decode()
    file = "_".join(re.findall(r"\w+", name.lower()))[:60] or "saved"
    label = escape(f"Save as {kind}: {name}")
    return f'<a download="{escape(file)}.{suffix}" href="data:{media};base64,{data}" aria-label="{label}">{kind}</a>'


def standalone(drawing: str) -> str:
    """Convert a drawing of a page to an SVG file with the page's light colours and background."""
    box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', drawing)
    size = f' width="{box[1]}" height="{box[2]}"' if box else ""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    background = f'<rect width="100%" height="100%" fill="{palette()["--page"]}"/>'
    opened = re.sub(r"^<svg([^>]*)>", rf'<svg {names}{size}\1 font-family="sans-serif">{background}', drawing)
    return _VARIABLE.sub(lambda found: palette()[found[1]], opened) + "\n"


@cache
def palette() -> dict[str, str]:
    """Return the page's light colours by the names of their CSS variables."""
    css = (Path(__file__).parent / "page.css").read_text()
    return dict(re.findall(r"(--[\w-]+): (#\w+)", css[: css.index("@media")]))


class _Rows(HTMLParser):
    """Parser that collects the cells of a table, each as its main text and its small print."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str]]] = []
        self._cell: list[list[str]] | None = None
        self._small = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self._cell = [[], []]
        elif tag == "small":
            self._small = 1
            if self._cell and self._cell[1]:
                self._cell[1].append("; ")
        elif tag == "br" and self._cell:
            self._cell[self._small].append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._cell:
            main, small = (" ".join("".join(part).split()).strip("; ") for part in self._cell)
            self.rows[-1].append((main, small))
            self._cell = None
        elif tag == "small":
            self._small = 0

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._cell[self._small].append(data)


def table_rows(table: str) -> list[list[tuple[str, str]]]:
    """Return the rows of an HTML table, each cell as its main text and its small print."""
    parser = _Rows()
    parser.feed(table)
    return [row for row in parser.rows if row]


def table_csv(rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Format a table as CSV; small print goes into a separate column next to its cell."""
    width = max(len(row) for row in rows)
    has_small = [any(len(row) > place and row[place][1] for row in rows[1:]) for place in range(width)]
    lines = []
    for number, row in enumerate(rows):
        cells: list[str] = []
        for (main, small), has in zip(row, has_small, strict=False):
            head = f"{main} {small}".strip()
            texts = (main.replace("−", "-"), small.replace("−", "-")) if number else (head, f"{head}, notes")
            cells += texts[: 1 + has]
        lines.append(cells)
    return csv_text(lines)


def table_latex(rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    r"""Format a table for `\input` with booktabs."""
    width = max(len(row) for row in rows)
    lines = []
    for number, row in enumerate(rows):
        cells = [
            latex_escape(main) + (rf" {{\scriptsize {latex_escape(small)}}}" if small else "") for main, small in row
        ]
        lines.append(" & ".join([*cells, *[""] * (width - len(row))]) + r" \\")
        lines += [r"\midrule"] if number == 0 else []
    body = "\n".join(lines)
    columns = f"l*{{{width - 1}}}{{r}}" if width > 1 else "l"
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
