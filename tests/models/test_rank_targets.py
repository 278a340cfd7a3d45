"""The relevance of frames by hand, and soft ranks against scipy's ranks."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import rankdata
from torch import Tensor

from fdp_lightning.models.fdp.rank_losses import chronological, intensity, ranks, soft_ranks
from tests.models.padding import GARBAGE, alone, masks, normal, seeds, spoiled


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[float], float]:
    """Ascending, uneven frame numbers and an apex among them: at either end, on a frame or between two."""
    numbers = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=9)))
    on_a_frame = st.sampled_from([numbers[0], numbers[-1], numbers[len(numbers) // 2]])
    apex = draw(on_a_frame | st.integers(numbers[0], numbers[-1]))
    return [float(n) for n in numbers], float(apex)


def up_and_down(numbers: list[float], apex: float) -> np.ndarray:
    """Linear interpolation through 0 at the onset, 1 at the apex, 0 at the offset; an end that is the apex has 1."""
    corners = {numbers[0]: 0.0, numbers[-1]: 0.0} | {apex: 1.0}
    return np.interp(numbers, sorted(corners), [corners[n] for n in sorted(corners)])


@given(mask=masks())
@settings(max_examples=15, deadline=None)
def test_chronological_relevance_counts_real_frames_alone(mask: Tensor) -> None:
    assert chronological(torch.rand(*mask.shape, 2)).tolist() == [[*range(1, mask.shape[1] + 1)]] * len(mask)
    relevance = chronological(torch.full(mask.shape, torch.nan), mask)
    for i in range(len(mask)):
        assert relevance[i][mask[i]].tolist() == list(range(1, int(mask[i].sum()) + 1))


@given(recording=recordings())
@settings(max_examples=30, deadline=None)
def test_intensity_rises_to_the_apex_and_falls_to_the_offset(recording: tuple[list[float], float]) -> None:
    numbers, apex = recording
    relevance = intensity(torch.tensor([numbers]).double(), torch.tensor([apex]).double())[0].numpy()
    np.testing.assert_allclose(relevance, up_and_down(numbers, apex), atol=1e-9)
    before = np.array(numbers) <= apex
    assert (np.diff(relevance[before]) > 0).all()
    assert (np.diff(relevance[~before]) < 0).all()


@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=30, deadline=None)
def test_intensity_is_of_the_real_frames(mask: Tensor, seed: int, garbage: float) -> None:
    numbers = 3 * torch.arange(mask.shape[1]).expand(mask.shape).double() + normal(seed, *mask.shape).sigmoid()
    apex = torch.stack([row[real][seed % int(real.sum())] for row, real in zip(numbers, mask, strict=True)])
    relevance = intensity(spoiled(numbers, mask, garbage), apex, mask)
    assert (relevance[~mask] == 0).all()
    for i in range(len(mask)):
        by_hand = up_and_down(alone(numbers, mask, i)[0].tolist(), apex[i].item())
        np.testing.assert_allclose(relevance[i][mask[i]].numpy(), by_hand, atol=1e-9)


@given(b=st.integers(1, 3), t=st.integers(1, 12), seed=seeds, temperature=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_soft_ranks_are_a_loop_and_follow_a_permutation(b: int, t: int, seed: int, temperature: float) -> None:
    values = normal(seed, b, t)
    soft = soft_ranks(values, None, temperature)
    np.testing.assert_allclose(soft.sum(dim=1), t * (t + 1) / 2)
    by_loop = [[0.5 + sum(expit((v - u) / temperature) for u in row) for v in row] for row in values.tolist()]
    np.testing.assert_allclose(soft, by_loop)
    shuffled = torch.randperm(t, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(soft_ranks(values[:, shuffled], None, temperature), soft[:, shuffled])


@given(t=st.integers(1, 12), seed=seeds, ties=st.booleans())
@settings(max_examples=30, deadline=None)
def test_cold_soft_ranks_and_ranks_are_those_of_scipy(t: int, seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(-3, 3, (2, t)) if ties else np.stack([generator.permutation(t) for _ in range(2)])
    expected = rankdata(values, method="average", axis=1)
    np.testing.assert_allclose(soft_ranks(torch.from_numpy(values).double(), None, 0.01), expected)
    np.testing.assert_array_equal(ranks(torch.from_numpy(values).double()), expected)


@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=30, deadline=None)
def test_padding_changes_no_rank_and_gets_no_gradient(mask: Tensor, seed: int, garbage: float) -> None:
    values = spoiled(normal(seed, *mask.shape), mask, garbage).requires_grad_()
    soft, hard = soft_ranks(values, mask), ranks(values, mask)
    for i in range(len(mask)):
        torch.testing.assert_close(soft[i][mask[i]], soft_ranks(alone(values, mask, i))[0])
        np.testing.assert_array_equal(hard[i][mask[i]].detach(), rankdata(values[i][mask[i]].detach()))
    assert (soft[~mask] == 0).all()
    assert (hard[~mask] == 0).all()
    (gradient,) = torch.autograd.grad((soft * normal(seed + 1, *mask.shape)).sum(), values)
    assert (gradient[~mask] == 0).all()
    assert gradient.isfinite().all()
