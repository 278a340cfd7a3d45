"""Datasets as their owners lay them out, with a few tiny frames and the quirks their users meet."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from openpyxl import Workbook

from fdp_lightning.data.faces.frames import frames_between, list_frames, read_image

_PICTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
_BYTES = {kind: cv2.imencode(kind, _PICTURE)[1].tobytes() for kind in (".jpg", ".png", ".bmp")}

CASME_SQ_FILE = "CAS(ME)^2code_final.xlsx"
CASME3A_FILE = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
CASME3C_FILE = "CAS(ME)3_part_C_ME.xlsx"
DFME_FILES = {"train": "training_full_with_AU.xlsx", "test_a": "DFME_test_A.xlsx", "test_b": "dfme_TestB_list.xlsx"}

MICRO, MACRO = "micro-expression", "macro-expression"
CASME_SQ_ROWS = [
    [1, "anger1_1", 557, 572, 608, "4+7", "negative", MACRO, "anger"],
    [1, "disgust2_1 ", 10, 15, 20, 4, " Negative", "Micro-Expression ", "disgust"],
    [None, None, None, None, None, None, None, None, None],
    [8, "happy5_10", 5, 9, 0, "14or23", "positive", MACRO, "happyiness"],
    [22, "happy1_2", 7, 12, 18, None, "surprise", MICRO, "happiness"],
    [22, "happy1_3", 30, 25, 40, "10or11", "others", MACRO, None],
    ["AU: action unit; the offset is 0 where it was not observed", None, None, None, None, None, None, None, None],
]
CASME_SQ_IDS = [[15, "s15", 1], [24, "s24", 8], [40, "s40", 22]]
CASME_SQ_VIDEOS = [["0101", "disgust1"], [102, "disgust2"], ["0401", "anger1"], ["0502", "happy1"], ["0508", "happy5"]]

CASME3A_HEADER = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
CASME3A_ROWS = [
    ["spNO.1", "a", 3, 5, 8, "4+7", "VII", "Others"],
    ["spNO.1", "a", 10, 10, 12, 4, "IV", "others"],
    ["spno.2 ", "J", 1, 2, 4, "R12", "I", "happy"],
]
CASME3A_WRONG = [
    ["spNO.149", "d", 112, 83, 170, "4", "II", "anger"], ["spNO.216", "d", 3647, 2655, 2667, "4", "II", "anger"],
    ["spNO.40", "e", 1812, 1830, 0, "4", "II", "fear"], ["spNO.40", "e", 2327, 2380, 0, "4", "II", "fear"],
    ["spNO.216", "e", 0, 0, 9, "4", "II", "sad"], ["spNO.214", "c", 22, 28, 3460, "4", "II", "disgust"],
]  # fmt: skip
CASME3C_HEADER = ["sub", "count", None, "onset", "offset", "au", "emotion", "PHY"]
CASME3C_ROWS = [
    [1, 1, None, 100, 104, "4,7", "Negative", "p1"],
    ["1", "2", None, 110, 113, "1，2", "surprise", "p1"],
    [22, None, None, None, None, None, None, "p22"],
    [23, 1, None, 7, 9, 12, "positive ", "p23"],
]
DFME_HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]


def write_workbook(path: Path, **sheets: list[list]) -> Path:
    """A workbook of these sheets, in this order; a sheet is a list of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


def write_frames(folder: Path, numbers: Iterable[int], name: str = "img{}.jpg") -> Path:
    """A picture of 8×8 for each number, and what Windows and macOS leave beside pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        file = folder / name.format(number)
        file.write_bytes(_BYTES[file.suffix.lower()])
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / f"._{file.name}").write_bytes(b"\0")
    return folder


def missing_frames(clips: pd.DataFrame) -> list[str]:
    """What is wrong with the frames of the clips, one line per clip; [] if each has all of them and they decode."""
    trouble = []
    for row in clips.itertuples():
        files, found = frames_between(list_frames(Path(row.folder)), row.onset, row.offset)
        if found:
            trouble.append(f"{row.subject}/{row.clip}: {found}")
        elif read_image(files[0].path).shape != (8, 8, 3):
            trouble.append(f"{row.subject}/{row.clip}: not the picture")
    return trouble


def casme_sq(
    root: Path,
    rows: Sequence[Sequence[Any]] = CASME_SQ_ROWS,
    ids: Sequence[Sequence[Any]] = CASME_SQ_IDS,
    videos: Sequence[Sequence[Any]] = CASME_SQ_VIDEOS,
) -> Path:
    """CAS(ME)²: three headerless sheets; clips cut out, cropped (one is not) and as whole recordings."""
    sheets = {"CASFEcode_final": rows, "naming_rule1": ids, "naming_rule2": videos}
    write_workbook(root / CASME_SQ_FILE, **sheets)
    write_frames(root / "selectedpic" / "s15" / "anger1_1", range(557, 609))
    write_frames(root / "selectedpic" / "s15" / "Disgust2_1", range(10, 21), "img{:03d}.JPG")
    write_frames(root / "selectedpic" / "s24" / "happy5_10", range(5, 12))
    write_frames(root / "selectedpic" / "S40" / "happy1_2", range(7, 19), "img{:04d}.jpg")
    write_frames(root / "selectedpic" / "S40" / "happy1_3", range(30, 41))
    write_frames(root / "cropped" / "15" / "disgust2_1", range(10, 21))
    write_frames(root / "cropped" / "40" / "happy1_2", range(7, 19))
    write_frames(root / "rawpic" / "s15" / "15_0401girlcrashing", range(1, 620), "img{:03d}.jpg")
    write_frames(root / "rawpic" / "s15" / "15_0102eatingworms", range(1, 30), "img{:03d}.jpg")
    write_frames(root / "rawpic" / "s24" / "24_0508funnyerrors", range(1, 20), "img{:03d}.jpg")
    write_frames(root / "rawpic" / "S40" / "40_0502funnybaby", range(1, 60), "img{:03d}.jpg")
    return root


def casme3a(
    root: Path, rows: Sequence[Sequence[Any]] = CASME3A_ROWS, parts: str = "part_A", sheet: str = "label"
) -> Path:
    """CAS(ME)³ A: whole recordings in colour and depth, and the clips cut out; letters in the other case."""
    sheets = {"readme": [["labels of version 2"]], sheet: [CASME3A_HEADER, [None] * 8, *rows]}
    write_workbook(root / CASME3A_FILE, **(sheets if sheet == "label" else {sheet: sheets[sheet]}))
    for subject, recording, last in (("spNO.1", "a", 20), ("spNO.2", "j", 10)):
        write_frames(root / parts / subject / recording / "color", range(1, last), "{}.jpg")
        write_frames(root / parts / subject / recording / "depth", range(1, last), "{}.png")
    for name, numbers in {"spNo.1_a_3": (3, 9), "spNo.1_a_10": (10, 13), "spNo.2_j_1": (1, 5)}.items():
        write_frames(root / "Part_A_ME_clip" / "frame" / name, range(*numbers), "{}.jpg")
    return root


def casme3c(root: Path, rows: Sequence[Sequence[Any]] = CASME3C_ROWS, parts: str = "part_C") -> Path:
    """CAS(ME)³ C: clips cut out for one subject, one whole recording for the other."""
    write_workbook(root / CASME3C_FILE, mockCrimeME=[CASME3C_HEADER, *rows])
    for kind, name in (("color", "{}.jpg"), ("depth", "{}.png")):
        write_frames(root / parts / "01" / "1" / kind, range(100, 105), name)
        write_frames(root / parts / "01" / "2" / kind, range(110, 114), name)
        write_frames(root / parts / "23" / "a" / kind, range(1, 30), name)
    return root


def dfme(root: Path) -> Path:
    """DFME: three workbooks, one in a folder and one without labels; clips in two places, rates mixed."""
    train = [
        ["sub0003", "sub0003_01", 12, 20, 31, "Disgust", 2, 500, "4+L10"],
        ["sub0003", "sub0003_02", 1, 4, 9, "anger ", 0, 300, 4],
    ]
    write_workbook(root / DFME_FILES["train"], Sheet1=[DFME_HEADER, *train])
    test_a = [["sub0010", "sub0010_05", 3, 5, 8, "contempt", 1, 200, "R14"]]
    write_workbook(root / "annotation" / DFME_FILES["test_a"], Sheet1=[DFME_HEADER, *test_a])
    unlabelled = [name for name in DFME_HEADER if name not in ("Emotion", "EmotionId", "AU")]
    write_workbook(root / DFME_FILES["test_b"], Sheet1=[unlabelled, ["sub0020", "sub0020_01", 2, 3, 4, 500]])
    (root / "~$training_full_with_AU.xlsx").write_bytes(b"open elsewhere")
    write_frames(root / "DFME_train" / "DFME_train" / "sub0003_01", range(12, 32), "{:05d}.png")
    write_frames(root / "DFME_train" / "DFME_train" / "SUB0003_02", range(1, 10), "{}.jpg")
    write_frames(root / "test_data_A" / "sub0010_05", range(3, 9), "{:05d}.png")
    write_frames(root / "sub0020_01", range(2, 5), "{:05d}.png")
    return root
