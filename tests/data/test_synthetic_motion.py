"""The motion of synthetic clips before it becomes pictures: places, sides, strength, drift."""

import numpy as np
import pytest

from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.data.synthetic.action_units import ACTION_UNITS, Emotion, warp_field
from fdp_lightning.data.synthetic.clip import Scene, _drift, plan_clip, stage
from fdp_lightning.data.synthetic.generator import subject_of
from fdp_lightning.data.synthetic.photograph import Photograph


def staged(combination: tuple[int, ...], one_sided: float = 0) -> Scene:
    identity, _, _ = subject_of(SyntheticFaces(), (Photograph(),), 0)
    emotion = Emotion("any", ((1.0, combination),), one_sided)
    plan = plan_clip(emotion, (20, 20), identity.framing, 1.0, np.random.default_rng(0))
    return stage(identity, plan, 240, 320, amplitude=1.0)


# Units, height in the face of their strongest motion (face units, mouth at 0.9), and its direction (up: -1).
PLACES = [((1, 2), -0.3, -1), ((4,), -0.3, 1), ((12,), 0.9, -1), ((15,), 1.0, 1), ((17,), 1.45, -1)]


@pytest.mark.parametrize(("combination", "height", "direction"), PLACES)
def test_the_face_moves_as_much_as_stated_where_it_should(
    combination: tuple[int, int] | tuple[int], height: float, direction: int
) -> None:
    scene = staged(combination)
    # Independently of the generator's own sum: every frame at full resolution, in pixels.
    moved = np.einsum("pt,phwc->thwc", scene.plan.course, scene.motion) * scene.plan.framing.unit
    strength = np.linalg.norm(moved, axis=-1)
    largest = strength.max(axis=(1, 2))
    assert largest[0] == 0 and largest.argmax() == scene.apex
    assert largest.max() == pytest.approx(scene.displacement.max(), rel=0.02) and 0.5 < largest.max() < 5.5
    row, column = np.unravel_index(strength[scene.apex].argmax(), strength.shape[1:])
    assert scene.points[row, column, 1] == pytest.approx(height, abs=0.25)
    assert np.sign(moved[scene.apex, row, column, 1]) == direction


def test_one_sided_motion_stays_on_its_side() -> None:
    scene = staged((12,), one_sided=1)
    strength = np.linalg.norm(scene.motion.sum(axis=0), axis=-1)
    person_left = scene.points[..., 0] > 0  # the person's left is the picture's right
    left, right = strength[person_left].sum(), strength[~person_left].sum()
    assert (left > 20 * right) if scene.plan.actions[0].side == "L" else (right > 20 * left)


def test_head_drift_has_no_trend() -> None:
    drifts = np.stack([_drift(24, np.random.default_rng(seed)) for seed in range(400)])
    change = drifts[:, :, -1] - drifts[:, :, 0]
    assert (np.abs(change.mean(axis=0)) < 4 * change.std(axis=0) / 20).all()
    monotone = (np.diff(drifts, axis=2) > 0).all(axis=2) | (np.diff(drifts, axis=2) < 0).all(axis=2)
    assert monotone.mean() < 0.05
    # At the reference size a unit is some 51 px, so that the shift stays below a pixel.
    assert 0.1 < drifts[:, 0].std() * 51 < 0.5


def test_every_unit_of_the_table_moves_less_than_it_folds() -> None:
    """A backward warp tears where neighbouring points swap places: its slope has to stay below one."""
    unit_px, largest_px = 51.0, 4.5
    grid = np.dstack(np.meshgrid(np.arange(-1.5, 1.5, 0.01), np.arange(-1, 2, 0.01))).astype(np.float32)
    for number, unit in ACTION_UNITS.items():
        field = warp_field(grid, unit.warps)
        field *= largest_px / unit_px / np.linalg.norm(field, axis=-1).max()
        slopes = [np.gradient(field[..., axis], 0.01, axis=1 - axis) for axis in (0, 1)]
        assert max(np.abs(slope).max() for slope in slopes) < 1, number
