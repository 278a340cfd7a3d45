"""Activation checkpointing: keep the input of a block alone and compute it once more when its gradient is asked for.

Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174; torch.utils.checkpoint.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(block: nn.Module, call: Callable[..., Any], *inputs: Tensor, when: bool = True) -> Any:
    """`call(*inputs)`, with nothing kept but the inputs; masks drawn within are drawn alike the second time.

    Args:
        block: holds the batch norms that `call` uses; they follow their running statistics the first time alone.
        call: what to compute.
        inputs: of it.
        when: False: as ever, everything is kept.
    """
    if not (when and torch.is_grad_enabled()):
        return call(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(block)

    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    """Batch norms normalise as in training, and their running statistics stay what they are."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
