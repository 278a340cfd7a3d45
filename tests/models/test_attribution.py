"""Heat maps of what moved and counted: recognisers that look at one place."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.attribution import heat_map, occlusion_map
from fdp_lightning.models.labels import LABELS

T, SIDE = 6, 32
PLACES = {"upper left": (8, 8), "lower right": (24, 22), "edge": (16, 30)}


def motion_at(place: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Log odds that are the mean motion in a square of 8 pixels about a place."""
    y, x = place

    def odds(clips: Tensor) -> Tensor:
        moved = (clips - clips[:, :1]).abs().flatten(1, -3).mean(dim=1)
        return moved[:, y - 4 : y + 4, max(x - 4, 0) : x + 4].mean(dim=(1, 2))

    return odds


def moving_everywhere(seed: int = 0) -> Tensor:
    return torch.rand(T, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_map_peaks_where_the_recogniser_looks(place: tuple[int, int]) -> None:
    clip = moving_everywhere()
    heat = heat_map(motion_at(place), clip, clip[:1].expand_as(clip))
    y, x = divmod(int(heat.argmax()), SIDE)
    assert abs(y - place[0]) <= 5 and abs(x - place[1]) <= 5
    assert heat.max() == 1 and heat.min() >= 0
    far = torch.ones(SIDE, SIDE, dtype=torch.bool)
    far[max(place[0] - 12, 0) : place[0] + 12, max(place[1] - 12, 0) : place[1] + 12] = False
    assert heat[far].max() < 0.1


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_so_does_that_of_a_recogniser_without_a_gradient(place: tuple[int, int]) -> None:
    clip = moving_everywhere()
    odds = lambda clips: (100 * motion_at(place)(clips)).round()  # noqa: E731
    heat = occlusion_map(odds, clip, clip[:1].expand_as(clip))
    y, x = divmod(int(heat.argmax()), SIDE)
    assert abs(y - place[0]) <= 5 and abs(x - place[1]) <= 5
    assert heat.max() == 1 and heat.min() >= 0
    against = occlusion_map(lambda clips: -odds(clips), clip, clip[:1].expand_as(clip))
    assert against[place] == 0
    still = clip[:1].expand_as(clip)
    assert occlusion_map(odds, still, still).max() == 0


def test_what_does_not_move_does_not_count() -> None:
    """A recogniser that looks at two places, of which one moves."""
    clip = torch.full((T, 1, SIDE, SIDE), 0.5)
    clip[1:, :, 4:12, 4:12] += 0.2
    both = lambda clips: motion_at((8, 8))(clips) + motion_at((24, 22))(clips)  # noqa: E731
    heat = heat_map(both, clip, clip[:1].expand_as(clip))
    assert heat[:16, :16].sum() / heat.sum() > 0.98


@pytest.mark.parametrize("sign", [0, -1], ids=["still", "against"])
def test_nothing_that_counts_is_a_map_of_zeros(sign: int) -> None:
    clip = torch.full((T, 1, SIDE, SIDE), 0.5) if sign == 0 else moving_everywhere()
    odds = motion_at((8, 8)) if sign == 0 else lambda clips: -motion_at((8, 8))(clips)
    heat = heat_map(odds, clip, clip[:1].expand_as(clip))
    assert heat.max() == 0 and torch.isfinite(heat).all()


def test_a_gradient_that_is_no_number_where_nothing_moves() -> None:
    still = torch.zeros(3, SIDE, SIDE, dtype=torch.float64)
    by_deviation = lambda clips: (clips / (clips.var(dim=(2, 3), keepdim=True).sqrt() + 1e-6)).sum(dim=(1, 2, 3))  # noqa: E731
    heat = heat_map(by_deviation, still, still)
    assert heat.max() == 0 and torch.isfinite(heat).all()


def test_odds_that_no_motion_changes() -> None:
    """As of a recogniser that knows one class alone: they have no gradient."""
    clip = moving_everywhere()
    assert heat_map(lambda clips: torch.zeros(len(clips)), clip, clip[:1].expand_as(clip)).abs().max() == 0


def test_maps_of_motion_are_explained_too() -> None:
    maps = moving_everywhere()[:3, 0]  # (3, h, w): a flow
    heat = heat_map(lambda clips: clips[:, :, 4:12, 20:28].abs().mean(dim=(1, 2, 3)), maps, maps * 0)
    y, x = divmod(int(heat.argmax()), SIDE)
    assert 2 <= y <= 13 and 18 <= x <= 29


def test_shares_of_two_places_are_as_what_they_count() -> None:
    """Integrated gradients of a sum are what each part adds, so twice the weight is twice the heat."""
    clip = torch.full((T, 1, SIDE, SIDE), 0.5)
    clip[1:, :, 4:12, 4:12] += 0.2
    clip[1:, :, 20:28, 18:26] += 0.2
    odds = lambda clips: 2 * motion_at((8, 8))(clips) + motion_at((24, 22))(clips)  # noqa: E731
    heat = heat_map(odds, clip, clip[:1].expand_as(clip))
    assert float(heat[:16].sum() / heat[16:].sum()) == pytest.approx(2, rel=1e-3)


def test_a_network_that_is_sure_is_explained_too() -> None:
    clip = moving_everywhere()
    logits = lambda clips: torch.stack([1e4 * motion_at((8, 8))(clips), torch.zeros(len(clips))], dim=1)  # noqa: E731
    heat = heat_map(lambda clips: LABELS[LabelKind.SINGLE].log_odds(logits(clips), 0), clip, clip[:1].expand_as(clip))
    assert torch.isfinite(heat).all()
    assert heat[:16, :16].sum() / heat.sum() > 0.9


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for labels in (LABELS[LabelKind.SINGLE], LABELS[LabelKind.MULTI]):
        p = labels.probabilities(logits)[:, 1]
        torch.testing.assert_close(labels.log_odds(logits, 1), (p / (1 - p)).log())
    sure = torch.tensor([[200.0, 0.0, 0.0]])  # of which float probabilities are 1
    assert float(LABELS[LabelKind.SINGLE].log_odds(sure, 0)) == pytest.approx(200 - torch.tensor(2.0).log().item())
