"""Writers of the layouts of SMIC-HS, CASME, MMEW and 4DME as they are released, with their quirks; tiny pictures."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from openpyxl import Workbook

CASME_HEADER = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"]
CASME_ROWS: list[list] = [
    # Several clips in one folder, subjects as number and as text, an apex that is none.
    [6, "EP02_5", None, 4, 6, 7, 9, None, "4+7", "Disgust"],
    [6, "EP02_5", None, 15, 17, None, 20, None, 4, "tense"],
    ["01", "EP01_5", None, 8, 12, 13, 16, None, "R12+L14", "Happiness"],
    [8, "EP12_2_1", None, 98, "/", "/", 102, None, "?", "repression"],
]
MMEW_HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]
MMEW_HEADER += ["remarks"]
MMEW_ROWS: list[list] = [
    [1, "S01-01-001", 1, 4, 7, "6+12", "happiness", None],
    ["S02", "S02-02-003", 1, 3, 5, 2, "Surprise", "blurred"],
    ["10", "S10-04-001", 1, 2, 4, None, "disgust", None],  # the name says others
    [30, "S30-07-002", 1, 2, 3, "4", "anger", None],
]
FOURDME_HEADER = ["sub_ID", "fold_name", "fold", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU1", "AU4"]
FOURDME_HEADER += ["Positive", "Negative", "Surprise", "Repression", "Others", "eye blink", "Total"]
FOURDME_ROWS: list[list] = [
    [1, "1_ne_01", 1, "Repression+Negative", 12, 15, 18, "4+7(k)", None, 1, 0, 1, 0, 1, 0, None, 2],
    [1, "1_sur_02", 2, "Surprise", 3, 5, 8, "1+2", 1, None, None, None, 1, None, None, 1, 1],
    [23, "23_po_01", 1, None, 7, None, 9, None, None, None, 1, None, 1, None, None, None, 2],
    [23, "23_oth_01", 1, "others", 1, 2, 4, "14", None, None, None, 1, None, None, None, None, 1],
]
SMIC_CLIPS: dict[str, tuple[str, range]] = {
    "s1_ne_01": ("negative", range(61206, 61212)),
    "s1_po_02": ("positive", range(99998, 100003)),  # from 5 digits to 6: text would sort otherwise
    "s3_sur_05": ("surprise", range(12345678, 12345683)),
    "s18_sur_03": ("surprise", range(700, 704)),
    "s18_ne_10": ("negative", range(900, 903)),
}


@cache
def _picture(suffix: str) -> bytes:
    return cv2.imencode(suffix, np.full((8, 8, 3), 127, np.uint8))[1].tobytes()


def pictures(folder: Path, names: Iterable[str]) -> None:
    """Write 8×8 pictures under these names, and what else lies about in released folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(_picture(Path(name).suffix))
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "._shadow_1.jpg").write_bytes(b"\0\5\x16\7")


def workbook(path: Path, header: list, rows: Iterable[list], sheet: str = "Sheet1") -> Path:
    """Write a workbook of one sheet with a blank row below the clips."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    book.active.title = sheet
    for line in [header, *rows, [None] * len(header)]:
        book.active.append(line)
    book.save(path)
    return path


def smic_raw(tree: Path) -> None:
    """`tree` is HS: subjects, micro, emotions, clips; with the non-micro clips of one subject."""
    for clip, (emotion, numbers) in SMIC_CLIPS.items():
        pictures(tree / clip.split("_")[0] / "micro" / emotion / clip, (f"image{n:06d}.bmp" for n in numbers))
    pictures(tree / "s1" / "non-micro" / "s1_ne_77", ["image000001.bmp"])
    (tree / "s1" / "readme.txt").write_text("s1_ne_99")


def smic_cropped(tree: Path) -> None:
    """The same with the owners' crops: s18_sur_03 is empty, s3_sur_05 misses a frame."""
    for clip, (emotion, numbers) in SMIC_CLIPS.items():
        there = {"s18_sur_03": [], "s3_sur_05": [n for n in numbers if n % 10 != 0]}.get(clip, [*numbers])
        pictures(tree / clip.split("_")[0] / "micro" / emotion / clip, (f"reg_image{n:06d}.bmp" for n in there))


def smic_e(tree: Path) -> None:
    """SMIC-E: two digits of subject, no folders of emotions, JPEG."""
    for clip, (_, numbers) in SMIC_CLIPS.items():
        subject, rest = clip.split("_", 1)
        name = f"s{subject[1:].zfill(2)}"
        pictures(tree / name / f"{name}_{rest}", (f"{n:06d}.jpg" for n in numbers))


def casme(root: Path, folder: str = "Selected", prefix: str = "") -> None:
    """CASME's workbook and frames; 06/EP02_5 holds both its clips and frames of neither."""
    workbook(root / "casme.xlsx", CASME_HEADER, CASME_ROWS)
    frames = root / folder
    pictures(frames / "sub01" / "EP01_5", (f"{prefix}EP01_5-{n}.jpg" for n in range(8, 17)))
    pictures(frames / "Sub06" / "ep02_5", (f"{prefix}EP02_5-{n}.jpg" for n in range(1, 25)))  # other-case letters
    pictures(frames / "sub08" / "EP12_2_1", (f"{prefix}EP12_2_1-{n:03d}.jpg" for n in range(98, 103)))


def mmew(root: Path) -> None:
    """MMEW's workbook and crops; S10-04-001 lies where its name says, and one folder is in other letters' case."""
    workbook(root / "MMEW_Micro_Exp.xlsx", MMEW_HEADER, MMEW_ROWS)
    places = [("happiness", "S01-01-001", 7), ("Surprise", "s02-02-003", 5), ("others", "S10-04-001", 4)]
    for emotion, clip, last in [*places, ("anger", "S30-07-002", 3)]:
        pictures(root / "Micro_Expression" / emotion / clip, (f"{n}.jpg" for n in range(1, last + 1)))


def fourdme(root: Path) -> None:
    """4DME's workbook and the frames of its grey camera."""
    workbook(root / "4DME_Labelling_Micro_release v1.xlsx", FOURDME_HEADER, FOURDME_ROWS)
    for subject, clip, _, _, onset, _, offset, *_ in FOURDME_ROWS:
        pictures(root / "gray_micro" / str(subject) / clip, (f"{n:05d}.png" for n in range(onset, offset + 1)))
