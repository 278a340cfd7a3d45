"""Contact sheet of a store: aligned onset and apex side by side, a row of clips per subject."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import apex_numbers, apex_position
from fdp_lightning.data.loading.sampling import uniform
from fdp_lightning.data.store.clip_store import ClipStore
from fdp_lightning.files import write_atomic

CONTACT_SHEET = "contact_sheet.png"
_LONGEST = 60_000  # largest height, pixels, that PNG viewers open; the title states how many subjects are shown
_PAPER, _INK, _FAINT, _MARK = (255, 255, 255), (40, 40, 40), (120, 120, 120), (200, 90, 20)
_FONT, _LABEL_SCALE, _NAME_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0.36
_EDGE, _GAP, _BETWEEN, _HEADER, _CAPTION, _SUBJECT = 18, 14, 2, 58, 42, 96


def contact_sheet(store: ClipStore, clips: pd.DataFrame, pairs: int = 6, side: int = 96) -> np.ndarray:
    """Draw the sheet, RGB, uint8, (height, width, 3), of the clips in the store, with images of `side` pixels and at
    most `pairs` clips per subject, spread over its clips. Without a usable apex, the middle frame is shown.
    """
    clips = clips[store.holds(clips).to_numpy()].sort_values(["subject", "clip", "onset"])
    subjects = [(str(subject), of_one) for subject, of_one in clips.groupby("subject", sort=True)]
    cell_width, row_height = 2 * side + _BETWEEN + _GAP, side + _CAPTION
    shown = subjects[: (_LONGEST - _HEADER) // row_height]
    columns = min(pairs, max((len(of_one) for _, of_one in shown), default=1))
    width = max(2 * _EDGE + _SUBJECT + columns * cell_width, 560)
    sheet = np.full((_HEADER + len(shown) * row_height + _EDGE, width, 3), _PAPER, np.uint8)
    title = f"{store.folder.name}: {len(clips)} clips of {len(subjects)} subjects, aligned"
    left_out = f"; only the first {len(shown)} subjects" if len(shown) < len(subjects) else ""
    _write(sheet, _fitting(title, width - 2 * _EDGE, _LABEL_SCALE), (_EDGE, 24), _INK, _LABEL_SCALE)
    _write(sheet, f"left: onset, right: apex; at most {pairs} clips per subject{left_out}", (_EDGE, 44), _FAINT)
    for number, (subject, of_one) in enumerate(shown):
        top = _HEADER + number * row_height
        _write(sheet, _fitting(subject, _SUBJECT - 8, _LABEL_SCALE), (_EDGE, top + side // 2), _INK, _LABEL_SCALE)
        _write(sheet, f"{len(of_one)} clip{'s' * (len(of_one) > 1)}", (_EDGE, top + side // 2 + 18), _FAINT)
        for column, place in enumerate(uniform(len(of_one), min(pairs, len(of_one)))):
            _draw_pair(sheet, store, of_one.iloc[[place]], (_EDGE + _SUBJECT + column * cell_width, top), side)
    return sheet


def write_contact_sheet(store: ClipStore, clips: pd.DataFrame) -> Path:
    """Write the sheet to the store's folder (it is not among the verified files) and return its path."""
    _, png = cv2.imencode(".png", cv2.cvtColor(contact_sheet(store, clips), cv2.COLOR_RGB2BGR))
    path = store.folder / CONTACT_SHEET
    write_atomic(path, png.tobytes())
    return path


def _draw_pair(sheet: np.ndarray, store: ClipStore, clip: pd.DataFrame, corner: tuple[int, int], side: int) -> None:
    """Draw onset and apex of a clip, with its name and the frame numbers below."""
    (row,), (left, top) = store.rows(clip), corner
    numbers = store.frame_numbers(row)
    apex = apex_position(numbers, apex_numbers(clip)[0])
    second = len(numbers) // 2 if apex is None else apex
    for place, image in enumerate(store.read(row, np.array([0, second]))):
        # Small frames are enlarged to show what the model sees; large ones are averaged down.
        method = cv2.INTER_AREA if store.frame_shape[0] > side else cv2.INTER_CUBIC
        scaled = cv2.resize(image, (side, side), interpolation=method)
        x = left + place * (side + _BETWEEN)
        sheet[top : top + side, x : x + side] = scaled if scaled.ndim == 3 else scaled[..., None]
    _write(sheet, _fitting(str(clip["clip"].iloc[0]), 2 * side, _NAME_SCALE), (left, top + side + 12), _INK)
    note, ink = (" middle, no apex", _MARK) if apex is None else ("", _FAINT)
    _write(sheet, f"{numbers[0]} | {numbers[second]}{note}", (left, top + side + 25), ink)


def _write(
    sheet: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int], scale: float = _NAME_SCALE
) -> None:
    cv2.putText(sheet, text, place, _FONT, scale, colour, 1, cv2.LINE_AA)


def _fitting(text: str, width: int, scale: float) -> str:
    """Return text cut to a width in pixels; letters that OpenCV's font lacks become '?'."""
    text = text.encode("ascii", "replace").decode()
    kept = len(text)
    while kept > 1 and cv2.getTextSize(text, _FONT, scale, 1)[0][0] > width:
        kept -= 1
        text = text[:kept] + ".."
    return text
