"""Kernel ridge regression on flow maps, insensitive to how they were extracted; tuned on the training subjects only.

Provenance: ours, written for small sets of flow maps such as the 442 public ones of MEGC 2019.
Input: flow maps in any scale; u is negated in mirror images.
Scores, MEGC 2019, leave-one-subject-out: UF1 .7731, UAR .7926, accuracy .7896 on the maps published by CausalNet's
authors; .7508, .7770, .7647 on those published by STSTNet's.

* **Scale.** The zero and the unit of a map differ between clips (8-bit images are stretched channel by channel). Every
  channel is centred, u and v by their median, because most of a face does not move, and divided by its own standard
  deviation; or u and v by a common one, which keeps the direction.
* **Position.** Maps are smoothed by Gaussians of several widths, because faces are aligned to a pixel or two at best.
* **Mirror image.** The kernel of a pair is the mean over a training clip and its mirror image, with u negated, so a
  clip and its mirror image get the same prediction.
* **Width.** The kernel is the mean of Gaussian kernels of several widths, in units of the median squared distance.

Few choices remain: the division, the ridge λ and the temperature of the probabilities. `fit` chooses them jointly by
the class-balanced log-likelihood of leaving out each training subject in turn, which ridge regression has in closed
form: with M = K + λ W⁻¹, W the class weights and α = M⁻¹ Y, the values for the clips g of one subject by the machine
fitted without them are Y_g − (M⁻¹)_gg⁻¹ α_g (W and the median distances remain those of all training clips). Held-out
subjects are never used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Shaped
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.processes import one_thread

SMOOTHING = (0.7, 1.0, 1.5)
"""Standard deviations of the smoothing Gaussians, pixels; averaged over."""
WIDTHS = (0.5, 1.0, 2.0)
"""Exponents of the kernels, per median squared distance; averaged over."""
DIVISIONS = (("channel", "joint"), ("channel",), ("joint",))
"""Candidates of the division; two are averaged over."""
RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidates of λ."""
TEMPERATURES = (1.0, 1.5, 2.0, 3.0)
"""Candidates of the factor of the values before the softmax."""
_TINY = 1e-6
"""Added to standard deviations, so that a map without motion stays zero."""


class FlowKernelMachine(nn.Module):
    """A fitted machine as a network of plain tensors, for model files and ONNX.

    Args:
        classes: number of classes, k.
        clips: number of training clips, n.
        channels: channels of each phase, in order; u is negated in a mirror image.
        in_channels: number of channels, all phases together.
        image_size: side of the maps, pixels.
        smoothing: see `SMOOTHING`.
        widths: see `WIDTHS`.
        divisions: the chosen of `DIVISIONS`.
    """

    about = "kernel ridge regression on flow maps"
    names = ("flow_kernel",)
    holds = "the flow maps of all training clips"
    maps: Tensor
    values: Tensor
    bias: Tensor
    medians: Tensor
    unknown: Tensor
    sign: Tensor
    moving: Tensor
    smooth: Tensor

    def __init__(
        self,
        classes: int,
        clips: int,
        channels: Sequence[str],
        in_channels: int,
        image_size: int,
        smoothing: Sequence[float],
        widths: Sequence[float],
        divisions: Sequence[str],
    ) -> None:
        super().__init__()
        if not channels or in_channels % len(channels):
            raise ValueError(f"flow_kernel got {in_channels} maps; expected a multiple of channels={list(channels)}")
        if not widths or min(widths) <= 0 or not divisions or not set(divisions) <= set(DIVISIONS[0]):
            raise ValueError(f"flow_kernel got {widths=}, {divisions=}; expected numbers above 0, and channel or joint")
        self.channels = [*channels] * (in_channels // len(channels))
        self.phase = len(channels)
        self.widths, self.divisions = tuple(widths), tuple(divisions)
        sign = torch.tensor([-1.0 if name == "u" else 1.0 for name in self.channels], dtype=torch.float64)
        self.register_buffer("sign", sign[:, None, None], persistent=False)
        moving = torch.tensor([name in ("u", "v") for name in self.channels])
        self.register_buffer("moving", moving[:, None], persistent=False)
        # Buffers of zeros, nothing computed: the options may come from an untrusted model file.
        for name, shape in {
            "maps": (clips, in_channels, image_size, image_size), "values": (clips, classes), "bias": (classes,),
            "medians": (len(self.divisions), len(smoothing)), "unknown": (classes,),
            "smooth": (len(smoothing), image_size, image_size),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Return logits whose softmax is the probabilities; −inf for a class without training clips."""
        return self.kernel(x.double()) @ self.values + self.bias + self.unknown

    def kernel(self, x: Float64[Tensor, "b c h w"]) -> Float64[Tensor, "b n"]:
        """Return the kernel between clips and the training clips."""
        total = torch.zeros(())
        for division, medians in zip(self.divisions, self.medians, strict=True):
            rows, training = self.rows(x, division), self.rows(self.maps, division)
            mirrored = self.rows(self.maps.flip(-1) * self.sign, division)
            for row, one, other, median in zip(rows, training, mirrored, medians, strict=True):
                for distance in (_distances(row, one), _distances(row, other)):
                    total = total + sum(torch.exp(-width * distance / median) for width in self.widths)
        return total / (2 * len(self.widths) * self.medians.numel())

    def measure(self) -> None:
        """Set the median squared distances of the training clips and their mirror images."""
        for index, division in enumerate(self.divisions):
            pairs = zip(
                self.rows(self.maps, division), self.rows(self.maps.flip(-1) * self.sign, division), strict=True
            )
            for width, (one, other) in enumerate(pairs):
                both = torch.cat([_distances(one, one), _distances(one, other)])
                self.medians[index, width] = float(np.median(both.numpy())) or 1.0

    def rows(self, maps: Float64[Tensor, "n c h w"], division: str) -> list[Float64[Tensor, "n d"]]:
        """Return the centred, divided and smoothed values of each clip, for each width of smoothing."""
        flat = maps.flatten(2)
        middle = torch.where(self.moving, _median(flat), flat.mean(dim=2, keepdim=True))
        flat = flat - middle
        deviation = flat.var(dim=2, keepdim=True, correction=0).sqrt()
        if division == "joint":
            parts = flat.unflatten(1, (-1, self.phase))
            moving = self.moving[: self.phase].double()
            squares = (parts.square() * moving).mean(dim=3, keepdim=True).sum(dim=2, keepdim=True)
            common = (squares / moving.sum().clamp_min(1)).sqrt().expand(-1, -1, self.phase, -1).flatten(1, 2)
            deviation = torch.where(self.moving, common, deviation)
        scaled = (flat / (deviation + _TINY)).unflatten(2, maps.shape[2:])
        return [(matrix @ scaled @ matrix.T).flatten(1) for matrix in self.smooth.unbind()]


class FlowKernelClassifier:
    """The classifier; call `fit`, then `predict_proba`.

    Args:
        classes: number of classes of the protocol, k; a class without training clips is never predicted.
        channels: channels of each phase of the input, in order.
        phases: phases of the input; maps of directions are refused, because they have no mirror image.
        divisions: candidates of the divisions.

    Raises:
        ValueError: a phase is a map of directions, or a division is unknown.

    Attributes:
        inputs: kinds of `input` that it takes.
        chosen: the chosen divisions, ridge and temperature; None before `fit`.
    """

    inputs = ("maps", "apex_flow")

    def __init__(
        self,
        classes: int = 3,
        channels: Sequence[str] = ("u", "v", "strain"),
        phases: Sequence[str] = ("onset_apex",),
        divisions: Sequence[Sequence[str]] = DIVISIONS,
    ) -> None:
        if directions := [phase for phase in phases if phase.endswith("_direction")]:
            raise ValueError(
                f"flow_kernel mirrors its maps, but input.phases={directions} are maps of directions; expected phases "
                "of flow"
            )
        if not divisions or not all(divisions) or not set().union(*divisions) <= set(DIVISIONS[0]):
            raise ValueError(f"flow_kernel got divisions={divisions}; expected lists of channel and joint")
        self.classes, self.channels, self.divisions = classes, tuple(channels), divisions
        self.chosen: tuple[Sequence[str], float, float] | None = None

    def fit(
        self, x: Shaped[np.ndarray, "n c h w"], y: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"] | None = None
    ) -> "FlowKernelClassifier":
        """Fit on training clips.

        Args:
            x: flow maps of each clip.
            y: class numbers, 0..k-1.
            subjects: subject of each clip, left out in turn to choose the settings; if None, or if there is only one
                subject, each clip is left out in turn.

        Raises:
            ValueError: the maps do not fit the channels.
        """
        groups = np.arange(len(y)) if subjects is None or len(np.unique(subjects)) < 2 else subjects
        maps = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        known = np.unique(y)
        targets = np.full((len(y), self.classes), -1.0)
        targets[np.arange(len(y)), y] = 1
        weights = len(y) / (len(known) * np.bincount(y, minlength=self.classes)[y])
        best = -np.inf
        with one_thread(), threadpool_limits(1), torch.no_grad():  # the same sums on any number of cores
            for divisions in self.divisions:
                machine = self._machine(maps, divisions)
                kernel = machine.kernel(machine.maps).numpy()
                for ridge in RIDGES:
                    inverse = np.linalg.inv(kernel + 1 + ridge * np.diag(1 / weights))
                    weighted = inverse @ targets
                    values = left_out(inverse, weighted, targets, groups)[:, known]
                    for temperature in TEMPERATURES:
                        score = _likelihood(temperature * values, np.searchsorted(known, y), weights)
                        if score > best:
                            best, self.chosen = score, (divisions, ridge, temperature)
                            self.machine = machine
                            solution = torch.from_numpy(temperature * weighted)
                            machine.values.copy_(solution)
                            machine.bias.copy_(solution.sum(dim=0))
            self.machine.unknown[[each for each in range(self.classes) if each not in known]] = -torch.inf
        return self

    def predict_proba(self, x: Shaped[np.ndarray, "m c h w"]) -> Float[np.ndarray, "m k"]:
        """Return the probabilities of each class; 0 for a class without training clips."""
        with torch.no_grad():
            return F.softmax(self.machine(torch.from_numpy(np.ascontiguousarray(x))), dim=1).numpy()

    def features(self, x: Shaped[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n d"]:
        """Return the values that the kernels compare, all divisions and widths of smoothing in one row per clip."""
        maps = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        rows = [row for division in self.machine.divisions for row in self.machine.rows(maps, division)]
        return torch.cat(rows, dim=1).numpy()

    def as_network(self) -> tuple[FlowKernelMachine, dict[str, Any]]:
        """Return the fitted machine as a network, and the options that build a network of the same form."""
        return self.machine.eval(), self._options(self.machine.maps.shape, self.machine.divisions)

    def _machine(self, maps: Tensor, divisions: Sequence[str]) -> FlowKernelMachine:
        """Return a machine that only lacks its values."""
        from scipy.ndimage import gaussian_filter1d

        machine = FlowKernelMachine(self.classes, **self._options(maps.shape, divisions))
        machine.maps.copy_(maps)
        # The matrices that smooth the columns of a map, with the map mirrored at its edges.
        smooth = [gaussian_filter1d(np.eye(maps.shape[-1]), width, axis=0) for width in SMOOTHING]
        machine.smooth.copy_(torch.from_numpy(np.stack(smooth)))
        machine.measure()
        return machine

    def _options(self, shape: Sequence[int], divisions: Sequence[str]) -> dict[str, Any]:
        clips, in_channels, image_size, _ = shape
        return {
            "clips": clips, "channels": list(self.channels), "in_channels": in_channels, "image_size": image_size,
            "smoothing": list(SMOOTHING), "widths": list(WIDTHS), "divisions": list(divisions),
        }  # fmt: skip


def left_out(
    inverse: Float[np.ndarray, "n n"],
    weighted: Float[np.ndarray, "n k"],
    targets: Float[np.ndarray, "n k"],
    groups: Shaped[np.ndarray, " n"],
) -> Float[np.ndarray, "n k"]:
    """Return the values of each clip by the machine that is fitted without the clips of its group (its subject).

    By the formula at the top of this file, from M⁻¹, α = M⁻¹ Y, and Y: 1 for a clip's class and −1 for the others.
    """
    values = np.empty_like(targets)
    for group in np.unique(groups):
        of = np.flatnonzero(groups == group)
        values[of] = targets[of] - np.linalg.solve(inverse[np.ix_(of, of)], weighted[of])
    return values


def _likelihood(logits: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean log-likelihood of clips weighted by `weights`."""
    from scipy.special import log_softmax

    return float(np.mean(weights * log_softmax(logits, axis=1)[np.arange(len(y)), y]))


def _median(values: Float64[Tensor, "n c p"]) -> Float64[Tensor, "n c 1"]:
    """Return the mean of the two middle values (`torch.median` returns the lower one)."""
    ordered, p = values.sort(dim=2).values, values.shape[2]
    return (ordered[..., (p - 1) // 2 : (p - 1) // 2 + 1] + ordered[..., p // 2 : p // 2 + 1]) / 2


def _distances(one: Float64[Tensor, "m d"], other: Float64[Tensor, "n d"]) -> Float64[Tensor, "m n"]:
    """Return the squared distances of all pairs."""
    squares = one.square().sum(dim=1, keepdim=True) + other.square().sum(dim=1) - 2 * one @ other.T
    return squares.clamp_min(0)
