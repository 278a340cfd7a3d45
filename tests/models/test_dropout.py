"""Dropout and drop path against torch's and timm's: the same draws, the same values, the same gradients."""

import pytest
import timm.layers
import torch
from torch import nn

from fdp_lightning.models.dropout import Dropout, DropPath, drawn

SHAPES = [(7, 30), (6, 5, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [0.0, 0.075, 0.5])
@pytest.mark.parametrize(("ours", "theirs"), [(Dropout, nn.Dropout), (DropPath, timm.layers.DropPath)])
def test_the_same_seed_gives_what_torch_and_timm_give_bit_for_bit(
    ours: type[nn.Module], theirs: type[nn.Module], p: float, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    results = []
    for module in (ours(p), theirs(p)):
        given = x.clone().requires_grad_()
        torch.manual_seed(3)
        y = module.train()(given)
        y.square().sum().backward()
        results.append((y, given.grad, torch.rand(())))  # as many numbers are drawn: the next one is the same
        assert module.eval()(x) is x
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    dropped = (results[0][0] == 0).float().mean()
    assert dropped == 0 if p == 0 else p < 0.1 or 0 < dropped < 1


def test_a_mask_that_is_handed_in_is_taken_and_nothing_is_drawn() -> None:
    x = torch.rand(6, 5, 4, 3) + 1
    for module in (Dropout(0.4), DropPath(0.4)):
        torch.manual_seed(1)
        expected = [module(x), module(x)]
        generator = torch.Generator().manual_seed(1)
        masks = [drawn(module.mask_like(x), module.p, generator) for _ in range(2)]
        module.handed = iter(masks)
        torch.manual_seed(5)
        assert torch.equal(module(x), expected[0]) and torch.equal(module(x), expected[1])
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(5))
        assert not torch.equal(*expected)
        with pytest.raises(StopIteration):
            module(x)
