"""Synthetic datasets: layout, determinism, controls, faces, motion, the wild course, and drawn films."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from skimage import data
from tests.data.layouts import CASME2_HEADER, SAMM_HEADER

from fdp_lightning.data.faces.alignment import find_face
from fdp_lightning.data.input_video.source import FrameFolder, VideoFile
from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.data.synthetic.action_units import ACTION_UNITS, CASME2_EMOTIONS, Emotion, code, warp_field
from fdp_lightning.data.synthetic.clip import KINDS, ClipPlan, _drift, plan_clip, render, stage
from fdp_lightning.data.synthetic.film import CODINGS, FILM_STREAM, draw_clip, draw_film, write_film, write_frames
from fdp_lightning.data.synthetic.generator import subject_of
from fdp_lightning.data.synthetic.identity import Framing, Photograph, find_portraits
from fdp_lightning.data.synthetic.layouts import LAYOUTS
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly


SMALL = SyntheticFaces(subjects=2, clips_per_emotion=1, min_frames=8, max_frames=10)
CLASSES = {"happiness", "disgust", "repression", "surprise", "others"}
Written = Callable[[SyntheticFaces], Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a dataset once per settings."""

    @cache
    def write(settings: SyntheticFaces) -> Path:
        root = tmp_path_factory.mktemp("synthetic") / "data"
        settings.write(root)
        return root

    return write


def truth_of(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "ground_truth.csv", dtype={"subject": str, "action_units": str})


def clips_of(root: Path) -> list[tuple[Any, list[Path]]]:
    """Return each row of the ground truth with the frames of its clip."""
    folder = root / "CASME2_RAW_selected"
    return [(row, [folder / f"sub{row.subject}" / row.clip / f"img{n}.jpg" for n in range(row.onset, row.offset + 1)])
            for row in truth_of(root).itertuples()]  # fmt: skip


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)


def test_casme2_layout(written: Written) -> None:
    root = written(replace(SMALL, clips_per_emotion=2))
    header, *rows = load_workbook(root / "CASME2-coding-20190701.xlsx")["Sheet1"].iter_rows(values_only=True)
    assert [*header] == CASME2_HEADER
    counts = Counter((row[0], row[8]) for row in rows)
    assert counts == dict.fromkeys(product(("01", "02"), CLASSES), 2)  # two of each; subjects are text
    truth = truth_of(root)[["subject", "clip", "onset", "apex", "offset", "action_units", "emotion"]]
    stated = [[*row[:2], *row[3:6], str(row[7]), row[8]] for row in rows]
    assert sorted(stated) == sorted(truth.values.tolist())
    for subject, clip, _, onset, apex, offset, *_ in rows:
        assert isinstance(onset, int) and onset < apex < offset and 8 <= offset - onset + 1 <= 10
        folder = root / "CASME2_RAW_selected" / f"sub{subject}" / clip
        assert {p.name for p in folder.iterdir()} == {f"img{n}.jpg" for n in range(onset, offset + 1)}
    image = cv2.imread(str(folder / f"img{onset}.jpg"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (240, 320, 3) and np.ptp(image.astype(int), axis=2).max() > 5


def test_samm_layout(written: Written) -> None:
    root = written(replace(SMALL, layout="samm"))
    lines = list(load_workbook(root / "SAMM_Micro_FACS_Codes_v2.xlsx").active.iter_rows(values_only=True))
    header, rows = lines[13], lines[14:]
    assert [*header] == SAMM_HEADER and not any("Subject" in line for line in lines[:13])
    assert len(rows) == 10
    for number, row in enumerate(rows, start=15):
        assert row[6] == f"=F{number}-D{number}+1" and row[10] in range(1, 8)
        names = sorted(p.name for p in (root / row[0] / row[1]).iterdir())
        assert [int(name[4:-4]) for name in names] == list(range(row[3], row[5] + 1))
    assert {len(p.name) for p in root.rglob("*.jpg")} == {12, 13}, "both paddings should occur in ten clips"
    assert cv2.imread(str(next(root.rglob("*.jpg"))), cv2.IMREAD_UNCHANGED).ndim == 2
    with pytest.raises(UserError, match="subjects is 30"):
        replace(SMALL, subjects=30, layout="samm")


def test_the_bytes_depend_on_the_settings_alone(written: Written, tmp_path: Path) -> None:
    SMALL.write(tmp_path / "shared", workers=2)
    assert files_of(tmp_path / "shared") == files_of(written(SMALL))
    assert set(files_of(written(replace(SMALL, seed=1)))) != set(files_of(written(SMALL)))


def test_the_apex_is_where_the_face_differs_most_from_the_onset(written: Written) -> None:
    root = written(replace(SMALL, noise=0.0, min_frames=16, max_frames=20))
    for row, files in clips_of(root):
        onset, *rest = map(grey, files)
        difference = np.array([0, *(np.abs(frame - onset).mean() for frame in rest)])
        # Two units may peak at slightly different times, and images are not proportional to displacement.
        assert abs(difference.argmax() - (row.apex - row.onset)) <= 2, row
        assert difference[row.apex - row.onset] > 2 * difference[1]


def test_motion_scales_with_amplitude_and_is_zero_without(written: Written) -> None:
    differences, peaks = {}, {}
    for amplitude in (0.0, 0.5, 1.0):
        root = written(replace(SMALL, subjects=1, noise=0.0, amplitude=amplitude))
        peaks[amplitude] = truth_of(root)["peak_px"]
        changes = [grey(files[row.apex - row.onset]) - grey(files[0]) for row, files in clips_of(root)]
        differences[amplitude] = np.abs(changes).mean(axis=(1, 2))
    assert (differences[0.0] == 0).all() and (peaks[0.0] == 0).all()
    assert (differences[0.5] > 0.01).all() and (differences[1.0] > 1.3 * differences[0.5]).all()
    assert np.allclose(2 * peaks[0.5], peaks[1.0], atol=1e-3)


def test_static_control_does_not_move(written: Written) -> None:
    static = replace(SMALL, control="static")
    quiet, noisy = written(replace(static, noise=0.0)), written(static)
    for _, files in clips_of(quiet):
        assert len({path.read_bytes() for path in files}) == 1
    for _, files in clips_of(noisy):
        assert len({path.read_bytes() for path in files}) == len(files)
        frames = np.stack([grey(path) for path in files])
        # Only independent noise: all frames are equally far from the mean, with no trend.
        away = np.abs(frames - frames.mean(axis=0)).mean(axis=(1, 2))
        assert away.max() < 1.1 * away.min()
    labels = ["subject", "clip", "emotion", "action_units", "onset", "apex", "offset", "clip_seed"]
    assert truth_of(noisy)[labels].equals(truth_of(written(SMALL))[labels])
    assert (truth_of(noisy)["peak_px"] == 0).all()


def test_reversed_control_has_the_same_clips_backwards(written: Written) -> None:
    forward, backward = written(SMALL), written(replace(SMALL, control="reversed"))
    for (before, frames), (after, reversed_) in zip(clips_of(forward), clips_of(backward), strict=True):
        assert [path.read_bytes() for path in reversed_] == [path.read_bytes() for path in frames[::-1]]
        assert after.apex - after.onset == before.offset - before.apex
    same = ["subject", "clip", "emotion", "action_units", "onset", "offset", "peak_px", "clip_seed"]
    assert truth_of(backward)[same].equals(truth_of(forward)[same])


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop_after_three(done: int, total: int) -> None:
        assert total == 10
        if done == 3:
            raise KeyboardInterrupt

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            SMALL.write(tmp_path / "data", workers=workers, progress=stop_after_three)
        assert list(tmp_path.iterdir()) == []


def test_leftovers_of_dead_processes_are_removed_and_a_finished_dataset_is_kept(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    leftover, living = (tmp_path / f".data.{socket.gethostname()}.{pid}.partial" for pid in (int(dead.stdout), 1))
    for folder in (living, leftover):
        folder.mkdir()
    root, settings = tmp_path / "data", replace(SMALL, subjects=1)
    settings.write(root)
    assert sorted(p.name for p in tmp_path.iterdir()) == [living.name, "data"]
    settings.write(root, progress=lambda *_: pytest.fail("it is already there"))
    with pytest.raises(UserError, match="exists"):
        replace(settings, seed=5).write(root)
    (root / "synthetic.json").write_text('{"digest": ')
    with pytest.raises(UserError, match="exists"):
        settings.write(root)


def test_mtcnn_finds_one_face_per_subject_and_subjects_differ() -> None:
    onsets = []
    for number, clip in product(range(12), range(3)):
        identity, _, _ = subject_of(SyntheticFaces(), (Photograph(),), number)
        random = np.random.default_rng([number, clip])
        plan = plan_clip(CASME2_EMOTIONS[clip], (8, 8), identity.framing, 1.0, random)
        first = next(render(stage(identity, plan, 240, 320, amplitude=1.0), 1.0, False, random))
        onsets.append(first[..., ::-1].copy())
    for face in map(find_face, onsets[::3]):
        assert (face.count, face.turn) == (1, 0) and face.confidence > 0.95
    faces = np.stack([cv2.resize(onset[60:220, 80:240], (16, 16)) for onset in onsets]).reshape(12, 3, -1)
    between, within = faces.mean(axis=1).std(axis=0).mean(), faces.std(axis=1).mean()
    assert between > within, "subjects should differ more than the clips of one"


def test_own_portraits(tmp_path: Path) -> None:
    folder = tmp_path / "portraits"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), cv2.resize(data.astronaut()[:300, 60:400, ::-1], None, fx=1.5, fy=1.5))
    (photograph,) = find_portraits(folder)
    expected = (np.array(Photograph().landmarks) - (60, 0)) * 1.5
    assert np.abs(np.array(photograph.landmarks) - expected).max() < 6
    settings = replace(SMALL, subjects=1, portraits=folder)
    assert settings.digest() != replace(SMALL, subjects=1).digest()
    cv2.imwrite(str(folder / "b.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(UserError, match=r"no face found in b\.png"):
        settings.write(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("combination", "height", "direction"),
    [((1, 2), -0.3, -1), ((4,), -0.3, 1), ((12,), 0.9, -1), ((15,), 1.0, 1), ((17,), 1.45, -1)],
)
def test_each_unit_moves_the_face_as_stated(combination: tuple[int, ...], height: float, direction: int) -> None:
    """Where the motion is strongest (in face units, the mouth at 0.9), and whether it goes up (-1) or down."""
    identity, _, _ = subject_of(SyntheticFaces(), (Photograph(),), 0)
    emotion = Emotion("any", ((1.0, combination),))
    plan = plan_clip(emotion, (20, 20), identity.framing, 1.0, np.random.default_rng(0))
    scene = stage(identity, plan, 240, 320, amplitude=1.0)
    # Every frame at full resolution, in pixels, computed independently of the generator.
    moved = np.einsum("pt,phwc->thwc", scene.plan.course, scene.motion) * scene.plan.framing.unit
    strength = np.linalg.norm(moved, axis=-1)
    largest = strength.max(axis=(1, 2))
    assert largest[0] == 0 and largest.argmax() == scene.apex
    assert largest.max() == pytest.approx(scene.displacement.max(), rel=0.02) and 0.5 < largest.max() < 5.5
    row, column = np.unravel_index(strength[scene.apex].argmax(), strength.shape[1:])
    assert scene.points[row, column, 1] == pytest.approx(height, abs=0.25)
    assert np.sign(moved[scene.apex, row, column, 1]) == direction


def test_head_drift_has_no_trend() -> None:
    drifts = np.stack([_drift(24, np.random.default_rng(seed)) for seed in range(400)])
    change = drifts[:, :, -1] - drifts[:, :, 0]
    assert (np.abs(change.mean(axis=0)) < 4 * change.std(axis=0) / 20).all()
    # At the reference size a unit is some 51 px, so that the shift stays below a pixel.
    assert 0.1 < drifts[:, 0].std() * 51 < 0.5


def test_no_action_unit_folds_the_face() -> None:
    """A backward warp tears where neighbouring points swap, so its slope must stay below one."""
    unit_px, largest_px = 51.0, 4.5
    grid = np.dstack(np.meshgrid(np.arange(-1.5, 1.5, 0.01), np.arange(-1, 2, 0.01))).astype(np.float32)
    for number, unit in ACTION_UNITS.items():
        field = warp_field(grid, unit.warps)
        field *= largest_px / unit_px / np.linalg.norm(field, axis=-1).max()
        slopes = [np.gradient(field[..., axis], 0.01, axis=1 - axis) for axis in (0, 1)]
        assert max(np.abs(slope).max() for slope in slopes) < 1, number


USUAL = Framing(unit=51.0, angle=0.0, x=160.0, y=100.0)
WILD = SyntheticFaces(subjects=1, clips_per_emotion=1, min_frames=8, max_frames=10, course="wild")


def planned(emotion: Emotion, seed: int, frames: tuple[int, int] = (18, 30), course: str = "wild") -> ClipPlan:
    return plan_clip(emotion, frames, USUAL, 1.0, np.random.default_rng(seed), course)


def kind_of(plan: ClipPlan) -> str:
    return plan.nuisance.kind if plan.nuisance else "none"


@pytest.fixture(scope="module")
def plans() -> list[ClipPlan]:
    return [planned(emotion, 1000 * i + n) for i, emotion in enumerate(CASME2_EMOTIONS) for n in range(200)]


def test_the_face_rests_before_and_after_a_motion_of_at_most_60_percent(plans: list[ClipPlan]) -> None:
    shortest = [planned(CASME2_EMOTIONS[0], seed, (8, 8)) for seed in range(200)]
    for plan in plans + shortest:
        moves = plan.course.max(axis=0) > 0
        assert moves.mean() <= 0.6 and plan.residual == 0
        assert not moves[:2].any() and not moves[-2:].any()
        first, last = plan.moving
        assert moves[first : last + 1].all() and moves.sum() == last - first + 1
    shares = [(plan.course.max(axis=0) > 0).mean() for plan in plans]
    assert min(shares) > 0.3 and np.ptp(shares) > 0.1


def test_blinks_and_turns_are_independent_of_the_class(plans: list[ClipPlan]) -> None:
    for emotion in CASME2_EMOTIONS:
        counts = Counter(kind_of(plan) for plan in plans if plan.emotion == emotion.name)
        for kind, share in KINDS.items():
            assert counts[kind] / 200 == pytest.approx(share, abs=0.11)  # 3.5 standard deviations


@pytest.mark.parametrize("kind", ["blink", "turn"])
def test_a_nuisance_is_drawn_but_is_no_motion_of_a_unit(kind: str) -> None:
    identity, _, _ = subject_of(SyntheticFaces(), (Photograph(),), 0)
    plan = next(plan for seed in range(50) if kind_of(plan := planned(CASME2_EMOTIONS[0], seed)) == kind)
    scene, without = (stage(identity, one, 240, 320, amplitude=1.0) for one in (plan, replace(plan, nuisance=None)))
    assert scene.apex == without.apex and (scene.displacement == without.displacement).all()
    drawn, calm = (list(render(one, 1.0, False, np.random.default_rng(0))) for one in (scene, without))
    strongest = int(plan.nuisance.course.argmax())
    change = np.abs(drawn[strongest].astype(float) - calm[strongest]).mean(axis=2)
    eyes = (np.abs(scene.points[..., 1]) < 0.25) & (np.abs(scene.points[..., 0]) < 0.9)
    assert change[eyes].mean() > 2
    # Without noise, every frame before and after the motion equals the first one.
    still = [*render(scene, 0.0, False, np.random.default_rng(0))]
    assert all((frame == still[0]).all() for frame in still[: plan.moving[0]] + still[plan.moving[1] + 1 :])
    assert (still[scene.apex] != still[0]).any()


def test_the_plain_course_is_that_of_version_3() -> None:
    assert SyntheticFaces().digest() == "7ace5b2c"
    plan = planned(CASME2_EMOTIONS[1], 7, course="plain")
    assert plan.nuisance is None and plan.moving == (1, plan.frames - 1)
    assert (plan.frames, code(plan.actions)) == (30, "4+7+10")
    assert (plan.peak, plan.residual) == pytest.approx((1.591938606543, 0.407654349118))
    sums = [12.861912671343, 12.760618772338, 13.785125494394, 13.227420288793, 14.770088181198, 15.195346171510]
    assert plan.course.sum(axis=1) == pytest.approx(sums)


def test_the_ground_truth_of_the_wild_course_says_when_the_face_moves(written: Written) -> None:
    truth = truth_of(written(WILD))
    assert set(truth["nuisance"]) <= set(KINDS) and (truth["residual"] == 0).all()
    assert (truth["onset"] + 2 <= truth["motion_start"]).all() and (truth["motion_end"] <= truth["offset"] - 2).all()
    assert truth["apex"].between(truth["motion_start"], truth["motion_end"]).all()
    backward = truth_of(written(replace(WILD, control="reversed")))
    for start, end in (("motion_start", "motion_end"), ("onset", "offset")):
        assert (backward[start] - backward["onset"]).equals(truth["offset"] - truth[end])


def test_wrong_settings_are_refused_by_name() -> None:
    wrong: list[tuple[str, Any]] = [
        ("course", "wilder"), ("layout", "smic"), ("subjects", 100), ("min_frames", 7), ("max_frames", 7),
        ("amplitude", -0.1), ("noise", float("nan")), ("portraits", "/no/such/folder"),
    ]  # fmt: skip
    for option, value in wrong:
        with pytest.raises(UserError, match=f"{option}(=| is ).*expected"):
            replace(SMALL, **{option: value})


FILM = SyntheticFaces(min_frames=8, max_frames=9, height=120, width=160)


@pytest.mark.parametrize("suffix", [*CODINGS])
def test_a_film_and_its_frames_show_the_clip(tmp_path: Path, suffix: str) -> None:
    clip = draw_film(tmp_path / f"clip{suffix}", "happiness", seed=1, fps=50, settings=FILM)
    write_frames(tmp_path / "frames", clip.images)
    drawn = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float) for image in clip.images]
    for video in (VideoFile(tmp_path / f"clip{suffix}"), FrameFolder(tmp_path / "frames", 50)):
        frames = list(video.frames())
        assert video.warnings == []
        assert [frame.seconds for frame in frames] == pytest.approx([n / 50 for n in range(len(drawn))], abs=6e-4)
        seen = [cv2.cvtColor(frame.read(), cv2.COLOR_RGB2GRAY).astype(float) for frame in frames]
        assert np.abs(np.subtract(seen, drawn)).mean() < 1.5
        assert abs(np.subtract(seen, drawn).mean()) < 0.5


def test_a_film_depends_on_seed_and_emotion_alone() -> None:
    clip, again, by_index = draw_clip("happiness", 4, FILM), draw_clip("happiness", 4, FILM), draw_clip(0, 4, FILM)
    assert np.array_equal(clip.images, again.images) and np.array_equal(clip.images, by_index.images)
    for other in (draw_clip("happiness", 5, FILM), draw_clip("disgust", 4, FILM)):
        assert not np.array_equal(other.images[0], clip.images[0])
    # Datasets number subjects from 0, and none reaches the number of a film's subject.
    assert max(layout.max_subjects for layout in LAYOUTS.values()) < FILM_STREAM
    with pytest.raises(UserError, match="joy"):
        draw_clip("joy")


def test_a_film_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    even, odd = np.zeros((48, 64, 3), np.uint8), np.zeros((47, 64, 3), np.uint8)
    for name, images, message in (("a.xyz", [even], ".mp4"), ("a.mp4", [odd], "even numbers")):
        with pytest.raises(ValueError, match=message):
            write_film(tmp_path / name, iter(images))
    assert list(tmp_path.iterdir()) == []
