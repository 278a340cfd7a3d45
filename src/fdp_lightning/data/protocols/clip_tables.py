"""The table of all annotated clips of a copy: under the labels of one protocol, or of every release that it holds."""

from collections.abc import Iterable
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
    return dataset.members if isinstance(dataset, Composite) else [dataset]


def read_clips(dataset: FaceDataset | Composite, protocol: Protocol, corrections: str) -> pd.DataFrame:
    """Return all annotated clips under the labels of a protocol, and those it includes without a label, by `KEY`.

    Raises UserError if an adapter cannot read its copy, or a clip to include is already annotated.
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
    Raises UserError if a clip to include has a label of its own.
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
    """Annotations of a copy as written, each release read once, including duplicate and broken rows, for check_data."""

    def __init__(self, dataset: FaceDataset | Composite) -> None:
        self._members = members(dataset)
        self._read: dict[tuple[str, str | None], pd.DataFrame | UserError] = {}

    def table(self, protocol: Protocol) -> pd.DataFrame:
        """Return the clips of all members under a protocol's labels, with those it includes without a label.

        Raises UserError if the labels are not in this copy.
        """
        tables = []
        for member in self._members:
            part = protocol.of(member.table_name)
            tables.append(with_included(member, self._table(member, part.labels), part))
        return pd.concat(tables).sort_values(KEY, ignore_index=True)

    def every_release(self, member: FaceDataset, protocols: Iterable[Protocol]) -> list[pd.DataFrame]:
        """Return one member's tables for each release that the protocols ask for and this copy holds."""
        asked = dict.fromkeys(protocol.of(member.table_name).labels for protocol in protocols)
        tables = []
        for labels in asked:
            try:
                tables.append(self._table(member, labels))
            except UserError:  # reported for the protocols that ask for it
                continue
        return tables

    def _table(self, member: FaceDataset, labels: str | None) -> pd.DataFrame:
        key = (member.table_name, labels or member.default_labels())
        if key not in self._read:
            try:
                self._read[key] = member.annotations(labels)[1]
            except UserError as error:
                self._read[key] = error
        found = self._read[key]
        if isinstance(found, UserError):
            raise found
        return found
