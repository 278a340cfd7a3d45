"""Annotations with the published counts and known quirks of every dataset; their clips are invented."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

from tests.data import layouts
from tests.data.layouts import CASME2_HEADER, SAMM_HEADER, save, write_files

# (subject, clip) → onset, apex, offset, action units, emotion of 2014: rows with known quirks.
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


def casme2_rows(labels: str) -> list[list]:
    """255 rows; subjects 10 and 18 have no clip of the three classes, 18 also none of fear or sadness."""
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
    objective = [[int(subject), clip, number] for (subject, clip), number in zip(keys, classes, strict=True)]
    layouts.objective_classes(root, objective)
    return root


def samm_rows() -> list[list]:
    """159 rows; 024 and 036 have none of the five classes, 025 only 'Other', 21 subjects have objective classes I-V."""
    left = dict(SAMM_EMOTIONS)
    rows = []
    for (subject, clip), (onset, apex, offset, units, emotion) in SAMM_KNOWN.items():
        end = 5739 if clip == "013_1_9" else offset
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
    free = [row for row in rows if row[0] in SAMM_SUBJECTS[:-8]]
    in_turns = sorted(free, key=lambda row: [r for r in free if r[0] == row[0]].index(row))
    one_to_five = spread({n: c for n, c in SAMM_OBJECTIVE.items() if n <= 5})
    numbers = dict(zip(map(id, in_turns), one_to_five, strict=False))
    others = iter([6] * 7 + [7] * 84)
    return [[*row, numbers.get(id(row)) or next(others), None] for row in rows]


def write_samm(root: Path) -> Path:
    """The sheet with text above its header."""
    prose = [[f"prose {n}"] for n in range(13)]
    save(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*prose, SAMM_HEADER, *samm_rows()])
    return root


def spread(counts: dict) -> list:
    """Return each class as often as counted, rare ones spread among frequent ones, so that no subject has only one."""
    places = [((k + 0.5) / count, name) for name, count in counts.items() for k in range(count)]
    return [name for _, name in sorted(places)]


def in_turn(emotions: dict[str, int], subjects: Iterable[int]) -> Iterator[tuple[int, int, str]]:
    """Yield (number, subject, emotion) for the given counts of each emotion, assigned to the subjects in turn."""
    for number, (subject, emotion) in enumerate(zip(cycle(subjects), spread(emotions), strict=False)):
        yield number, subject, emotion


CASME_EMOTIONS = {
    "tense": 68, "disgust": 45, "repression": 39, "surprise": 20, "happiness": 7, "sadness": 6, "contempt": 2,
    "fear": 2,
}  # fmt: skip

MICRO_EMOTIONS = {"negative": 21, "others": 19, "surprise": 9, "positive": 8}
MACRO_EMOTIONS = {"negative": 105, "others": 63, "surprise": 16, "positive": 116}
NO_OFFSET, APEX_OUTSIDE = 44, 4

CASME3A_EMOTIONS = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55}
CASME3A_OBJECTIVE = {"I": 15, "II": 151, "III": 234, "IV": 37, "V": 47, "VI": 3, "VII": 373}
CASME3A_WRONG = [
    ["spNO.149", "d", 112, 83, 170, "4", "II", "anger"], ["spNO.216", "d", 3647, 2655, 2667, "4", "II", "anger"],
    ["spNO.40", "e", 1812, 1830, 0, "4", "II", "fear"], ["spNO.40", "e", 2327, 2380, 0, "4", "II", "fear"],
    ["spNO.216", "e", 0, 0, 9, "4", "II", "sad"], ["spNO.214", "c", 22, 28, 3460, "4", "II", "disgust"],
]  # fmt: skip
CASME3A_SUBJECTS = [f"spNO.{n}" for n in (*range(1, 92), 149, 214, 216)]

CASME3C_EMOTIONS = {"negative": 99, "surprise": 30, "others": 20, "positive": 16}


def write_casme_sq(root: Path) -> Path:
    """357 rows of 22 participants; 9 have micro-expressions of the three classes, 14 of the four.

    The sheets of participants and videos are missing; the adapter knows their contents.
    """
    rows: list[list] = []
    for kind, emotions, of_others, of_the_rest in (
        (layouts.MICRO, MICRO_EMOTIONS, range(1, 15), range(1, 10)),
        (layouts.MACRO, MACRO_EMOTIONS, range(22, 0, -1), range(1, 22)),
    ):
        for emotion, count in emotions.items():
            participants = cycle(of_others if emotion == "others" else of_the_rest)
            for participant, _ in zip(participants, range(count), strict=False):
                clip, onset = f"happy1_{len(rows)}", 300 * len(rows) + 1
                rows.append([participant, clip, onset, onset + 5, onset + 10, "4+7", emotion, kind, "anger"])
    macro = [row for row in rows if row[7] == layouts.MACRO]
    for row in macro[:NO_OFFSET]:
        row[4] = 0
    for row, apex in zip(macro[-APEX_OUTSIDE:], (-3, -40, 200, 90), strict=True):
        row[3] = row[2] + apex
    for place, units in {3: None, 60: None, 61: "14or23", 62: "10or11"}.items():
        rows[place][5] = units
    return layouts.write_workbook(root / layouts.CASME_SQ_FILE, CASFEcode_final=rows).parent


def write_casme3a(root: Path) -> Path:
    """860 rows of 94 subjects, six of whom have only `others`; 54 have the apex at the onset, and six are wrong."""
    wrong = Counter(row[7] for row in CASME3A_WRONG)
    emotions = spread({name: count - wrong[name] for name, count in CASME3A_EMOTIONS.items()})
    objective = spread(CASME3A_OBJECTIVE | {"II": CASME3A_OBJECTIVE["II"] - len(CASME3A_WRONG)})
    others, rest = cycle(CASME3A_SUBJECTS), cycle(CASME3A_SUBJECTS[6:])
    rows = []
    for number, (emotion, label) in enumerate(zip(emotions, objective, strict=True)):
        subject, onset = next(others if emotion == "others" else rest), 100 * number + 1
        apex = onset + 11 * (number >= 54)
        emotion = emotion.title() if emotion == "others" and number % 2 else emotion
        rows.append([subject, "f", onset, apex, onset + 21, 4 if number % 3 else "4+7", label, emotion])
    lines = [layouts.CASME3A_HEADER, *rows, *CASME3A_WRONG]
    return layouts.write_workbook(root / layouts.CASME3A_FILE, readme=[["labels of version 2"]], label=lines).parent


def write_casme3c(root: Path) -> Path:
    """165 rows of 30 subjects, one with a full-width comma, and a row of subject 22, who has no clip."""
    rows: list[list] = [[22, None, None, None, None, None, None, "p22"]]
    for number, subject, emotion in in_turn(CASME3C_EMOTIONS, [n for n in range(1, 32) if n != 22]):
        units = "1，2" if number == 7 else "4,7" if number % 2 else 12
        rows.append([subject, number // 30 + 1, None, 100, 120, units, emotion, "p"])
    rows.sort(key=lambda row: row[0])
    layouts.write_workbook(root / layouts.CASME3C_FILE, mockCrimeME=[layouts.CASME3C_HEADER, *rows])
    return root


def write_casme(root: Path) -> Path:
    """189 rows of 18 subjects; 06/EP02_5 contains six."""
    rows: list[list] = []
    for number, subject, emotion in in_turn(CASME_EMOTIONS, range(1, 19)):
        subject, onset = (6, 20 * number + 4) if number < 6 else (subject, 30)
        clip = "EP02_5" if number < 6 else f"EP{number:03d}"
        cell = f"{subject:02d}" if number % 2 else subject
        rows.append([cell, clip, None, onset, onset + 4, onset + 5, onset + 9, None, "4+7", emotion])
    return save(root / "casme.xlsx", [layouts.CASME_HEADER, *rows]).parent


DFME_TRAIN = {
    "disgust": 548, "surprise": 298, "sadness": 278, "fear": 265, "happiness": 206, "anger": 161, "contempt": 100,
}  # fmt: skip
DFME_TESTS = {
    "test_a": {"disgust": 99, "surprise": 99, "sadness": 76, "fear": 70, "happiness": 60, "anger": 40, "contempt": 30},
    "test_b": {"disgust": 80, "surprise": 60, "sadness": 49, "fear": 40, "happiness": 30, "anger": 25, "contempt": 15},
}  # fmt: skip
DFME_SUBJECTS = {"train": range(1, 177), "test_a": range(300, 342), "test_b": range(400, 441)}

MMEW_EMOTIONS = {
    "surprise": 89, "disgust": 72, "others": 66, "happiness": 36, "fear": 16, "sadness": 13, "anger": 8,
}  # fmt: skip
_MMEW_CODES = ("happiness", "surprise", "disgust", "others", "fear", "sadness", "anger")

FOURDME_EMOTIONS = {
    "Negative": 90, "Positive": 30, "Surprise": 30, "Repression": 6, "Others": 44, "Negative+Repression": 50,
    "Positive+Surprise": 17,
}  # fmt: skip

SMIC_SUBJECTS = [*range(1, 7), 8, 9, *range(11, 16), *range(18, 21)]
SMIC_EMOTIONS = {"ne": 70, "po": 51, "sur": 43}
SMIC_QUIRKS = ["s18_sur_03", "s3_po_08", "s3_sur_01", "s3_sur_05", "s3_ne_16"]
_FOLDERS = {"ne": "negative", "po": "positive", "sur": "surprise"}


def write_dfme(root: Path) -> Path:
    """Three workbooks of the parts, whose subjects are disjoint, with mixed frame rates."""
    order = sorted(DFME_TRAIN)
    for split, emotions in {"train": DFME_TRAIN, **DFME_TESTS}.items():
        rows = []
        for number, subject, emotion in in_turn(emotions, DFME_SUBJECTS[split]):
            name, count = f"sub{subject:04d}", number // len(DFME_SUBJECTS[split]) + 1
            fps = (500, 300, 200)[number % 3]
            rows.append([name, f"{name}_{count:02d}", 12, 20, 31, emotion.title(), order.index(emotion), fps, "M4+L10"])
        save(root / layouts.DFME_FILES[split], [layouts.DFME_HEADER, *rows])
    return root


def write_mmew(root: Path) -> Path:
    """300 rows of 30 subjects; subjects as number and as text, a row with only a remark."""
    rows: list[list] = []
    for number, subject, emotion in in_turn(MMEW_EMOTIONS, range(1, 31)):
        clip = f"S{subject:02d}-{_MMEW_CODES.index(emotion) + 1:02d}-{number:03d}"
        rows.append([f"S{subject:02d}" if number % 2 else subject, clip, 1, 10, 30, "4+7", emotion, None])
    remark: list = [*[None] * 7, "the apex is hard to see"]
    return save(root / "MMEW_Micro_Exp.xlsx", [layouts.MMEW_HEADER, *rows[:100], remark, *rows[100:]]).parent


def write_fourdme(root: Path) -> Path:
    """267 rows, 67 of them with two emotions."""
    rows = []
    for number, subject, emotion in in_turn(FOURDME_EMOTIONS, range(1, 42)):
        marks = [int(name in emotion) for name in ("Positive", "Negative", "Surprise", "Repression", "Others")]
        units = "4+7(k)" if number % 2 else 4
        rows.append([subject, f"clip_{number}", 1, emotion, 12, 15, 18, units, None, 1, *marks, None, sum(marks)])
    return save(root / "4DME_Labelling_Micro_release v1.xlsx", [layouts.FOURDME_HEADER, *rows]).parent


def write_smic(root: Path, cropped: bool) -> Path:
    """164 clips in the tree of SMIC-HS; among the crops, one clip is empty and four lack a frame."""
    clips = list(SMIC_QUIRKS)
    for code, count in SMIC_EMOTIONS.items():
        left = count - sum(code in name.split("_") for name in SMIC_QUIRKS)
        subjects = cycle(SMIC_SUBJECTS)
        clips += [f"s{next(subjects)}_{code}_{20 + number // 16:02d}" for number in range(left)]
    for place, clip in enumerate(clips):
        subject, code, _ = clip.split("_")
        numbers = [*range(61206 + place, 61210 + place)]
        if cropped and clip in SMIC_QUIRKS:
            numbers = [] if clip == SMIC_QUIRKS[0] else [numbers[0], *numbers[2:]]
        name = "reg_image{:06d}.bmp" if cropped else "image{:06d}.bmp"
        folder = root / "HS" / subject / "micro" / _FOLDERS[code] / clip
        write_files(folder, (name.format(number) for number in numbers))
    return root
