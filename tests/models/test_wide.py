"""Sums over time are as exact under mixed precision as without it."""

import pytest
import torch

from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, dynamic_image
from fdp_lightning.models.fdp.network import ORDERS, RankScorer
from fdp_lightning.models.fdp.rank_pooling import WEIGHTS, RankPooling
from fdp_lightning.models.frame_mask import weighted_sum

BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}


@pytest.mark.parametrize("kind", DYNAMIC_IMAGES)
def test_a_dynamic_image_is_the_same_under_autocast(kind: str) -> None:
    frames = torch.rand(2, 8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = dynamic_image(frames, kind)
    with torch.autocast(**BF16):
        assert torch.equal(dynamic_image(frames, kind), expected)
    assert dynamic_image(frames.double(), kind).dtype == torch.float64


def test_what_does_not_change_cancels_in_bfloat16() -> None:
    still = torch.rand(3, 1, 4, 5, 5, generator=torch.Generator().manual_seed(0)).expand(3, 8, 4, 5, 5).bfloat16()
    scores = dict.fromkeys(ORDERS, torch.randn(3, 8, generator=torch.Generator().manual_seed(1)))
    for name in set(WEIGHTS) - {"mean"}:
        with torch.autocast(**BF16):
            (pooled,) = RankPooling([name], [(4, 5)], 8)([still], scores)
        assert pooled.dtype == torch.bfloat16  # the dtype that the heads take
        assert pooled.abs().max() < 1e-6, name
    # With rounded weights it would not.
    weights = WEIGHTS["arp"](torch.zeros(3, 8), torch.ones(3, 8, dtype=torch.bool))
    assert torch.einsum("bt,btchw->bchw", weights.bfloat16(), still).abs().max() > 1e-3


@pytest.mark.parametrize("channels_last", [False, True])
def test_weighted_sums_are_those_of_einsum(channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weights, frames = torch.randn(3, 2, 8, generator=generator), torch.randn(3, 8, 6, 5, 4, generator=generator)
    if channels_last:
        frames = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 8))
    torch.testing.assert_close(weighted_sum(weights, frames), torch.einsum("bnt,btchw->bnchw", weights, frames))
    # bfloat16 frames: summed in float32 and rounded once.
    exact = torch.einsum("bnt,btchw->bnchw", weights, frames.bfloat16().float()).bfloat16()
    torch.testing.assert_close(weighted_sum(weights, frames.bfloat16()), exact, rtol=2**-7, atol=1e-6)


def test_the_scorer_computes_in_its_own_precision() -> None:
    torch.manual_seed(0)
    scorer = RankScorer(4, 25).eval()
    features = torch.randn(3, 8, 4, 5, 5).bfloat16()
    mask = torch.ones(3, 8, dtype=torch.bool)
    with torch.autocast(**BF16), torch.no_grad():
        scores = scorer(features, mask)
    assert scores.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(scores, scorer(features.float(), mask))
        assert scorer.bfloat16()(features, mask).dtype == torch.bfloat16  # trainer.precision=bf16-true
