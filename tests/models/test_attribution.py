"""Heat maps of recognisers that look at a known position."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.attribution import heat_maps, occlusion_map
from fdp_lightning.models.labels import LABELS

T, SIDE = 6, 32


def motion_at(place: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Return log odds that are the mean motion in a square of 8 pixels around a position."""
    y, x = place

    def odds(clips: Tensor) -> Tensor:
        moved = (clips - clips[:, :1]).abs().flatten(1, -3).mean(dim=1)
        return moved[:, y - 4 : y + 4, max(x - 4, 0) : x + 4].mean(dim=(1, 2))

    return odds


def heat_map(odds: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    return heat_maps(odds, clip[None], clip[None, :1].expand_as(clip[None]))[0]


def moving_everywhere(seed: int = 0) -> Tensor:
    return torch.rand(T, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("place", [(8, 8), (24, 22), (16, 30)])
def test_heat_and_occlusion_maps_peak_where_the_recogniser_looks(place: tuple[int, int]) -> None:
    clip = moving_everywhere()
    still = clip[:1].expand_as(clip)
    steps = lambda clips: (100 * motion_at(place)(clips)).round()  # has no gradient  # noqa: E731
    by_gradient, occluded = heat_map(motion_at(place), clip), occlusion_map(steps, clip, still)
    for heat in (by_gradient, occluded):
        y, x = divmod(int(heat.argmax()), SIDE)
        assert abs(y - place[0]) <= 5 and abs(x - place[1]) <= 5
        assert heat.max() == 1 and heat.min() >= 0
    far = torch.ones(SIDE, SIDE, dtype=torch.bool)
    far[max(place[0] - 12, 0) : place[0] + 12, max(place[1] - 12, 0) : place[1] + 12] = False
    assert by_gradient[far].max() < 0.1
    assert occlusion_map(lambda clips: -steps(clips), clip, still)[place] == 0
    assert occlusion_map(steps, still, still).max() == 0


def test_heat_is_proportional_to_the_weight_of_a_position() -> None:
    clip = torch.full((T, 1, SIDE, SIDE), 0.5)
    clip[1:, :, 4:12, 4:12] += 0.2
    clip[1:, :, 20:28, 18:26] += 0.2
    weights = {(8, 8): 2, (24, 22): 1, (8, 24): 5}  # nothing moves at the last position
    odds = lambda clips: sum((w * motion_at(p)(clips) for p, w in weights.items()), torch.zeros(()))  # noqa: E731
    heat = heat_map(odds, clip)
    assert float(heat[:16, :16].sum() / heat[16:].sum()) == pytest.approx(2, rel=1e-3)
    assert heat[:16, 16:].sum() / heat.sum() < 0.02


def test_the_map_is_zero_where_nothing_counts_for_the_class() -> None:
    moving, still = moving_everywhere(), torch.full((T, 1, SIDE, SIDE), 0.5)
    by_deviation = lambda clips: (clips / (clips.var(dim=(3, 4), keepdim=True).sqrt() + 1e-6)).sum(dim=(1, 2, 3, 4))  # noqa: E731
    for odds, clip in (
        (motion_at((8, 8)), still),
        (by_deviation, still * 0),  # its gradient there is NaN
        (lambda clips: -motion_at((8, 8))(clips), moving),
        (lambda clips: torch.zeros(len(clips)), moving),  # knows only one class
    ):
        heat = heat_map(odds, clip)
        assert heat.max() == 0 and torch.isfinite(heat).all()


def test_log_odds_match_the_probabilities() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for labels in (LABELS[LabelKind.SINGLE], LABELS[LabelKind.MULTI]):
        p = labels.probabilities(logits)[:, 1]
        torch.testing.assert_close(labels.log_odds(logits, 1), (p / (1 - p)).log())
    sure = torch.tensor([[200.0, 0.0, 0.0]])  # whose probability rounds to 1
    assert float(LABELS[LabelKind.SINGLE].log_odds(sure, 0)) == pytest.approx(200 - torch.tensor(2.0).log().item())
