"""The wild course of synthetic clips: rest, motion, rest, and events that mean nothing; the plain one as it was."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.data.synthetic.action_units import CASME2_EMOTIONS, Emotion, code
from fdp_lightning.data.synthetic.clip import DRIFT_SHIFT, ClipPlan, plan_clip, render, stage
from fdp_lightning.data.synthetic.generator import subject_of
from fdp_lightning.data.synthetic.identity import Framing
from fdp_lightning.data.synthetic.nuisance import KINDS
from fdp_lightning.data.synthetic.photograph import Photograph

pytestmark = pytest.mark.costly

USUAL = Framing(unit=51.0, angle=0.0, x=160.0, y=100.0)
SMALL = SyntheticFaces(subjects=1, clips_per_emotion=1, min_frames=8, max_frames=10, course="wild")


def planned(emotion: Emotion, seed: int, frames: tuple[int, int] = (18, 30), course: str = "wild") -> ClipPlan:
    return plan_clip(emotion, frames, USUAL, 1.0, np.random.default_rng(seed), course)


def kind_of(plan: ClipPlan) -> str:
    return plan.nuisance.kind if plan.nuisance else "none"


@pytest.fixture(scope="module")
def plans() -> list[ClipPlan]:
    return [planned(emotion, 1000 * i + n) for i, emotion in enumerate(CASME2_EMOTIONS) for n in range(200)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[SyntheticFaces], Path]:
    """Write a data set once per settings."""
    roots = {}

    def write(settings: SyntheticFaces) -> Path:
        if settings not in roots:
            roots[settings] = tmp_path_factory.mktemp("wild") / "data"
            settings.write(roots[settings])
        return roots[settings]

    return write


def truth_of(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "ground_truth.csv", dtype={"subject": str, "action_units": str})


def test_the_face_rests_before_and_after_a_motion_of_at_most_sixty_percent(plans: list[ClipPlan]) -> None:
    shortest = [planned(CASME2_EMOTIONS[0], seed, (8, 8)) for seed in range(200)]
    for plan in plans + shortest:
        moves = plan.course.max(axis=0) > 0
        assert moves.mean() <= 0.6 and plan.residual == 0
        assert not moves[:2].any() and not moves[-2:].any()
        first, last = plan.moving
        assert moves[first : last + 1].all() and moves.sum() == last - first + 1
    shares = [(plan.course.max(axis=0) > 0).mean() for plan in plans]
    assert min(shares) > 0.3 and np.ptp(shares) > 0.1


def test_blinks_and_turns_say_nothing_about_the_class(plans: list[ClipPlan]) -> None:
    for emotion in CASME2_EMOTIONS:
        counts = Counter(kind_of(plan) for plan in plans if plan.emotion == emotion.name)
        for kind, share in KINDS.items():
            assert counts[kind] / 200 == pytest.approx(share, abs=0.11)  # 3.5 standard deviations


def test_a_blink_is_short_and_a_turn_is_slow_and_larger_than_the_drift(plans: list[ClipPlan]) -> None:
    for plan in plans:
        if kind_of(plan) == "blink":
            closed = np.flatnonzero(plan.nuisance.course)
            assert 3 <= len(closed) <= 5 and np.ptp(closed) == len(closed) - 1
            assert closed[0] > 0 and closed[-1] < plan.frames - 1
        elif kind_of(plan) == "turn":
            assert plan.nuisance.course[0] == 0 and plan.nuisance.course.max() == pytest.approx(1, abs=0.02)
            size = np.hypot(*plan.nuisance.shift)
            assert size > 2 * DRIFT_SHIFT
            # A face unit is about 51 px: the fastest moves by less than a pixel from frame to frame.
            assert np.abs(np.diff(plan.nuisance.course)).max() * size < 1 / 51
    turns = [plan.nuisance.shift[0] > 0 for plan in plans if kind_of(plan) == "turn"]
    assert 0.35 < np.mean(turns) < 0.65


def test_a_nuisance_is_drawn_where_it_should_be_and_counts_as_no_motion_of_a_unit() -> None:
    identity, _, _ = subject_of(SyntheticFaces(), (Photograph(),), 0)
    kinds = {}
    for seed in range(50):
        plan = planned(CASME2_EMOTIONS[0], seed)  # happiness: nothing moves above the cheeks
        kinds.setdefault(kind_of(plan), plan)
    for kind in ("blink", "turn"):
        plan = kinds[kind]
        scene, without = (stage(identity, one, 240, 320, amplitude=1.0) for one in (plan, replace(plan, nuisance=None)))
        assert scene.apex == without.apex and (scene.displacement == without.displacement).all()
        drawn, calm = (
            [frame.astype(float) for frame in render(one, 1.0, False, np.random.default_rng(0))]
            for one in (scene, without)
        )
        strongest = int(plan.nuisance.course.argmax())
        change = np.abs(drawn[strongest] - calm[strongest]).mean(axis=2)
        eyes = (np.abs(scene.points[..., 1]) < 0.25) & (np.abs(scene.points[..., 0]) < 0.9)
        mouth = (np.abs(scene.points[..., 1] - 0.9) < 0.25) & (np.abs(scene.points[..., 0]) < 0.5)
        assert change[eyes].mean() > 2
        assert change[mouth].mean() < 0.1 if kind == "blink" else change[mouth].mean() > 1
        # Noise 0 takes it away: before the motion every picture is the first one.
        still = [*render(scene, 0.0, False, np.random.default_rng(0))]
        assert all((picture == still[0]).all() for picture in still[: plan.moving[0]] + still[plan.moving[1] + 1 :])
        assert (still[scene.apex] != still[0]).any()


def test_the_plain_course_is_what_it_was() -> None:
    """Figures of the generator's version 3, from before there was another course."""
    assert SyntheticFaces().digest() == "7ace5b2c"
    plan = planned(CASME2_EMOTIONS[1], 7, course="plain")
    assert plan.nuisance is None and plan.moving == (1, plan.frames - 1)
    assert (plan.frames, code(plan.actions)) == (30, "4+7+10")
    assert (plan.peak, plan.residual) == pytest.approx((1.591938606543, 0.407654349118))
    sums = [12.861912671343, 12.760618772338, 13.785125494394, 13.227420288793, 14.770088181198, 15.195346171510]
    assert plan.course.sum(axis=1) == pytest.approx(sums)


def test_the_annotations_and_the_ground_truth_say_what_is_drawn(written: Callable[[SyntheticFaces], Path]) -> None:
    truth = truth_of(written(SMALL))
    assert set(truth["nuisance"]) <= set(KINDS) and (truth["residual"] == 0).all()
    assert (truth["onset"] + 2 <= truth["motion_start"]).all() and (truth["motion_end"] <= truth["offset"] - 2).all()
    assert (truth["motion_start"] <= truth["apex"]).all() and (truth["apex"] <= truth["motion_end"]).all()
    backward = truth_of(written(replace(SMALL, control="reversed")))
    for start, end in (("motion_start", "motion_end"), ("onset", "offset")):
        assert (backward[start] - backward["onset"]).equals(truth["offset"] - truth[end])
    plain = truth_of(written(replace(SMALL, course="plain")))
    assert not {"motion_start", "motion_end", "nuisance"} & {*plain}
