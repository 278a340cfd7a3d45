"""The table of all annotated clips of a copy, with the labels of one protocol or of every release in the copy."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.composite import Composite
from fdp_lightning.data.datasets.folders import is_folder
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY

_Reader = Callable[[FaceDataset, str | None], pd.DataFrame]


def members(dataset: FaceDataset | Composite) -> list[FaceDataset]:
    """Return the datasets of a composite, or the single dataset itself."""
    return dataset.members if isinstance(dataset, Composite) else [dataset]


def read_clips(dataset: FaceDataset | Composite, protocol: Protocol, corrections: str) -> pd.DataFrame:
    """Return all annotated clips with the labels of a protocol, and the unlabelled ones that it includes, sorted by
    `KEY`; raises UserError if an adapter cannot read its copy, or a clip to include is already labelled.
    """
    return _joined(members(dataset), protocol, lambda member, labels: member.clips(labels, corrections))


def _joined(members: list[FaceDataset], protocol: Protocol, table_of: _Reader) -> pd.DataFrame:
    parts = [(member, protocol.of(member.table_name)) for member in members]
    tables = [with_included(member, table_of(member, part.labels), part) for member, part in parts]
    return pd.concat(tables).sort_values(KEY, ignore_index=True)


def with_included(member: FaceDataset, annotated: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return a clip table with the unlabelled clips (only on disk, or with a blank label) that a protocol includes, and
    the labels it gives them. If the copy has no frames at all, a clip is added if its subject is annotated; if only the
    clip's own frames are missing, it is not added. Raises UserError if a clip to include already has a label.
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


class Releases:
    """Annotations of a copy as written, including duplicate and broken rows, with each release read once."""

    def __init__(self, dataset: FaceDataset | Composite) -> None:
        self._members = members(dataset)
        self._read: _Reader = cache(lambda member, labels: member.annotations(labels)[1])

    def table(self, protocol: Protocol) -> pd.DataFrame:
        """Return the clips of all members like `read_clips`; raises UserError if the labels are not in this copy."""
        return _joined(self._members, protocol, self._read)

    def every_release(self, member: FaceDataset, protocols: Iterable[Protocol]) -> list[pd.DataFrame]:
        """Return one member's table for each release that the protocols ask for and this copy holds."""
        tables = []
        for labels in dict.fromkeys(protocol.of(member.table_name).labels for protocol in protocols):
            with suppress(UserError):  # reported for the protocols concerned
                tables.append(self._read(member, labels))
        return tables
