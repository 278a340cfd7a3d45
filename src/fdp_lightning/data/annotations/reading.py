"""Reading the table of all annotated clips for datasets and a protocol."""

from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.composite import Composite
from fdp_lightning.data.datasets.folders import is_folder
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY


def members(dataset: FaceDataset | Composite) -> list[FaceDataset]:
    """Return the datasets of a composite, or the single dataset itself."""
    return dataset.members() if isinstance(dataset, Composite) else [dataset]


def read_clips(dataset: FaceDataset | Composite, protocol: Protocol, corrections: str) -> pd.DataFrame:
    """Return all annotated clips under the labels of a protocol, and those it includes without a label, by `KEY`.

    Args:
        dataset: dataset or composite.
        protocol: protocol of this dataset.
        corrections: one of `corrections.LEVELS`.

    Raises:
        UserError: an adapter cannot read its copy, or a clip to include is already annotated.
    """
    tables = []
    for member in members(dataset):
        part = protocol.of(member.table_name)
        tables.append(with_included(member, member.clips(part.labels, corrections), part))
    return pd.concat(tables).sort_values(KEY, ignore_index=True)


def with_included(member: FaceDataset, annotated: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return a clip table extended by the unlabelled clips that a protocol includes, with the labels it gives them.

    Such a clip is on disk only, or has a row whose label is blank. If the copy has no frames at all, it is added
    whenever its subject is annotated; a copy that has frames but not this clip, or no such subject, goes without it.

    Raises:
        UserError: a clip to include has a label of its own.
    """
    tables = [annotated.copy()]
    for name, label in protocol.include.items():
        subject, _, clip = name.partition("/")
        rows = (annotated["subject"] == subject) & (annotated["clip"] == clip)
        if (annotated.loc[rows, protocol.column] != "").any():
            raise UserError(
                f"protocol {protocol.name} includes {name}, which already has a label; correct protocol.include."
            )
        about = {protocol.column: label, "remark": f"not labelled; protocol {protocol.name} counts it as {label}"}
        if rows.any():
            tables[0].loc[rows, list(about)] = list(about.values())
        else:
            row = member.unlabelled(subject, clip).assign(dataset=member.table_name, fps=member.fps)
            unseen = not member.has_frames() and subject in set(annotated["subject"])
            if unseen or is_folder(Path(row["folder"].iloc[0])):
                tables.append(clip_table(row.assign(**about)))
    return pd.concat(tables, ignore_index=True)
