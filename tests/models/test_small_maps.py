"""3×3 convolutions on small maps as matrix products have the outputs and gradients of the convolution."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.models.fdp_released import ConvPooling
from fdp_lightning.models.small_maps import Conv3x3, conv3x3


def largest_difference(one: Tensor, other: Tensor) -> float:
    return float((one.detach().double() - other.detach().double()).abs().max() / other.detach().double().abs().max())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [2, 4, 8, 16, 32])
def test_outputs_and_gradients_are_those_of_the_convolution(side: int, layout: torch.memory_format) -> None:
    torch.manual_seed(side)
    maps = torch.randn(4, 5, side, side).double().to(memory_format=layout).requires_grad_()
    weight = torch.randn(3, 5, 3, 3).double().requires_grad_()
    wanted = F.conv2d(maps, weight, padding=1)
    found = conv3x3(maps, weight)
    assert found.is_contiguous(memory_format=torch.channels_last)
    above = torch.randn_like(wanted)
    pairs = zip(*((y, *torch.autograd.grad(y, (maps, weight), above)) for y in (found, wanted)), strict=True)
    assert all(largest_difference(*pair) < 1e-12 for pair in pairs)
    maps, weight = torch.randn(4, 128, side, side), torch.randn(128, 128, 3, 3)
    exact = F.conv2d(maps.double(), weight.double(), padding=1)
    assert largest_difference(conv3x3(maps, weight), exact) < 2e-5  # little more than rounding in the convolution


def test_the_layer_is_rewritten_only_where_it_pays() -> None:
    def both(channels: int, side: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        layer, maps = Conv3x3(channels, channels).to(dtype), torch.randn(2, channels, side, side, dtype=dtype)
        plain = layer(maps)
        layer.rewritten = True
        return layer(maps), plain

    for channels, side in ((64, 2), (64, 4), (64, 8), (128, 16)):
        rewritten, plain = both(channels, side)
        assert not torch.equal(rewritten, plain)  # summed in another order, so it really is rewritten
        assert largest_difference(rewritten, plain) < 2e-5
    # Too few channels; a side that tiles do not divide; half precision.
    for channels, side, dtype in ((32, 4, torch.float32), (64, 6, torch.float32), (64, 4, torch.bfloat16)):
        assert torch.equal(*both(channels, side, dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(*both(64, 4))


def test_the_rewritten_pooling_over_time_is_the_same_convolution() -> None:
    torch.manual_seed(0)
    pooling = ConvPooling(channels=3, frames=8).double()
    features = torch.randn(2, 8, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    found = []
    for pooling.rewritten in (False, True):
        pooled = pooling(features, None)
        found.append((pooled, *torch.autograd.grad(pooled.square().sum(), (features, *pooling.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
