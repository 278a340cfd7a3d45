"""Annotation workbooks with the published counts and the known rows of the CASME family but CASME II; made-up clips."""

from itertools import cycle
from pathlib import Path

from tests.data import layouts
from tests.data.layouts_other import CASME_HEADER
from tests.data.replicas import save, spread

CASME_EMOTIONS = {
    "tense": 68, "disgust": 45, "repression": 39, "surprise": 20, "happiness": 7, "sadness": 6, "contempt": 2,
    "fear": 2,
}  # fmt: skip

MICRO_EMOTIONS = {"negative": 21, "others": 19, "surprise": 9, "positive": 8}
MACRO_EMOTIONS = {"negative": 105, "others": 63, "surprise": 16, "positive": 116}
CASME_SQ_IDS = [15, 16, *range(19, 28), *range(29, 39), 40]
CASME_SQ_VIDEOS = {
    "disgust1": "0101", "disgust2": "0102", "anger1": "0401", "anger2": "0402", "happy1": "0502", "happy2": "0503",
    "happy3": "0505", "happy4": "0507", "happy5": "0508",
}  # fmt: skip
NO_OFFSET, APEX_OUTSIDE = 44, 4

CASME3A_EMOTIONS = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55}
CASME3A_OBJECTIVE = {"I": 15, "II": 151, "III": 234, "IV": 37, "V": 47, "VI": 3, "VII": 373}
CASME3A_WRONG = {tuple(row[:3]): (row[3], row[4]) for row in layouts.CASME3A_WRONG}
"""(subject, folder, onset) → apex, offset, of the six rows known to be wrong."""
CASME3A_SUBJECTS = [f"spNO.{n}" for n in (*range(1, 92), 149, 214, 216)]
ONLY_OTHERS = CASME3A_SUBJECTS[:6]
SEVERAL_CLIPS, SINGLE_CLIPS = 191, 284
"""Folders that hold several clips, of which one is in CASME3A_WRONG, and those that hold one."""

CASME3C_EMOTIONS = {"negative": 99, "surprise": 30, "others": 20, "positive": 16}


def casme_sq_rows() -> list[list]:
    """357 rows of 22 participants; of the micro-expressions 9 have one of the three classes, 14 of the four."""
    rows: list[list] = []
    taken: dict[tuple[int, str], int] = {}
    videos = cycle(CASME_SQ_VIDEOS)

    def add(participant: int, emotion: str, length: int, expression: str) -> None:
        video = next(videos)
        number = taken[participant, video] = taken.get((participant, video), 0) + 1
        onset = 300 * number
        units = [4, "4+7", "R12+L14"][len(rows) % 3]
        said = "happyiness" if len(rows) == 100 else "disgust"
        apex, offset = onset + length // 2, onset + length - 1
        rows.append([participant, f"{video}_{number}", onset, apex, offset, units, emotion, expression, said])

    for emotion, count in MICRO_EMOTIONS.items():
        everybody = cycle(range(1, 15 if emotion == "others" else 10))
        for number in range(count):
            add(next(everybody), emotion, 9 + number % 9, layouts.MICRO)
    for emotion, count in MACRO_EMOTIONS.items():
        everybody = cycle([22, *range(1, 22)] if emotion == "others" else range(1, 22))
        for number in range(count):
            add(next(everybody), emotion, 20 + number % 60, layouts.MACRO)
    macro = [row for row in rows if row[7] == layouts.MACRO]
    for row in macro[10 : 10 + NO_OFFSET]:
        row[4] = 0
    for row, apex in zip(macro[100 : 100 + APEX_OUTSIDE], (-3, -40, 200, 90), strict=True):
        row[3] = row[2] + apex
    for place, units in {3: None, 60: None, 61: "14or23", 62: "10or11"}.items():
        rows[place][5] = units
    return rows


def write_casme_sq(root: Path, name: str = layouts.CASME_SQ_FILE) -> Path:
    """Three sheets without headers; a code that the spreadsheet took for a number."""
    ids = [[subject, f"s{subject}", number] for number, subject in enumerate(CASME_SQ_IDS, start=1)]
    videos = [[102 if code == "0102" else code, video] for video, code in CASME_SQ_VIDEOS.items()]
    sheets = {"CASFEcode_final": casme_sq_rows(), "naming_rule1": ids, "naming_rule2": videos}
    layouts.write_workbook(root / name, **sheets)
    return root


def casme3a_rows() -> list[list]:
    """860 rows in 474 folders and those of the wrong rows; six subjects have no clip but others."""
    wrong = [[*row[:6], "II", row[7]] for row in layouts.CASME3A_WRONG]
    rows = []
    subjects = cycle(CASME3A_SUBJECTS)
    for folder in range(SEVERAL_CLIPS - 1 + SINGLE_CLIPS):
        subject, letter = next(subjects), "fghijk"[folder // len(CASME3A_SUBJECTS)]
        for clip in range(3 if folder < SEVERAL_CLIPS - 1 else 1):
            rows.append([subject, letter, 100 + 200 * clip])
    emotions = dict(CASME3A_EMOTIONS)
    for row in wrong:
        emotions[row[7]] -= 1
    emotions["others"] -= sum(row[0] in ONLY_OTHERS for row in rows)
    rest = iter(spread(emotions))
    classes = dict(CASME3A_OBJECTIVE)
    classes["II"] -= len(wrong)
    objective = iter(spread(classes))
    for number, row in enumerate(rows):
        length = 61 + number if number < 71 else 7 if number < 89 else 22
        apex = row[2] if 100 <= number < 154 else row[2] + length // 2
        emotion = "others" if row[0] in ONLY_OTHERS else next(rest)
        if emotion == "others" and number % 2:
            emotion = "Others"
        row += [apex, row[2] + length - 1, 4 if number % 3 else "4+7", next(objective), emotion]
    return rows + wrong


def write_casme3a(root: Path) -> Path:
    """The workbook of version 2, with a sheet before the labels."""
    sheets = {"readme": [["labels of version 2"]], "label": [layouts.CASME3A_HEADER, *casme3a_rows()]}
    layouts.write_workbook(root / layouts.CASME3A_FILE, **sheets)
    return root


def write_casme3c(root: Path) -> Path:
    """165 rows of 30 subjects, one with a full-width comma, and that of subject 22, who has no clip."""
    subjects = cycle(n for n in range(1, 32) if n != 22)
    rows: list[list] = [[22, None, None, None, None, None, None, "p22"]]
    for number, emotion in enumerate(spread(CASME3C_EMOTIONS)):
        units = "1，2" if number == 7 else "4,7" if number % 2 else 12
        rows.append([next(subjects), number // 30 + 1, None, 100, 120, units, emotion, "p"])
    rows.sort(key=lambda row: row[0])
    layouts.write_workbook(root / layouts.CASME3C_FILE, mockCrimeME=[layouts.CASME3C_HEADER, *rows])
    return root


def write_casme(root: Path) -> Path:
    """189 rows of 18 subjects; 06/EP02_5 holds six."""
    subjects = cycle(range(1, 19))
    rows: list[list] = []
    for number, emotion in enumerate(spread(CASME_EMOTIONS)):
        subject, onset = (6, 20 * number + 4) if number < 6 else (next(subjects), 30)
        clip = "EP02_5" if number < 6 else f"EP{number:03d}"
        cell = f"{subject:02d}" if number % 2 else subject
        rows.append([cell, clip, None, onset, onset + 4, onset + 5, onset + 9, None, "4+7", emotion])
    save(root / "casme.xlsx", [CASME_HEADER, *rows])
    return root
