"""compare.html: the comparison as one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fdp_lightning.evaluation import comparison_text
from fdp_lightning.evaluation.comparison import BLOCKS, Table
from fdp_lightning.evaluation.templates import template
from fdp_lightning.files import write_atomic


def write_page(path: Path, tables: Sequence[Table], left_out: Mapping[str, str]) -> Path:
    """Write the page atomically; the same tables give the same bytes.

    Args:
        path: of the page.
        tables: of `compare`.
        left_out: run folders that are not among them → why, which the page names.
    """
    page = template("compare.html.j2").render(tables=tables, left_out=left_out, blocks=BLOCKS, text=comparison_text)
    write_atomic(path, page)
    return path
