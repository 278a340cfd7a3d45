"""From datasets and a protocol to the table of all annotated clips."""

from typing import Any

import pandas as pd

from fdp_lightning.data.clips import KEY, clip_table
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.composite import Composite
from fdp_lightning.data.protocol import Protocol
from fdp_lightning.errors import UserError


def members(dataset: FaceDataset | Composite) -> list[FaceDataset]:
    """The datasets of a composite, or the one itself."""
    return dataset.members() if isinstance(dataset, Composite) else [dataset]


def read_clips(dataset: FaceDataset | Composite, protocol: Protocol, corrections: str) -> pd.DataFrame:
    """All annotated clips under the labels of a protocol, and those it includes without a label; sorted by `KEY`.

    Args:
        dataset: one, or several.
        protocol: made for it.
        corrections: see `corrections.LEVELS`.

    Raises:
        UserError: of the adapters, or a clip to include is annotated already.
    """
    tables = []
    for member in members(dataset):
        part = protocol.of(member.table_name)
        tables.append(member.clips(part.labels, corrections))
        tables += [included(member, tables[-1], part, name, label) for name, label in part.include.items()]
    return pd.concat(tables).sort_values(KEY, ignore_index=True)


def included(member: FaceDataset, annotated: pd.DataFrame, protocol: Protocol, name: str, label: str) -> pd.DataFrame:
    """A clip without a label, as a table of one row with the label its protocol gives it."""
    subject, _, clip = name.partition("/")
    if ((annotated["subject"] == subject) & (annotated["clip"] == clip)).any():
        raise UserError(f"protocol {protocol.name} includes {name}, which is annotated already; mend protocol.include.")
    column: dict[str, Any] = {protocol.column: label}
    row = member.unlabelled(subject, clip).assign(**column, dataset=member.table_name, fps=member.fps)
    return clip_table(row.assign(remark=f"not annotated; protocol {protocol.name} takes it for {label}"))
