"""Layouts of CASME II and SAMM: where and how frames and annotations are stored."""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

import numpy as np
from openpyxl import Workbook

from fdp_lightning.data.synthetic.action_units import CASME2_EMOTIONS, SAMM_EMOTIONS, Action, Emotion, code

# The workbooks state that they are synthetic; the date is fixed so that equal settings produce equal bytes.
NOTICE = "SYNTHETIC: drawn by fdp_lightning, not recorded from any person. Not CASME II, not SAMM."
EPOCH = datetime(2000, 1, 1)


@dataclass(frozen=True)
class DrawnRow:
    """Row of a drawn clip in the annotation table, with frame numbers as in the files, and its ground truth."""

    subject: str
    clip: str
    emotion: str
    actions: tuple[Action, ...]
    onset: int
    apex: int
    offset: int
    digits: int  # digits to which the frame numbers are padded
    peak: float  # largest displacement, in pixels of the frame
    residual: float  # fraction of the motion left at the end
    seed: int  # seed of the clip
    moving: tuple[int, ...]  # first and last frame in which a unit is not at rest; () if none ever moves
    nuisance: str  # meaningless additional event: none, blink or turn


class Casme2Layout:
    """CASME II: colour frames, `CASME2_RAW_selected/sub01/EP02_01f/img46.jpg`, and the coding sheet of 2019."""

    emotions: tuple[Emotion, ...] = CASME2_EMOTIONS
    grey = False
    max_subjects, max_clips = 99, 200

    def subject(self, index: int) -> str:
        return f"{index + 1:02d}"

    def clip_names(self, subject: str, count: int, rng: np.random.Generator) -> list[str]:
        """Draw names EP<film>_<event>, some with a trailing f, as irregular as in the original."""
        cells = rng.choice(19 * 12, size=count, replace=False)
        return [f"EP{cell // 12 + 1:02d}_{cell % 12 + 1:02d}{'f' if rng.random() < 0.4 else ''}" for cell in cells]

    def numbering(self, rng: np.random.Generator) -> tuple[int, int]:
        return int(rng.integers(1, 250)), 1

    def frame_path(self, row: DrawnRow, number: int) -> PurePosixPath:
        return PurePosixPath("CASME2_RAW_selected", f"sub{row.subject}", row.clip, f"img{number}.jpg")

    def write_annotations(self, root: Path, rows: Sequence[DrawnRow]) -> None:
        """Write Sheet1; the third and seventh columns are blank in the original too."""
        header = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
        lines: list[list[object]] = [[*header, "Action Units", "Estimated Emotion"]]
        for row in rows:
            frames = [row.onset, row.apex, row.offset]
            lines.append([row.subject, row.clip, None, *frames, None, unit_cell(row.actions), row.emotion])
        write_workbook(root / "CASME2-coding-20190701.xlsx", "Sheet1", lines)


class SammLayout:
    """SAMM: grey frames, `006/006_1_2/006_05562.jpg`, and a sheet with 13 rows of prose before the header."""

    emotions: tuple[Emotion, ...] = SAMM_EMOTIONS
    grey = True
    subjects = ("006", "007", *(f"{n:03d}" for n in (*range(9, 27), 28, *range(30, 38))))
    max_subjects, max_clips = len(subjects), 7 * 40

    def subject(self, index: int) -> str:
        return self.subjects[index]

    def clip_names(self, subject: str, count: int, rng: np.random.Generator) -> list[str]:
        """Draw names <subject>_<film>_<event>."""
        cells = rng.choice(self.max_clips, size=count, replace=False)
        return [f"{subject}_{cell // 40 + 1}_{cell % 40 + 1}" for cell in cells]

    def numbering(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the number of the onset frame and the clip's padding, four or five digits as in SAMM."""
        return int(rng.integers(100, 9500)), int(rng.integers(4, 6))

    def frame_path(self, row: DrawnRow, number: int) -> PurePosixPath:
        return PurePosixPath(row.subject, row.clip, f"{row.subject}_{number:0{row.digits}d}.jpg")

    def write_annotations(self, root: Path, rows: Sequence[DrawnRow]) -> None:
        """Write the sheet; Duration is a formula as in the original."""
        lines: list[list[object]] = [[NOTICE]]
        lines += [[f"(prose, line {n} of 13)"] for n in range(2, 14)]
        header = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame"]
        header += ["Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]
        lines.append([*header])
        for excel_row, row in enumerate(rows, start=len(lines) + 1):
            film = int(row.clip.split("_")[1])
            frames = [row.onset, row.apex, row.offset, f"=F{excel_row}-D{excel_row}+1"]
            labels = [unit_cell(row.actions), row.emotion, objective_class(row.actions), None]
            lines.append([row.subject, row.clip, film, *frames, "Micro - 1/2", *labels])
        write_workbook(root / "SAMM_Micro_FACS_Codes_v2.xlsx", "MICRO_ONLY", lines)


LAYOUTS: dict[str, Casme2Layout | SammLayout] = {"casme2": Casme2Layout(), "samm": SammLayout()}

# Objective classes I-VI as sets of units, for the combinations drawn here: Davison, Merghani & Yap,
# "Objective Classes for Micro-Facial Expression Recognition", J. Imaging 4(10), 2018; all others are VII.
OBJECTIVE_CLASSES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((6,), (12,), (6, 12)),
    ((1, 2), (5,), (25,), (1, 2, 25)),
    ((4,), (4, 7), (17, 24)),
    ((9,), (10,), (4, 9), (4, 7, 10)),
    ((1,), (15,), (15, 17)),
    ((1, 2, 4), (20,)),
)


def objective_class(actions: Sequence[Action]) -> int:
    """Return the objective class, 1..7, of the units without their sides."""
    units = tuple(sorted(action.unit for action in actions))
    return next((n for n, group in enumerate(OBJECTIVE_CLASSES, start=1) if units in group), 7)


def unit_cell(actions: tuple[Action, ...]) -> int | str:
    """Return the annotation cell: a number for a single two-sided unit, else text, as in both originals."""
    text = code(actions)
    return int(text) if text.isdigit() else text


def write_workbook(path: Path, sheet: str, lines: Sequence[Sequence[object]]) -> None:
    """Write a workbook with one sheet, whose bytes do not depend on the time."""
    workbook = Workbook()
    page = workbook.active
    page.title = sheet
    for line in lines:
        page.append(line)
    workbook.properties.creator = "fdp_lightning"
    workbook.properties.description = NOTICE
    workbook.properties.created = EPOCH
    buffer = io.BytesIO()
    workbook.save(buffer)
    # openpyxl writes the time of saving into the properties and into every member of the archive.
    stamp = EPOCH.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(buffer) as saved, zipfile.ZipFile(path, "w") as fixed:
        for name in saved.namelist():
            content = saved.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, content)
            member = zipfile.ZipInfo(name, date_time=EPOCH.timetuple()[:6])
            fixed.writestr(member, content, zipfile.ZIP_DEFLATED)
