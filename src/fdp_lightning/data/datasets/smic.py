"""The high-speed part of SMIC (SMIC-HS)."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.faces.frames import FrameFile, list_frames
from fdp_lightning.errors import UserError

_CLIP = re.compile(r"s(\d{1,2})_(ne|po|su)[a-z]*_(\d{1,3})", re.IGNORECASE | re.ASCII)
_SUBJECT = re.compile(r"s\d{1,2}", re.IGNORECASE | re.ASCII)
_OTHER_TREE = re.compile(r"non.?micro|^(?!.*hs).*(?<![a-z])(?:vis|nir)(?![a-z])|^__macosx|^\.", re.IGNORECASE)
_EMOTIONS = {"ne": "negative", "po": "positive", "su": "surprise"}
_DEEPEST = 8  # folder levels; in the releases a clip is at most six below a root
_Clips = dict[Path, list[FrameFile]]


class SMIC(FaceDataset):
    """SMIC-HS: 164 micro-expressions of 16 subjects at 100 fps, 640×480 colour; negative 70, positive 51, surprise 43.

    Paper: Li et al., "A spontaneous micro-expression database: Inducement, collection and baseline", FG 2013.
    There is no table: the folder tree is the annotation. Layout under `root`, at any depth::

        HS/s1/micro/negative/s1_ne_01/image061206.bmp        raw; numbers of 6 to 8 digits
        HS/s1/micro/negative/s1_ne_01/reg_image061206.bmp    the owners' crops, in a separate tree
        s01/s01_ne_01/061206.jpg                             SMIC-E; the emotion is in the name only

    Quirks: subjects are 1–6, 8, 9, 11–15, 18–20; onset and offset are the first and the last file, and there is no
    apex. s1_ne_01 and s01_ne_01 are the same clip: the table has subject '01', clip 's01_ne_01' (or 's01_sur_01')
    for both. Among the crops, s18_sur_03 is empty: it counts, with the interval 0..0; s3_po_08, s3_sur_01, s3_sur_05
    and s3_ne_16 lack single frames. The trees of other cameras (VIS, NIR) and of non-micro clips are skipped.

    Args:
        root: folder with the layout above, or a parent of it.
        frames: 'raw' or 'cropped', distinguished by file names; a clip in several trees counts once, SMIC-E comes last.
        name: dataset name in the clip table.
    """

    name = "smic"
    fps = 100.0
    request_page = "oulu.fi (Center for Machine Vision)"
    label_versions = ("v1",)
    frame_folders: ClassVar = {"raw": (".",), "cropped": (".",)}
    crops = "cropped"
    other_folders = frozenset({"non_micro", "non-micro", "nonmicro"})

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        clips = [clip for tree in self._trees_of_the_kind.values() for clip in tree.items()]
        return self.frame_root(), pd.DataFrame([_row(*clip) for clip in clips]).drop_duplicates("clip")

    def holds_subjects(self, place: Path) -> bool:
        """Return True: a tree is recognised by its clips, at any depth."""
        return True

    def found_deeper(self) -> str:
        """Return '': a tree may be at any depth."""
        return ""

    def frame_root(self) -> Path:
        """Return the first tree of the chosen frames, which holds the subjects; raises UserError if there is none."""
        return next(iter(self._trees_of_the_kind))

    @cached_property
    def _trees_of_the_kind(self) -> dict[Path, _Clips]:
        """Trees of the chosen frames, at least one, each with its clips' folders and files."""
        trees: dict[Path, _Clips] = {}
        for folder in _clip_folders(self.root):
            clips = trees.setdefault(_tree(folder, self.root), {})
            clips[folder] = []
            with suppress(PermissionError):  # listing the frames reports it under the clip's name
                clips[folder] = list_frames(folder)
        kinds = {tree: _kind(clips) for tree, clips in trees.items() if any(clips.values())}
        chosen = [tree for tree, kind in kinds.items() if kind == self.frames]
        if not chosen:
            others = ", ".join(f"{kind} ones in {tree}" for tree, kind in kinds.items()) or "no others either"
            raise UserError(
                f"{self.root} holds no {self.frames} frames of SMIC-HS ({others}).\n"
                "  Expected folders such as HS/s1/micro/negative/s1_ne_01 below it: unpack them there, or correct "
                f"{self.root_key} or data.adapter.frames.\n"
                f"  A copy is requested from its owners: {self.request_page}"
            )
        # SMIC-HS itself, which has folders per emotion, takes precedence over SMIC-E.
        return {tree: trees[tree] for tree in sorted(chosen, key=lambda tree: "" in map(_place, trees[tree]))}


def _clip_folders(root: Path) -> Iterator[Path]:
    """Yield the folders named like a clip; they are not searched for others."""
    for place, names, _ in os.walk(root, followlinks=True):  # skips unreadable folders such as lost+found
        folder = Path(place)
        names[:] = sorted(name for name in names if not _OTHER_TREE.search(name))
        yield from (folder / name for name in names if _CLIP.fullmatch(name))
        can_be_deeper = len(folder.parts) - len(root.parts) < _DEEPEST
        names[:] = [name for name in names if can_be_deeper and not _CLIP.fullmatch(name)]


def _tree(folder: Path, root: Path) -> Path:
    """Return the folder above a clip's subject."""
    subjects = (above for above in folder.parents if _SUBJECT.fullmatch(above.name) and above.is_relative_to(root))
    return next(subjects, folder).parent


def _kind(clips: _Clips) -> str:
    """Return 'cropped' or 'raw', the kind of all clips of a tree, empty ones included."""
    names = (file.path.name.lower() for files in clips.values() for file in files)
    return "cropped" if any(name.startswith("reg_") for name in names) else "raw"


def _place(folder: Path) -> str:
    """Return the emotion that the folder above a clip is named after, '' if none."""
    place = folder.parent.name.lower()
    return place if place in _EMOTIONS.values() else ""


def _row(folder: Path, files: list[FrameFile]) -> dict[str, object]:
    """Return a clip's row, with a remark if its folder's name and location disagree."""
    subject, code, number = _CLIP.findall(folder.name)[0]
    named = _EMOTIONS[code.lower()]
    emotion = _place(folder) or named
    remarks = [f"is in {emotion} but is named {folder.name}; read as {emotion}"] if emotion != named else []
    if not files:
        remarks.append("its folder holds no frames; the interval is read as 0..0")
    return {
        "subject": subject.zfill(2),
        "clip": f"s{subject.zfill(2)}_{code.lower().replace('su', 'sur')}_{number.zfill(2)}",
        "onset": files[0].number if files else 0,
        "offset": files[-1].number if files else 0,
        "emotion": emotion,
        "folder": str(folder),
        "remark": "; ".join(remarks),
    }
