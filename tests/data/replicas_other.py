"""Annotations with the published counts of DFME, MMEW, 4DME and SMIC-HS; their clips are made up."""

from itertools import cycle
from pathlib import Path

from tests.data.layouts import DFME_FILES, DFME_HEADER
from tests.data.layouts_other import FOURDME_HEADER, MMEW_HEADER, pictures, workbook
from tests.data.replicas import save, spread

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
_MMEW_CODES = {
    "happiness": 1, "surprise": 2, "disgust": 3, "others": 4, "fear": 5, "sadness": 6, "anger": 7,
}  # fmt: skip

FOURDME_EMOTIONS = {
    "Negative": 90, "Positive": 30, "Surprise": 30, "Repression": 6, "Others": 44, "Negative+Repression": 50,
    "Positive+Surprise": 17,
}  # fmt: skip

SMIC_SUBJECTS = [*range(1, 7), 8, 9, *range(11, 16), *range(18, 21)]
SMIC_EMOTIONS = {"ne": 70, "po": 51, "sur": 43}
SMIC_QUIRKS = ["s18_sur_03", "s3_po_08", "s3_sur_01", "s3_sur_05", "s3_ne_16"]
_FOLDERS = {"ne": "negative", "po": "positive", "sur": "surprise"}


def write_dfme(root: Path, rates: bool = True) -> Path:
    """Three workbooks of the parts, whose subjects are disjoint, with mixed frame rates."""
    order = sorted(DFME_TRAIN)
    for split, emotions in {"train": DFME_TRAIN, **DFME_TESTS}.items():
        subjects = cycle(DFME_SUBJECTS[split])
        rows = []
        for number, emotion in enumerate(spread(emotions)):
            subject = f"sub{next(subjects):04d}"
            clip = f"{subject}_{number // len(DFME_SUBJECTS[split]) + 1:02d}"
            fps = (500, 300, 200)[number % 3] if rates else 500
            rows.append([subject, clip, 12, 20, 31, emotion.title(), order.index(emotion), fps, "M4+L10"])
        save(root / DFME_FILES[split], [DFME_HEADER, *rows])
    return root


def write_mmew(root: Path) -> Path:
    """300 rows of 30 subjects; subjects as number and as text, a row that holds nothing but a remark."""
    subjects = cycle(range(1, 31))
    taken: dict[tuple[int, str], int] = {}
    rows: list[list] = []
    for number, emotion in enumerate(spread(MMEW_EMOTIONS)):
        subject = next(subjects)
        count = taken[subject, emotion] = taken.get((subject, emotion), 0) + 1
        clip = f"S{subject:02d}-{_MMEW_CODES[emotion]:02d}-{count:03d}"
        rows.append([f"S{subject:02d}" if number % 2 else subject, clip, 1, 10, 30, "4+7", emotion, None])
    remark: list = [*[None] * 7, "the apex is hard to see"]
    workbook(root / "MMEW_Micro_Exp.xlsx", MMEW_HEADER, [*rows[:100], remark, *rows[100:]])
    return root


def write_fourdme(root: Path) -> Path:
    """267 rows, 67 of them of two emotions at once."""
    subjects = cycle(range(1, 42))
    rows = []
    for number, emotion in enumerate(spread(FOURDME_EMOTIONS)):
        marks = [int(name in emotion) for name in ("Positive", "Negative", "Surprise", "Repression", "Others")]
        units = "4+7(k)" if number % 2 else 4
        rows.append(
            [next(subjects), f"clip_{number}", 1, emotion, 12, 15, 18, units, None, 1, *marks, None, sum(marks)]
        )
    workbook(root / "4DME_Labelling_Micro_release v1.xlsx", FOURDME_HEADER, rows)
    return root


def smic_clips() -> list[str]:
    """164 names; the ones that the cropped release is known for are among them."""
    names = list(SMIC_QUIRKS)
    for code, count in SMIC_EMOTIONS.items():
        left = count - sum(code in name.split("_") for name in SMIC_QUIRKS)
        subjects = cycle(SMIC_SUBJECTS)
        names += [f"s{next(subjects)}_{code}_{20 + number // 16:02d}" for number in range(left)]
    return names


def write_smic(root: Path, cropped: bool) -> Path:
    """The tree of SMIC-HS; of the crops one clip is empty and four miss a frame."""
    for place, clip in enumerate(smic_clips()):
        subject, code, _ = clip.split("_")
        numbers = [*range(61206 + place, 61210 + place)]
        if cropped and clip in SMIC_QUIRKS:
            numbers = [] if clip == SMIC_QUIRKS[0] else [numbers[0], *numbers[2:]]
        name = "reg_image{:06d}.bmp" if cropped else "image{:06d}.bmp"
        folder = root / "HS" / subject / "micro" / _FOLDERS[code] / clip
        pictures(folder, (name.format(number) for number in numbers))
    return root
