"""Datasets and composites in their owners' layouts, with a few tiny frames and the known quirks."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from openpyxl import Workbook

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme import CASME
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme3c import CASME3C
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.faces.frames import frames_between, list_frames, read_image

_IMAGE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
_BYTES = {kind: cv2.imencode(kind, _IMAGE)[1].tobytes() for kind in (".jpg", ".png", ".bmp")}

CASME2_HEADER = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units"]
CASME2_HEADER += ["Estimated Emotion"]
SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"]
SAMM_HEADER += ["Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]

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
CASME_SQ_VIDEOS = [["0101", "disgust1"], [102, "disgust2"], ["0401", "anger1"], ["0502", "happy1"], ["0508", "happy5"]]

CASME3A_HEADER = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
CASME3A_ROWS = [
    ["spNO.1", "a", 3, 5, 8, "4+7", "VII", "Others"],
    ["spNO.1", "a", 10, 10, 12, 4, "IV", "others"],
    ["spno.2 ", "J", 1, 2, 4, "R12", "I", "happy"],
]
CASME3C_HEADER = ["sub", "count", None, "onset", "offset", "au", "emotion", "PHY"]
CASME3C_ROWS = [
    [1, 1, None, 100, 104, "4,7", "Negative", "p1"],
    ["1", "2", None, 110, 113, "1，2", "surprise", "p1"],
    [22, None, None, None, None, None, None, "p22"],
    [23, 1, None, 7, 9, 12, "positive ", "p23"],
]
DFME_HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]


def write_workbook(path: Path, **sheets: Sequence[Sequence[Any]]) -> Path:
    """Write a workbook of these sheets, in this order; a sheet is a list of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


def save(path: Path, lines: Sequence[Sequence[Any]]) -> Path:
    """Write a workbook of one sheet."""
    return write_workbook(path, Sheet1=lines)


def write_files(folder: Path, names: Iterable[str]) -> Path:
    """Write an 8×8 image under each name, and the files that Windows and macOS add to folders of images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(_BYTES[Path(name).suffix.lower()])
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "._shadow_1.jpg").write_bytes(b"\0")
    return folder


def write_frames(folder: Path, numbers: Iterable[int], name: str = "img{}.jpg") -> Path:
    """Write an image for each number."""
    return write_files(folder, map(name.format, numbers))


def missing_frames(clips: pd.DataFrame) -> list[str]:
    """Return the faults of the clips' frames, one line per clip; [] if all frames exist and decode."""
    trouble = []
    for row in clips.itertuples():
        files, found = frames_between(list_frames(Path(row.folder)), row.onset, row.offset)
        if found:
            trouble.append(f"{row.subject}/{row.clip}: {found}")
        elif read_image(files[0].path).shape != (8, 8, 3):
            trouble.append(f"{row.subject}/{row.clip}: not the image")
    return trouble


def casme_sq(
    root: Path, rows: Sequence[Sequence[Any]] = CASME_SQ_ROWS, videos: Sequence[Sequence[Any]] = CASME_SQ_VIDEOS
) -> Path:
    """CAS(ME)²: three headerless sheets; clips cut out, cropped (except one) and as whole recordings."""
    ids = [[15, "s15", 1], [24, "s24", 8], [40, "s40", 22]]
    write_workbook(root / CASME_SQ_FILE, CASFEcode_final=rows, naming_rule1=ids, naming_rule2=videos)
    for folder, first, last, name in (
        ("selectedpic/s15/anger1_1", 557, 608, "img{}.jpg"),
        ("selectedpic/s15/Disgust2_1", 10, 20, "img{:03d}.JPG"),
        ("selectedpic/s24/happy5_10", 5, 11, "img{}.jpg"),
        ("selectedpic/S40/happy1_2", 7, 18, "img{:04d}.jpg"),
        ("selectedpic/S40/happy1_3", 30, 40, "img{}.jpg"),
        ("cropped/15/disgust2_1", 10, 20, "img{}.jpg"),
        ("cropped/40/happy1_2", 7, 18, "img{}.jpg"),
        ("rawpic/s15/15_0401girlcrashing", 550, 611, "img{:03d}.jpg"),
        ("rawpic/s15/15_0102eatingworms", 1, 29, "img{:03d}.jpg"),
        ("rawpic/s24/24_0508funnyerrors", 1, 19, "img{:03d}.jpg"),
        ("rawpic/S40/40_0502funnybaby", 1, 59, "img{:03d}.jpg"),
    ):
        write_frames(root / folder, range(first, last + 1), name)
    return root


def casme3a(root: Path, rows: Sequence[Sequence[Any]] = CASME3A_ROWS) -> Path:
    """CAS(ME)³ A: whole recordings in colour and depth, and the clips cut out; names in other letter case."""
    lines = [CASME3A_HEADER, [None] * 8, *rows]
    write_workbook(root / CASME3A_FILE, readme=[["labels of version 2"]], label=lines)
    for subject, recording, last in (("spNO.1", "a", 20), ("spNO.2", "j", 10)):
        write_frames(root / "part_A" / subject / recording / "color", range(1, last), "{}.jpg")
        write_frames(root / "part_A" / subject / recording / "depth", range(1, last), "{}.png")
    for name, numbers in {"spNo.1_a_3": (3, 9), "spNo.1_a_10": (10, 13), "spNo.2_j_1": (1, 5)}.items():
        write_frames(root / "Part_A_ME_clip" / "frame" / name, range(*numbers), "{}.jpg")
    return root


def casme3c(root: Path) -> Path:
    """CAS(ME)³ C: clips cut out for one subject, one whole recording for the other."""
    write_workbook(root / CASME3C_FILE, mockCrimeME=[CASME3C_HEADER, *CASME3C_ROWS])
    for kind, name in (("color", "{}.jpg"), ("depth", "{}.png")):
        for folder, numbers in {"01/1": range(100, 105), "01/2": range(110, 114), "23/a": range(1, 30)}.items():
            write_frames(root / "part_C" / folder / kind, numbers, name)
    return root


def dfme(root: Path) -> Path:
    """DFME: three workbooks, one in a folder and one without labels; clips in two places, mixed frame rates."""
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


CASME_HEADER = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"]
CASME_ROWS: list[list] = [
    # Several clips in one folder, subjects as number and as text, an invalid apex.
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
    ["10", "S10-04-001", 1, 2, 4, None, "disgust", None],  # 'others' by its name
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
    "s1_po_02": ("positive", range(99998, 100003)),  # from 5 digits to 6: sorted as text, the order would differ
    "s3_sur_05": ("surprise", range(12345678, 12345683)),
    "s18_sur_03": ("surprise", range(700, 704)),
    "s18_ne_10": ("negative", range(900, 903)),
}


def smic_raw(tree: Path) -> None:
    """Write HS as `tree`: subjects, micro, emotions, clips; with the non-micro clips of one subject."""
    for clip, (emotion, numbers) in SMIC_CLIPS.items():
        write_files(tree / clip.split("_")[0] / "micro" / emotion / clip, (f"image{n:06d}.bmp" for n in numbers))
    write_files(tree / "s1" / "non-micro" / "s1_ne_77", ["image000001.bmp"])
    (tree / "s1" / "readme.txt").write_text("s1_ne_99")


def smic_cropped(tree: Path) -> None:
    """Write HS with the owners' crops: s18_sur_03 is empty, s3_sur_05 lacks a frame."""
    for clip, (emotion, numbers) in SMIC_CLIPS.items():
        there = {"s18_sur_03": [], "s3_sur_05": [n for n in numbers if n % 10 != 0]}.get(clip, [*numbers])
        write_files(tree / clip.split("_")[0] / "micro" / emotion / clip, (f"reg_image{n:06d}.bmp" for n in there))


def smic_e(tree: Path) -> None:
    """SMIC-E: two-digit subjects, no folders of emotions, JPEG."""
    for clip, (_, numbers) in SMIC_CLIPS.items():
        subject, rest = clip.split("_", 1)
        name = f"s{subject[1:].zfill(2)}"
        write_files(tree / name / f"{name}_{rest}", (f"{n:06d}.jpg" for n in numbers))


def casme(root: Path, folder: str = "Selected", prefix: str = "") -> None:
    """CASME's workbook and frames; 06/EP02_5 contains both of its clips and frames outside them."""
    save(root / "casme.xlsx", [CASME_HEADER, *CASME_ROWS, [None]])
    frames = root / folder
    write_files(frames / "sub01" / "EP01_5", (f"{prefix}EP01_5-{n}.jpg" for n in range(8, 17)))
    write_files(frames / "Sub06" / "ep02_5", (f"{prefix}EP02_5-{n}.jpg" for n in range(1, 25)))  # other letter case
    write_files(frames / "sub08" / "EP12_2_1", (f"{prefix}EP12_2_1-{n:03d}.jpg" for n in range(98, 103)))


def mmew(root: Path) -> None:
    """Workbook and crops; S10-04-001 is in the folder of its name's emotion; one folder differs in letter case."""
    save(root / "MMEW_Micro_Exp.xlsx", [MMEW_HEADER, *MMEW_ROWS])
    places = [("happiness", "S01-01-001", 7), ("Surprise", "s02-02-003", 5), ("others", "S10-04-001", 4)]
    for emotion, clip, last in [*places, ("anger", "S30-07-002", 3)]:
        write_files(root / "Micro_Expression" / emotion / clip, (f"{n}.jpg" for n in range(1, last + 1)))


def fourdme(root: Path) -> None:
    """4DME's workbook and the frames of its greyscale camera."""
    save(root / "4DME_Labelling_Micro_release v1.xlsx", [FOURDME_HEADER, *FOURDME_ROWS])
    for subject, clip, _, _, onset, _, offset, *_ in FOURDME_ROWS:
        write_files(root / "gray_micro" / str(subject) / clip, (f"{n:05d}.png" for n in range(onset, offset + 1)))


CASME2_ROWS: list[list] = [
    ["01", "EP02_01f", None, 46, 49, 54, None, 12, "happiness"],
    ["01", "EP03_02", None, 9, 12, 17, None, "4+7", "disgust"],
    ["17", "EP01_02", None, 98, 101, 106, None, "1+2", "surprise"],
]
CASME2_OBJECTIVE = [[1, "EP02_01f", 1], [1, "EP03_02", 3], [17, "EP01_02", 2]]
SAMM_ROWS: list[list] = [
    ["006", "006_1_2", 1, 5562, 5566, 5570, "=F2-D2+1", "Micro - 1/2", "4+7", "Anger", 3, None],
    ["011", "011_1_1", 1, 98, 102, 107, "=F3-D3+1", "Micro - 1/2", 12, "Happiness", 1, None],
]


def casme2(root: Path) -> Path:
    """Both sheets of labels, which agree, the objective classes and the clips."""
    for name in ("CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"):
        save(root / name, [CASME2_HEADER, *CASME2_ROWS])
    objective_classes(root, CASME2_OBJECTIVE)
    for subject, clip, _, onset, _, offset, *_ in CASME2_ROWS:
        folder = root / "CASME2_RAW_selected" / f"sub{subject}" / clip
        write_frames(folder, range(onset, offset + 1))
    return root


def objective_classes(root: Path, rows: list[list], header: str = "Objective Class") -> None:
    """CASME II's workbook of objective classes: subject, clip, class."""
    save(root / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", header], *rows])


def samm(root: Path) -> Path:
    """The workbook with text above its header, and the clips, with inconsistently padded numbers."""
    save(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*[["prose"]] * 13, SAMM_HEADER, *SAMM_ROWS])
    for subject, clip, _, onset, _, offset, *_ in SAMM_ROWS:
        write_frames(root / subject / clip, range(onset, offset + 1), subject + "_{:05d}.jpg")
    return root


def megc2018(root: Path) -> Path:
    """CASME II and SAMM."""
    casme2(root / "casme2")
    samm(root / "samm")
    return root


def megc2019(root: Path) -> Path:
    """SMIC-HS, CASME II and SAMM."""
    smic_raw(root / "smic" / "HS")
    return megc2018(root)


def cd6me(root: Path) -> Path:
    """Six datasets."""
    casme(root / "casme")
    fourdme(root / "fourdme")
    mmew(root / "mmew")
    casme3a(root / "casme3a")
    return megc2018(root)


WRITERS: dict[type[FaceDataset], Callable] = {
    CASME: casme, CASME2: casme2, SAMM: samm,
    CASMESquared: casme_sq, CASME3A: casme3a, CASME3C: casme3c, MMEW: mmew,
    FourDME: fourdme, DFME: dfme,
}  # fmt: skip
