"""Tiny copies of CASME II and SAMM for composites; one subject of CASME II has the number of one of SMIC-HS."""

import shutil
from pathlib import Path

from tests.data import layouts, layouts_other
from tests.data.replicas import CASME2_HEADER, SAMM_HEADER, save

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
    """Both sheets of labels, which say the same, the objective classes and the clips."""
    for name in ("CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"):
        save(root / name, [CASME2_HEADER, *CASME2_ROWS])
    objective_classes(root, CASME2_OBJECTIVE)
    for subject, clip, _, onset, _, offset, *_ in CASME2_ROWS:
        folder = root / "CASME2_RAW_selected" / f"sub{subject}" / clip
        layouts.write_frames(folder, range(onset, offset + 1))
    return root


def objective_classes(root: Path, rows: list[list]) -> None:
    """CASME II's workbook of objective classes: subject, clip, class."""
    save(root / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", "Objective Class"], *rows])


def samm(root: Path) -> Path:
    """The workbook with its prose, and the clips, whose numbers are padded as each likes."""
    save(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*[["prose"]] * 13, SAMM_HEADER, *SAMM_ROWS])
    for subject, clip, _, onset, _, offset, *_ in SAMM_ROWS:
        layouts.write_frames(root / subject / clip, range(onset, offset + 1), subject + "_{:05d}.jpg")
    return root


def megc2018(root: Path) -> Path:
    """CASME II and SAMM."""
    casme2(root / "casme2")
    samm(root / "samm")
    return root


def megc2019(root: Path) -> Path:
    """SMIC-HS, CASME II and SAMM."""
    layouts_other.smic_raw(root / "smic" / "HS")
    return megc2018(root)


def cd6me(root: Path) -> Path:
    """Six datasets."""
    layouts_other.casme(root / "casme")
    layouts_other.fourdme(root / "fourdme")
    layouts_other.mmew(root / "mmew")
    layouts.casme3a(root / "casme3a")
    return megc2018(root)


def with_faces(root: Path, casme2_root: Path, samm_root: Path) -> Path:
    """Copies of two synthetic sets as MEGC2018 has them; their objective classes are I to V in turn."""
    shutil.copytree(casme2_root, root / "casme2")
    shutil.copytree(samm_root, root / "samm")
    folders = sorted((root / "casme2" / "CASME2_RAW_selected").glob("sub*/*"))
    rows = [[folder.parent.name[3:], folder.name, number % 5 + 1] for number, folder in enumerate(folders)]
    objective_classes(root / "casme2", rows)
    return root
