"""All label releases that a copy holds, each read once, for check_data."""

from collections.abc import Iterable

import pandas as pd

from fdp_lightning.data.annotations.reading import members, with_included
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.composite import Composite
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY


class Releases:
    """Annotations of a copy as written, including duplicate and broken rows.

    Args:
        dataset: dataset or composite.
    """

    def __init__(self, dataset: FaceDataset | Composite) -> None:
        self._members = members(dataset)
        self._read: dict[tuple[str, str | None], pd.DataFrame | UserError] = {}

    def table(self, protocol: Protocol) -> pd.DataFrame:
        """Return the clips of all members under a protocol's labels, with those it includes without a label.

        Raises:
            UserError: the labels are not in this copy.
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
