"""The public optical flow of MEGC 2019: 442 clips of SMIC-HS, CASME II and SAMM, in two independent extractions."""

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.folders import existing, is_folder, subfolders
from fdp_lightning.data.faces.frames import read_image
from fdp_lightning.data.inputs.flow import DIRECTIONS, PHASES
from fdp_lightning.errors import UserError

CLASSES = ("negative", "positive", "surprise")
IMAGES = {"ststnet": PHASES[:1], "causalnet": (*PHASES, *DIRECTIONS)}  # images of a clip, by extraction
_MAPS = ("datasets/STSNet_whole_norm_u_v_os", "STSNet_whole_norm_u_v_os")
_LABELS = ("datasets/three_norm_u_v_os", "three_norm_u_v_os")
_SUFFIXES = ("", "_1", "_2", "_3")
_PREFIX = {"casme2": "sub", "smic": "s", "samm": ""}  # of the subjects' numbers
_HOW_TO_GET = (
    "  Clone https://github.com/wangzhifengharrison/HTNet (STSTNet's maps and the labels) and, for the other\n"
    "  extraction, https://github.com/tony19980810/CausalNet. Set data.root to the clone whose maps you want and, if\n"
    "  that is CausalNet's, data.adapter.labels to HTNet's. Nothing is downloaded automatically, because the maps\n"
    "  derive from licensed databases."
)


PUBLISHED = {
    "ststnet": "96d2a1c70d309469dba651399846ba833aabe85d45a0e919793f0dd0aed31c80",
    "causalnet": "4ca4366bdf887706505843d8b2ebef95f4e60d8c6d2074e863bb33dd7a181088",
}
"""Extraction → SHA-256 of a complete copy, see `MEGC2019FlowMaps.sha256`."""
_COUNTS = "clips {'casme2': 145, 'samm': 133, 'smic': 164}, labels {'negative': 250, 'positive': 109, 'surprise': 83}"


class MEGC2019FlowMaps(FaceDataset):
    """Flow images, 28×28, of the 442 clips (68 subjects) of MEGC 2019, for `input=maps`; they contain no faces.

    Papers: Liong et al., "Shallow triple stream three-dimensional CNN (STSTNet)", FG 2019; Zhang, Tang and Chen,
    "Rethinking key-frame-based micro-expression recognition" (CausalNet), arXiv 2508.06640.

    Layout under `root`, a clone of HTNet's or CausalNet's repository (note the space before `.png`)::

        datasets/STSNet_whole_norm_u_v_os/sub01_EP02_01f .png           one image per clip; CausalNet has four:
        datasets/STSNet_whole_norm_u_v_os/sub01_EP02_01f_1 .png …_3 .png
        datasets/three_norm_u_v_os/sub01/u_test/1/sub01_EP02_01f .png   HTNet only: the folder's name is the class

    STSTNet's images (in HTNet's repository): u, v and strain of TV-L1 flow onset→apex, each channel of each clip
    stretched to 0..255. CausalNet's: flow onset→apex, flow apex→offset, and a map of 16 directions of each (whose third
    channel is 0); not stretched.

    The files state subject, clip, dataset (by the form of the subject's name) and, in HTNet's clone, the class, but not
    onset, apex and offset. The onset is 0 in the clip table, because it is part of a clip's key, and the images count
    as frames. Subjects are named as in the other datasets of this package ('01' for 'sub01'). The contents are
    verified.

    Args:
        root, frames, name: see `FaceDataset`.
        labels: clone of HTNet's repository, if `root` is not one.
        expected: required contents, as `PUBLISHED`; None accepts any.
        extraction: required extraction, 'ststnet' or 'causalnet'; None accepts both.
    """

    name = "megc2019_flow"
    fps = math.nan
    request_page = "github.com/wangzhifengharrison/HTNet"
    label_versions = ("megc2019",)
    frame_folders: ClassVar = {"maps": _MAPS}

    def __init__(
        self,
        root: str | Path,
        frames: str | None = None,
        name: str | None = None,
        labels: str | Path | None = None,
        expected: Mapping[str, str] | None = PUBLISHED,
        extraction: str | None = None,
    ) -> None:
        super().__init__(root, frames, name)
        self._maps = existing(self.root, _MAPS)
        self._labels_root = self.root if labels is None else Path(labels).expanduser()
        self._expected, self._wanted = expected, extraction

    def frame_root(self) -> Path:
        return self._maps

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        extraction, table = self.extraction, self._table
        if self._wanted not in (None, extraction):
            raise UserError(
                f"{self.root} holds the maps of {extraction}; expected those of {self._wanted}. data.root is"
                " HTNet's repository for data=megc2019_flow, CausalNet's for data=megc2019_flow_causalnet"
            )
        digest = self.sha256  # raises for an image that cannot be used
        if self._expected is not None and digest != self._expected[extraction]:
            clips, labels = (table[name].value_counts().sort_index().to_dict() for name in ("dataset", "emotion"))
            raise UserError(
                f"the images in {self._maps} with the labels in {self._labels_root} are not the published ones of "
                f"{extraction}: clips {clips}, labels {labels}, SHA-256 {digest}; expected {_COUNTS}, SHA-256 "
                f"{self._expected[extraction]}.\n  Take fresh clones."
            )
        folders = [str(self._image_path(key)) for key in _keys(table)]
        return self._maps, table.assign(offset=len(IMAGES[extraction]) - 1, folder=folders)

    @cached_property
    def extraction(self) -> str:
        """The extraction in `root`, 'ststnet' or 'causalnet'; raises UserError if there is none."""
        if not is_folder(self._maps):
            raise UserError(f"{self.root} holds no folder {_MAPS[0]}.\n{_HOW_TO_GET}")
        return "causalnet" if any(self._find(f"{key}_1") for key in _keys(self._table)) else "ststnet"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over keys, labels and pixels of all clips; raises UserError if an image is missing or damaged."""
        digest = hashlib.sha256()
        for key, emotion in zip(_keys(self._table), self._table["emotion"], strict=True):
            digest.update(f"{key} {CLASSES.index(emotion)}\n".encode())
            for suffix in _SUFFIXES[: len(IMAGES[self.extraction])]:
                digest.update(read_image(self._image_path(key + suffix)).tobytes())
        return digest.hexdigest()

    @cached_property
    def _table(self) -> pd.DataFrame:
        """The clip table, from the test folders of the 68 subjects; apex and offset are unknown."""
        folder = existing(self._labels_root, _LABELS)
        if not is_folder(folder):
            raise UserError(f"{self._labels_root} holds no folder {_LABELS[0]}, for the labels.\n{_HOW_TO_GET}")
        rows = [
            (subject.name, path.stem.strip().removeprefix(f"{subject.name}_"), emotion)
            for subject in subfolders(folder)
            for label, emotion in enumerate(CLASSES)
            for path in sorted((subject / "u_test" / str(label)).glob("*.png"))
        ]
        if not rows:
            raise UserError(
                f"{folder} holds no clip <subject>/u_test/<0, 1 or 2>/<subject>_<clip> .png.\n{_HOW_TO_GET}"
            )
        table = pd.DataFrame(rows, columns=["subject", "clip", "emotion"], dtype=object)
        dataset_of = {prefix: dataset for dataset, prefix in _PREFIX.items()}
        named = table["subject"].str.extract(r"^(sub|s|)(\d+)$")
        if unknown := table["subject"][named[0].isna()].tolist():
            raise UserError(f"{folder / unknown[0]} is no subject of MEGC 2019; expected a name like sub01, s01 or 006")
        return clip_table(table.assign(dataset=named[0].map(dataset_of), subject=named[1], onset=0))

    def _find(self, name: str) -> Path | None:
        # Some unpackers strip the space.
        return next((path for blank in (" ", "") if (path := self._maps / f"{name}{blank}.png").is_file()), None)

    def _image_path(self, name: str) -> Path:
        if (path := self._find(name)) is None:
            raise UserError(f"the image {self._maps / name} .png is missing.\n{_HOW_TO_GET}")
        return path


def _keys(table: pd.DataFrame) -> list[str]:
    """Return the names of the clips' images, without suffix and space."""
    columns = (table[name] for name in ("dataset", "subject", "clip"))
    return [f"{_PREFIX[dataset]}{subject}_{clip}" for dataset, subject, clip in zip(*columns, strict=True)]
