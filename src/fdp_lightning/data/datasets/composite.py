"""Composite datasets."""

from collections.abc import Mapping
from pathlib import Path

from fdp_lightning.data.datasets.adapter import FaceDataset


class Composite:
    """Several datasets under one protocol, such as MEGC2019. Each keeps its name, so that subjects do not collide.
    `root` holds the copies; a member may be elsewhere (`data.adapter.members.<name>.root`).
    """

    def __init__(self, root: str | Path, members: Mapping[str, FaceDataset], name: str) -> None:
        self.root = Path(root).expanduser()
        self.table_name = name
        for key, member in members.items():
            member.root_key = f"data.adapter.members.{key}.root"
        self.members = list(members.values())
