"""The synthetic data set as written: layout, determinism, controls, faces. MTCNN is the real one."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.data.synthetic.layouts import SammLayout
from fdp_lightning.data.synthetic.photograph import Photograph, find_portraits
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly

SMALL = SyntheticFaces(subjects=2, clips_per_emotion=1, min_frames=8, max_frames=10)
CLASSES = {"happiness", "disgust", "repression", "surprise", "others"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[SyntheticFaces], Path]:
    """Write a data set once per settings."""
    roots = {}

    def write(settings: SyntheticFaces) -> Path:
        if settings not in roots:
            roots[settings] = tmp_path_factory.mktemp("synthetic") / "data"
            settings.write(roots[settings])
        return roots[settings]

    return write


def truth_of(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "ground_truth.csv", dtype={"subject": str, "action_units": str})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def frame_files(root: Path, row: Any) -> list[Path]:
    folder = root / "CASME2_RAW_selected" / f"sub{row.subject}" / row.clip
    return [folder / f"img{number}.jpg" for number in range(row.onset, row.offset + 1)]


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)


def test_casme2_layout(written: Callable[[SyntheticFaces], Path]) -> None:
    root = written(replace(SMALL, clips_per_emotion=2))
    sheet = load_workbook(root / "CASME2-coding-20190701.xlsx")["Sheet1"]
    header, *rows = sheet.iter_rows(values_only=True)
    assert [*header[:3]] == ["Subject", "Filename", None]
    assert [*header[3:]] == [
        "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion",
    ]  # fmt: skip
    counts = Counter((row[0], row[8]) for row in rows)
    assert counts == dict.fromkeys(product(("01", "02"), CLASSES), 2)  # two of each, the subject as text
    assert len({(row[0], row[1].lower()) for row in rows}) == len(rows)
    for subject, clip, _, onset, apex, offset, _, units, _ in rows:
        assert isinstance(onset, int) and onset < apex < offset and 8 <= offset - onset + 1 <= 10
        assert isinstance(units, int) or not units.isdigit()
        folder = root / "CASME2_RAW_selected" / f"sub{subject}" / clip
        assert {p.name for p in folder.iterdir()} == {f"img{n}.jpg" for n in range(onset, offset + 1)}
    picture = cv2.imread(str(folder / f"img{onset}.jpg"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (240, 320, 3) and np.ptp(picture.astype(int), axis=2).max() > 5
    assert sum(p.is_dir() for p in (root / "CASME2_RAW_selected").rglob("*")) == 2 + len(rows)


SAMM_HEADER = """Subject, Filename, Inducement Code, Onset Frame, Apex Frame, Offset Frame, Duration, Micro, \
Action Units, Estimated Emotion, Objective Classes, Notes"""


def test_samm_layout(written: Callable[[SyntheticFaces], Path]) -> None:
    root = written(replace(SMALL, layout="samm"))
    lines = list(load_workbook(root / "SAMM_Micro_FACS_Codes_v2.xlsx").active.iter_rows(values_only=True))
    header, rows = lines[13], lines[14:]
    assert ", ".join(header) == SAMM_HEADER
    assert not any("Subject" in line for line in lines[:13])
    assert len(rows) == 10
    for number, row in enumerate(rows, start=15):
        assert row[6] == f"=F{number}-D{number}+1" and row[10] in range(1, 8)
        names = sorted(p.name for p in (root / row[0] / row[1]).iterdir())
        assert len({len(name) for name in names}) == 1
        assert [int(name[4:-4]) for name in names] == list(range(row[3], row[5] + 1))
        if row[9] == "Contempt":
            assert {unit[0] for unit in str(row[8]).split("+")} <= {"L", "R"}
    assert {len(p.name) for p in root.rglob("*.jpg")} == {12, 13}, "both paddings should occur in ten clips"
    assert cv2.imread(str(next(root.rglob("*.jpg"))), cv2.IMREAD_UNCHANGED).ndim == 2
    assert len(SammLayout.subjects) == 29 and SammLayout.subjects[-1] == "037"
    with pytest.raises(UserError, match="subjects=30"):
        replace(SMALL, subjects=30, layout="samm")


def test_bytes_depend_on_settings_alone(written: Callable[[SyntheticFaces], Path], tmp_path: Path) -> None:
    SMALL.write(tmp_path / "shared", workers=2)
    assert files_of(tmp_path / "shared") == files_of(written(SMALL))
    assert set(files_of(written(replace(SMALL, seed=1)))) != set(files_of(written(SMALL)))


def test_the_apex_is_where_the_face_differs_most_from_the_onset(written: Callable[[SyntheticFaces], Path]) -> None:
    root = written(replace(SMALL, noise=0.0, min_frames=16, max_frames=20))
    for row in truth_of(root).itertuples():
        onset, *rest = [grey(path) for path in frame_files(root, row)]
        difference = np.array([0, *(np.abs(frame - onset).mean() for frame in rest)])
        # Two units need not peak at quite the same time, and pictures are not proportional to displacement.
        assert abs(difference.argmax() - (row.apex - row.onset)) <= 2, row
        assert difference[row.apex - row.onset] > 2 * difference[1]


def test_motion_scales_with_amplitude_and_vanishes_without(written: Callable[[SyntheticFaces], Path]) -> None:
    differences, peaks = {}, {}
    for amplitude in (0.0, 0.5, 1.0):
        root = written(replace(SMALL, subjects=1, noise=0.0, amplitude=amplitude))
        peaks[amplitude] = truth_of(root)["peak_px"]
        pairs = [(frame_files(root, row), row.apex - row.onset) for row in truth_of(root).itertuples()]
        changes = [np.abs(grey(files[apex]) - grey(files[0])).mean() for files, apex in pairs]
        differences[amplitude] = np.array(changes)
    assert (differences[0.0] == 0).all() and (peaks[0.0] == 0).all()
    assert (differences[0.5] > 0.01).all() and (differences[1.0] > 1.3 * differences[0.5]).all()
    assert np.allclose(2 * peaks[0.5], peaks[1.0], atol=1e-3)


def test_static_control_is_still(written: Callable[[SyntheticFaces], Path]) -> None:
    static = replace(SMALL, control="static")
    quiet, noisy = written(replace(static, noise=0.0)), written(static)
    for row in truth_of(quiet).itertuples():
        assert len({path.read_bytes() for path in frame_files(quiet, row)}) == 1
    for row in truth_of(noisy).itertuples():
        assert len({path.read_bytes() for path in frame_files(noisy, row)}) == row.offset - row.onset + 1
        frames = np.stack([grey(path) for path in frame_files(noisy, row)])
        # Fresh noise alone: every frame is as far from the mean as any other, with no trend.
        away = np.abs(frames - frames.mean(axis=0)).mean(axis=(1, 2))
        assert away.max() < 1.1 * away.min()
    labels = ["subject", "clip", "emotion", "action_units", "onset", "apex", "offset", "clip_seed"]
    assert truth_of(noisy)[labels].equals(truth_of(written(SMALL))[labels])
    assert (truth_of(noisy)["peak_px"] == 0).all()


def test_reversed_control_is_the_same_clips_backwards(written: Callable[[SyntheticFaces], Path]) -> None:
    forward, backward = written(SMALL), written(replace(SMALL, control="reversed"))
    then, now = truth_of(forward), truth_of(backward)
    for before, after in zip(then.itertuples(), now.itertuples(), strict=True):
        contents = [path.read_bytes() for path in frame_files(forward, before)]
        assert [path.read_bytes() for path in frame_files(backward, after)] == contents[::-1]
        assert after.apex - after.onset == before.offset - before.apex
    same = ["subject", "clip", "emotion", "action_units", "onset", "offset", "peak_px", "clip_seed"]
    assert now[same].equals(then[same])


WRONG = [
    ("control", "revers"), ("course", "wilder"), ("layout", "smic"), ("subjects", 0), ("subjects", 100), ("seed", -1),
]  # fmt: skip
WRONG += [("min_frames", 7), ("max_frames", 7), ("amplitude", -0.1), ("noise", float("nan")), ("height", 20)]
WRONG += [("clips_per_emotion", 0), ("portraits", "/no/such/folder")]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_wrong_settings_are_named(option: str, value: float | int | str) -> None:
    with pytest.raises(UserError, match=f"{option}=.*expected"):
        replace(SMALL, **{option: value})


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            SMALL.write(root, workers=workers, progress=stop_after_three)
        assert list(tmp_path.iterdir()) == []


def stop_after_three(done: int, total: int) -> None:
    assert total == 10
    if done == 3:
        raise KeyboardInterrupt


def test_leftovers_of_the_dead_are_removed_and_the_finished_kept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover = tmp_path / f".data.{socket.gethostname()}.{dead.pid}.partial"
    leftover.mkdir()
    (leftover / "img1.jpg").touch()
    living = tmp_path / f".data.{socket.gethostname()}.1.partial"
    living.mkdir()
    seen, root, settings = [], tmp_path / "data", replace(SMALL, subjects=1)
    settings.write(root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [living.name, "data"]
    settings.write(root, progress=lambda *_: pytest.fail("it is already there"))
    with pytest.raises(UserError, match="exists"):
        replace(settings, seed=5).write(root)


def test_mtcnn_finds_one_plausible_face_of_each_default_subject(tmp_path: Path) -> None:
    from facenet_pytorch import MTCNN

    settings = SyntheticFaces(clips_per_emotion=1, min_frames=8, max_frames=8)
    settings.write(tmp_path / "data")
    rows = truth_of(tmp_path / "data").itertuples()
    onsets = [cv2.imread(str(frame_files(tmp_path / "data", row)[0]))[..., ::-1].copy() for row in rows]
    assert len(onsets) == 12 * 5
    boxes, probabilities, landmarks = MTCNN(select_largest=True).detect(onsets, landmarks=True)
    for box, probability, points in zip(boxes, probabilities, landmarks, strict=True):
        assert box is not None and len(box) == 1
        (left, top, right, bottom), points = np.asarray(box[0], float), np.asarray(points[0], float)
        assert probability[0] > 0.95
        assert 80 < right - left < 160 and 90 < bottom - top < 200
        assert left > -5 and right < 325 and top > -5 and bottom < 245
        assert 35 < np.hypot(*(points[1] - points[0])) < 70
        assert (points[3:, 1] > points[2, 1]).all() and (points[2, 1] > points[:2, 1]).all()
    faces = np.stack([cv2.resize(onset[60:220, 80:240], (16, 16)) for onset in onsets]).reshape(12, 5, -1)
    between, within = faces.mean(axis=1).std(axis=0).mean(), faces.std(axis=1).mean()
    assert between > within, "subjects should differ more than the clips of one"


def test_own_portraits(tmp_path: Path) -> None:
    from skimage import data

    folder = tmp_path / "portraits"
    folder.mkdir()
    with pytest.raises(UserError, match="no picture"):
        SyntheticFaces(portraits=str(folder))
    cv2.imwrite(str(folder / "a.png"), cv2.resize(data.astronaut()[:300, 60:400, ::-1], None, fx=1.5, fy=1.5))
    (photograph,) = find_portraits(folder)
    expected = (np.array(Photograph().landmarks) - (60, 0)) * 1.5
    assert np.abs(np.array(photograph.landmarks) - expected).max() < 6
    settings = replace(SMALL, subjects=1, portraits=str(folder))
    settings.write(tmp_path / "data")
    assert str(tmp_path) not in (tmp_path / "data" / "synthetic.json").read_text()
    assert settings.digest() != replace(SMALL, subjects=1).digest()
    cv2.imwrite(str(folder / "b.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(UserError, match=r"no face found in b\.png"):
        settings.write(tmp_path / "again")
    assert not (tmp_path / "again").exists()
