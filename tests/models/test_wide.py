"""Under mixed precision the sums over time are as exact as without it."""

import pytest
import torch

from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, dynamic_image
from fdp_lightning.models.rank.pooling import WEIGHTS, pool
from fdp_lightning.models.rank.pooling_modules import WeightedPooling
from fdp_lightning.models.rank.scorer import RankScorer

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
        scores = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
        with torch.autocast(**BF16):
            pooled = WeightedPooling(name, 4)(still, scores)
            alone = WeightedPooling("arp", 4)(still, None)
        assert pooled.dtype == torch.bfloat16  # as the heads take it
        assert pooled.abs().max() < 1e-6 and alone.abs().max() < 1e-6, name
    # What it is against: the weights themselves rounded.
    weights = WEIGHTS["arp"](torch.zeros(3, 8), torch.ones(3, 8, dtype=torch.bool))
    assert torch.einsum("bt,btchw->bchw", weights.bfloat16(), still).abs().max() > 1e-3
    torch.testing.assert_close(pool(still, weights).float(), torch.zeros(3, 4, 5, 5), atol=1e-6, rtol=0)


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
