"""From datasets and a protocol to the table of all annotated clips."""

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
        tables.append(with_included(member, member.clips(part.labels, corrections), part))
    return pd.concat(tables).sort_values(KEY, ignore_index=True)


def with_included(member: FaceDataset, annotated: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """A clip table with the clips that a protocol includes without a label, under the label it gives them.

    Such a clip lies on disk alone, or has a row whose label is blank. Where no frames are there to be looked at, it
    counts if its subject is annotated; a copy that has frames but not this clip, or no such subject, does without.

    Raises:
        UserError: a clip to include has a label of its own.
    """
    tables = [annotated.copy()]
    for name, label in protocol.include.items():
        subject, _, clip = name.partition("/")
        rows = (annotated["subject"] == subject) & (annotated["clip"] == clip)
        if (annotated.loc[rows, protocol.column] != "").any():
            raise UserError(
                f"protocol {protocol.name} includes {name}, which has a label already; mend protocol.include."
            )
        about = {protocol.column: label, "remark": f"not labelled; protocol {protocol.name} takes it for {label}"}
        if rows.any():
            tables[0].loc[rows, list(about)] = list(about.values())
        else:
            row = member.unlabelled(subject, clip).assign(dataset=member.table_name, fps=member.fps)
            unseen = not member.has_frames() and subject in set(annotated["subject"])
            if unseen or is_folder(Path(row["folder"].iloc[0])):
                tables.append(clip_table(row.assign(**about)))
    return pd.concat(tables, ignore_index=True)
