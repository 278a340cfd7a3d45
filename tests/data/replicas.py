"""Annotation workbooks with the published counts and the known quirks of CASME II and SAMM; their clips are made up."""

from itertools import cycle
from pathlib import Path

from openpyxl import Workbook

CASME2_HEADER = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units"]
CASME2_HEADER += ["Estimated Emotion"]
SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"]
SAMM_HEADER += ["Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]

# (subject, clip) → onset, apex, offset, action units, emotion of 2014: the rows that datasets are known for.
CASME2_KNOWN = {
    ("04", "EP12_01f"): (70, "/", 120, "4+R10", "disgust"), ("05", "EP09_05f"): (41, 41, 80, "L7+L10", "disgust"),
    ("05", "EP12_03f"): (31, 50, 80, "4", "disgust"), ("05", "EP16_04f"): (30, 90, 90, 12, "happiness"),
    ("12", "EP09_06"): (30, 90, 90, "?", "others"), ("20", "EP16_01"): (30, 90, 90, 4, "others"),
    ("25", "EP18_04f"): (30, 90, 90, 4, "others"), ("16", "EP01_08"): (31, 60, 110, 4, "others"),
    ("07", "EP06_01"): (31, 60, 100, 4, "others"), ("12", "EP09_02"): (31, 60, 100, 4, "others"),
    ("24", "EP07_01"): (31, 60, 100, "1+2", "sadness"), ("24", "EP07_04f"): (31, 60, 100, "1+2", "sadness"),
    ("24", "EP10_03"): (31, 60, 100, "1+2", "sadness"), ("10", "EP08_01"): (31, 60, 100, 1, "sadness"),
}  # fmt: skip
CASME2_EMOTIONS = {
    "others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2,
}  # fmt: skip
CASME2_OBJECTIVE = {1: 25, 2: 15, 3: 99, 4: 26, 5: 20, 6: 1, 7: 69}
CHANGED_IN_2019 = [("24", "EP07_01"), ("24", "EP07_04f"), ("24", "EP10_03")]

SAMM_SUBJECTS = ["006", "007", *(f"{n:03d}" for n in (*range(9, 27), 28, *range(30, 38)))]
SAMM_KNOWN = {
    ("028", "028_4_1"): (1071, 1143, 1134, "4+7", "Anger"), ("032", "032_3_1"): (4896, 1930, 4970, 4, "Anger"),
    ("013", "013_1_9"): (5700, 5720, 5739, 12, "Happiness"), ("007", "007_6_1"): (100, 120, 150, "4 or 7", "Anger"),
    ("007", "007_6_5"): (200, 220, 250, "12 or 14", "Other"), ("011", "011_4_2"): (100, 120, 150, "4 or 7", "Other"),
    ("014", "014_5_2"): (100, 120, 150, "4 or 7", "Other"), ("035", "035_7_2"): (100, 120, 150, "4 or 7", "Anger"),
}  # fmt: skip
SAMM_EMOTIONS = {
    "Anger": 57, "Happiness": 26, "Other": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9, "Fear": 8, "Sadness": 6,
}  # fmt: skip
SAMM_OBJECTIVE = {1: 24, 2: 13, 3: 20, 4: 8, 5: 3, 6: 7, 7: 84}


def save(path: Path, lines: list[list]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path)
    return path


def casme2_rows(labels: str) -> list[list]:
    """255 rows; subjects 10 and 18 have no clip of the three classes, 18 none of fear and sadness either."""
    left = dict(CASME2_EMOTIONS)
    rows = {}
    for (subject, clip), (onset, apex, offset, units, emotion) in CASME2_KNOWN.items():
        rows[subject, clip] = [subject, clip, None, onset, apex, offset, None, units, emotion]
        left[emotion] -= 1
    everybody = [f"{n:02d}" for n in range(1, 27)]
    others = cycle(["10", "18", *everybody])
    rest = cycle([name for name in everybody if name not in ("10", "18")])
    for emotion, count in left.items():
        for number in range(count):
            subject = next(others if emotion == "others" else rest)
            clip = f"EP{number // 9 + 1:02d}_{emotion[:3]}{number % 9 + 1:02d}" + "f" * (number % 2)
            rows[subject, clip] = [subject, clip, None, 31, 60, 100, None, 4 if number % 3 else "4+7", emotion]
    if labels == "2019":
        for key in CHANGED_IN_2019:
            rows[key][-1] = "surprise"
    return list(rows.values())


def write_casme2(root: Path) -> Path:
    """Both sheets of labels and the objective classes, subjects as numbers in the last."""
    for labels, name in {"2014": "CASME2-coding-20140508.xlsx", "2019": "CASME2-coding-20190701.xlsx"}.items():
        save(root / name, [CASME2_HEADER, *casme2_rows(labels), [None] * 9])
    classes = spread(CASME2_OBJECTIVE)
    keys = [(row[0], row[1]) for row in casme2_rows("2014")]
    lines = [[int(subject), clip, number] for (subject, clip), number in zip(keys, classes, strict=True)]
    save(root / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", "Objective Class"], *lines])
    return root


def samm_rows(offset_of_013: int = 5739) -> list[list]:
    """159 rows; 024 and 036 have none of the five classes, 025 only 'Other', 21 subjects have objective classes I-V."""
    left = dict(SAMM_EMOTIONS)
    rows = []
    for (subject, clip), (onset, apex, offset, units, emotion) in SAMM_KNOWN.items():
        end = offset_of_013 if clip == "013_1_9" else offset
        rows.append([subject, clip, 1, onset, apex, end, "=F15-D15+1", "Micro - 1/2", units, emotion])
        left[emotion] -= 1
    subjects = {
        "Disgust": cycle(["024", "036"]),
        "Other": cycle(["025", *(s for s in SAMM_SUBJECTS if s not in ("024", "036"))]),
    }
    rest = cycle([name for name in SAMM_SUBJECTS if name not in ("024", "025", "036")])
    for emotion, count in left.items():
        for number in range(count):
            subject = next(subjects.get(emotion, rest))
            clip = f"{subject}_{emotion[:2]}_{number}"
            rows.append([subject, clip, 1, 100, 120, 150, "=F15-D15+1", "Micro - 1/2", "4+7", emotion])
    left_out = sorted(SAMM_SUBJECTS)[-8:]
    free = [row for row in rows if row[0] not in left_out]
    classes = iter(spread({n: c for n, c in SAMM_OBJECTIVE.items() if n <= 5}))
    by_turns = sorted(free, key=lambda row: [r for r in free if r[0] == row[0]].index(row))
    numbers = {id(row): next(classes) for row in by_turns[:68]}
    others = iter([6] * 7 + [7] * 84)
    return [[*row, numbers.get(id(row)) or next(others), None] for row in rows]


def write_samm(root: Path, offset_of_013: int = 5739) -> Path:
    """The sheet with its prose above the header."""
    prose = [[f"prose {n}"] for n in range(13)]
    save(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*prose, SAMM_HEADER, *samm_rows(offset_of_013)])
    return root


def spread(counts: dict[int, int]) -> list[int]:
    """Each number so many times, the frequent ones among the rare, so that no subject has one kind only."""
    places = [((k + 0.5) / count, number) for number, count in counts.items() for k in range(count)]
    return [number for _, number in sorted(places)]
