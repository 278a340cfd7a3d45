"""Sums over time are as exact under mixed precision as without it."""

import pytest
import torch

from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, dynamic_image
from fdp_lightning.models.fdp.network import ORDERS, RankScorer
from fdp_lightning.models.fdp.rank_pooling import WEIGHTS, RankPooling, pool
from fdp_lightning.models.frame_mask import weighted_sum

BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}


@pytest.mark.parametrize("kind", DYNAMIC_IMAGES)
def test_a_dynamic_image_is_the_same_bit_for_bit(kind: str) -> None:
    frames = torch.rand(2, 8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = dynamic_image(frames, kind)
    with torch.autocast(**BF16):
        assert torch.equal(dynamic_image(frames, kind), expected)
    assert dynamic_image(frames.double(), kind).dtype == torch.float64


def test_the_identity_cancels_out_of_features_in_bfloat16() -> None:
    still = torch.rand(3, 1, 4, 5, 5, generator=torch.Generator().manual_seed(0)).expand(3, 8, 4, 5, 5).bfloat16()
    for name in set(WEIGHTS) - {"mean"}:
        scores = dict.fromkeys(ORDERS, torch.randn(3, 8, generator=torch.Generator().manual_seed(1)))
        with torch.autocast(**BF16):
            (pooled,) = RankPooling([name], [(4, 5)], 8)([still], scores)
        assert pooled.dtype == torch.bfloat16  # the dtype that the heads take
        assert pooled.abs().max() < 1e-6, name
    # For comparison: with rounded weights, the identity does not cancel.
    weights = WEIGHTS["arp"](torch.zeros(3, 8), torch.ones(3, 8, dtype=torch.bool))
    assert torch.einsum("bt,btchw->bchw", weights.bfloat16(), still).abs().max() > 1e-3
    pooled = pool(still, weights.unsqueeze(1)).float()
    torch.testing.assert_close(pooled, torch.zeros(3, 1, 4, 5, 5), atol=1e-6, rtol=0)


@pytest.mark.parametrize("layout", ["channels first", "channels last", "every other channel"])
def test_weighted_sums_are_those_of_einsum(layout: str) -> None:
    n = 2
    generator = torch.Generator().manual_seed(0)
    weights, frames = torch.randn(3, n, 8, generator=generator), torch.randn(3, 8, 6, 5, 4, generator=generator)
    if layout == "channels last":
        frames = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 8))
    elif layout == "every other channel":
        frames = frames[:, :, ::2]
    for kind in (torch.float64, torch.float32):
        one, other = weights.to(kind), frames.to(kind)
        found = weighted_sum(one, other)
        assert found.dtype == kind
        torch.testing.assert_close(found, torch.einsum("bnt,btchw->bnchw", one, other))
    # bfloat16 frames: summed in float32 and rounded once.
    exact = torch.einsum("bnt,btchw->bnchw", weights, frames.bfloat16().float()).bfloat16()
    torch.testing.assert_close(weighted_sum(weights, frames.bfloat16()), exact, rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_the_scorer_keeps_its_own_precision(masked: bool) -> None:
    torch.manual_seed(0)
    scorer = RankScorer(4, 25).eval()
    features = torch.randn(3, 8, 4, 5, 5).bfloat16()
    mask = torch.ones(3, 8, dtype=torch.bool) if masked else None
    with torch.autocast(**BF16), torch.no_grad():
        scores = scorer(features, mask)
    assert scores.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(scores, scorer(features.float(), mask))
        assert scorer.bfloat16()(features, mask).dtype == torch.bfloat16  # trainer.precision=bf16-true
