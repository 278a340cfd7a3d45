"""compare.html: the comparison as one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fdp_lightning.evaluation import comparison_text
from fdp_lightning.evaluation.comparison import BLOCKS, Table
from fdp_lightning.files import write_atomic


def write_page(path: Path, tables: Sequence[Table], left_out: Mapping[str, str]) -> Path:
    """Write the page atomically; the same tables give the same bytes.

    Args:
        path: of the page.
        tables: of `compare`.
        left_out: run folders that are not among them → why, which the page names.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("compare.html.j2").render(
        tables=tables, left_out=left_out, blocks=BLOCKS, text=comparison_text
    )
    write_atomic(path, page)
    return path
