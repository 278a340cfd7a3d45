"""A stack of networks of one architecture, trained together: each operation acts on all of them at once.

Their weights and buffers are stacked, and one network's step is mapped over the stack by `torch.func`. Networks share
nothing: each has its own batch, random masks, losses, gradients and clipping. Adam is
elementwise, so one optimizer over the stack is equivalent to one for each network.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import get_ema_avg_fn

from fdp_lightning.models.dropout import RandomMask, drawn
from fdp_lightning.training.module import Batch, RecognitionModule, clips_of

_WRAPPED = "module."


@dataclass(frozen=True)
class Clipping:
    """Gradient clipping of each network by itself.

    Attributes:
        limit: limit of the norm or of the values; 0: none.
        by: 'norm' or 'value'.
    """

    limit: float = 0.0
    by: str = "norm"

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Clip in place; the first axis of each gradient is the network."""
        if self.limit <= 0:
            return
        if self.by == "value":
            for gradient in gradients:
                gradient.clamp_(-self.limit, self.limit)
            return
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in map(_rows, gradients)]
        total = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        factor = (self.limit / (total + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class Stack:
    """Networks that are trained together.

    Args:
        modules: modules of one architecture and the same settings, on the device and in the precision of the training;
            their weights are copied.
        steps: optimizer steps of the whole training.
        clipping: clipping of each network's gradient.
        precision: precision of the training.
    """

    def __init__(
        self, modules: Sequence[RecognitionModule], steps: int, clipping: Clipping, precision: Precision | None = None
    ) -> None:
        first = copy.deepcopy(modules[0]).train()
        replace(first.compute, small_maps=False, channels_last=False).prepare(first.model)  # a stack has no such layout
        self._step = _Step(first)
        self._random = [module for module in first.modules() if isinstance(module, RandomMask)]
        self._masks: list[tuple[torch.Size, torch.dtype, float]] | None = None
        self._clipping, self._precision = clipping, precision or Precision()
        self._parameters = {
            name: _stacked([dict(module.named_parameters())[name] for module in modules]).requires_grad_(
                parameter.requires_grad
            )
            for name, parameter in first.named_parameters()
        }
        self._buffers = {
            name: _stacked([dict(module.named_buffers())[name] for module in modules])
            for name, _ in first.named_buffers()
        }
        settings = first.optimizer_settings
        trained = {name: self._parameters[f"model.{name}"] for name, _ in first.model.named_parameters()}
        built = settings.build(first.model, steps, trained, first.compute.fused_optimizer)
        self._optimizer, self._schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
        self._average = None if settings.ema is None else get_ema_avg_fn(settings.ema)
        self._averages: dict[str, Tensor] | None = None

    def step(self, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
        """Run one optimizer step of every network.

        Args:
            batch: batches of all networks, stacked; each entry is (networks, b, …).
            generators: source of the random masks of each network.

        Returns:
            Losses and accuracies of the batches by name, each (networks,).
        """
        masks = self._draw(batch, generators)
        self._optimizer.zero_grad()
        # Attention by matrix products: the CPU's fused kernel has no batching rule, so torch would loop over the stack.
        with self._precision.forward_context(), sdpa_kernel(SDPBackend.MATH):
            losses, values = vmap(self._one, randomness="error")(self._parameters, self._buffers, batch, masks)
        losses.sum().backward()
        self._clipping([p.grad for p in self._parameters.values() if p.grad is not None])
        self._optimizer.step()
        self._schedule.step()
        self._update_average()
        return dict(values)

    def _one(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Batch, masks: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return loss and values of one network; `vmap` maps this function."""
        handed = iter(masks)
        for module in self._random:
            module.handed = handed
        tensors = {f"{_WRAPPED}{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
        result: tuple[Tensor, dict[str, Tensor]] = functional_call(self._step, tensors, (batch,))
        return result

    def _draw(self, batch: Batch, generators: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
        """Draw the masks of all networks in the order in which a network trained alone draws them."""
        if self._masks is None:
            self._masks = self._find_masks(batch)
        device = batch["frames"].device
        of_each = [
            [drawn(torch.empty(shape, dtype=dtype, device=device), p, generator) for shape, dtype, p in self._masks]
            for generator in generators
        ]
        return tuple(torch.stack(masks) for masks in zip(*of_each, strict=True))

    def _find_masks(self, batch: Batch) -> list[tuple[torch.Size, torch.dtype, float]]:
        """Return shape, type and probability of each mask of a step, found in one pass of the first network."""
        found: list[tuple[torch.Size, torch.dtype, float]] = []

        def note(module: nn.Module, arguments: tuple[Tensor]) -> None:
            assert isinstance(module, RandomMask)
            if module.draws:
                mask = module.mask_like(arguments[0])
                found.append((mask.shape, mask.dtype, module.p))

        hooks = [module.register_forward_pre_hook(note) for module in self._random]
        tensors = {f"{_WRAPPED}{name}": tensor for name, tensor in self.weights(0, predicting=False).items()}
        with torch.no_grad(), self._precision.forward_context():
            functional_call(self._step, tensors, ({name: tensor[0] for name, tensor in batch.items()},))
        for hook in hooks:
            hook.remove()
        return found

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the average as Lightning's EMAWeightAveraging does: a copy after the first step, buffers included."""
        if self._average is None:
            return
        tensors = {**self._parameters, **self._buffers}
        if self._averages is None:
            self._averages = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            return
        for name, tensor in tensors.items():
            average = self._averages[name]
            average.copy_(self._average(average, tensor.detach(), torch.tensor(1)))

    def weights(self, index: int, predicting: bool = True) -> dict[str, Tensor]:
        """Return copies of one network's weights and buffers, by name.

        Args:
            index: index of the network.
            predicting: return the weights that predict, which may be an average; else those in training.
        """
        averaged = predicting and self._averages is not None
        tensors = self._averages if averaged else {**self._parameters, **self._buffers}
        assert tensors is not None
        return {name: tensor.detach()[index].clone() for name, tensor in tensors.items()}

    def keep(self, indices: Sequence[int]) -> None:
        """Continue with these networks only, in this order."""
        for tensor in self._parameters.values():
            tensor.grad = None
            state = self._optimizer.state.get(tensor, {})
            state |= {key: value[indices] for key, value in state.items() if value.ndim}
            tensor.data = tensor.data[indices]
        self._buffers = {name: tensor[indices] for name, tensor in self._buffers.items()}
        if self._averages is not None:
            self._averages = {name: tensor[indices] for name, tensor in self._averages.items()}

    def state(self, index: int) -> dict[str, Any]:
        """Return the whole state of one network, as tensors and plain values, to resume from."""
        moments = {
            name: {key: (value[index] if value.ndim else value).clone() for key, value in state.items()}
            for name, tensor in self._parameters.items()
            if (state := self._optimizer.state.get(tensor))
        }
        average = None if self._averages is None else self.weights(index)
        schedule = {key: value for key, value in self._schedule.state_dict().items() if key != "lr_lambdas"}
        rates = [group["lr"] for group in self._optimizer.param_groups]
        weights = self.weights(index, predicting=False)
        return {"weights": weights, "average": average, "moments": moments, "schedule": schedule, "rates": rates}

    @torch.no_grad()
    def load(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Load the states of all networks, which must have done equally many steps."""
        for name, tensor in {**self._parameters, **self._buffers}.items():
            tensor.copy_(torch.stack([state["weights"][name].to(tensor) for state in states]))
        for name, tensor in self._parameters.items():
            if name not in states[0]["moments"]:
                continue
            kept = [state["moments"][name] for state in states]
            self._optimizer.state[tensor] = {
                key: torch.stack([one[key].to(tensor) for one in kept]) if value.ndim else value.clone()
                for key, value in kept[0].items()
            }
        if states[0]["average"] is not None:
            self._averages = {
                name: torch.stack([state["average"][name].to(tensor) for state in states])
                for name, tensor in {**self._parameters, **self._buffers}.items()
            }
        self._schedule.load_state_dict({**states[0]["schedule"], "lr_lambdas": [None] * len(states[0]["rates"])})
        for group, rate in zip(self._optimizer.param_groups, states[0]["rates"], strict=True):
            group["lr"] = rate


class _Step(nn.Module):
    """A training step's loss and values as the forward of a module, whose tensors can be given from outside."""

    def __init__(self, module: RecognitionModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        losses, values, _ = self.module.evaluate(clips_of(batch))
        return losses.total, values


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.detach().contiguous() for tensor in tensors])


def _rows(gradient: Tensor) -> Tensor:
    """Return a tensor of at least two axes; a network's parameter may be a single number."""
    return gradient if gradient.ndim > 1 else gradient.unsqueeze(1)
