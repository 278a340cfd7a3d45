"""Kernel ridge regression on flow maps whose extraction no longer shows; all choices on the training subjects.

Provenance: ours. Written for small sets of flow maps, as the 442 public ones of MEGC 2019. What it does about them:

* **Scale.** A map's zero and unit differ from clip to clip (8-bit pictures are stretched channel by channel). Every
  channel is centred, u and v by their median, because most of a face does not move, and divided by its own deviation;
  or u and v by a common one, which keeps the direction.
* **Place.** Maps are smoothed by Gaussians of several widths, because faces are aligned to a pixel or two at best.
* **Mirror.** The kernel of a pair is the mean of those of the clip and of its mirror image, u negated: the machine
  gives a clip and its mirror image the same answer.
* **Width.** The kernel is the mean of Gaussian kernels of several widths, in units of the median distance.

Few choices are left: the division, the ridge λ and the temperature of the probabilities. `fit` makes them together by
the class-balanced log-likelihood of leaving out one training subject after the other, which ridge regression has in
closed form: with M = K + λ W⁻¹, W the class weights, α = M⁻¹ Y, the values of the clips g of one subject by the machine
without them are Y_g − (M⁻¹)_gg⁻¹ α_g (W and the median distances stay those of all training clips). No held-out subject
is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

DIVISIONS = ("channel", "joint")
_LARGEST_SIDE = 1024
"""Pixels of a map; the matrices that smooth it grow with the square."""
_TINY = 1e-6
"""Added to deviations, so that a map without motion stays zero."""


@dataclass(frozen=True)
class FlowKernelSettings:
    """What is averaged over, and what `fit` chooses from.

    Attributes:
        smoothing: deviations of the Gaussians, pixels of a map; averaged over.
        widths: exponents of the kernels, per median squared distance; averaged over.
        divisions: to choose from: lists of `DIVISIONS`, averaged over where there are two.
        ridges: λ, to choose from.
        temperatures: factors of the values before the softmax, to choose from.
    """

    smoothing: Sequence[float] = (0.7, 1.0, 1.5)
    widths: Sequence[float] = (0.5, 1.0, 2.0)
    divisions: Sequence[Sequence[str]] = (("channel", "joint"), ("channel",), ("joint",))
    ridges: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0)
    temperatures: Sequence[float] = (1.0, 1.5, 2.0, 3.0)

    def __post_init__(self) -> None:
        for name in ("smoothing", "widths", "ridges", "temperatures"):
            numbers = getattr(self, name)
            if not numbers or min(numbers) <= 0:
                raise ValueError(f"flow_kernel {name}={list(numbers)}; expected numbers above 0")
        if not self.divisions or not all(self.divisions) or not set().union(*self.divisions) <= set(DIVISIONS):
            raise ValueError(f"flow_kernel divisions={self.divisions}; expected lists of {', '.join(DIVISIONS)}")


class FlowKernelMachine(nn.Module):
    """The fitted machine of n training clips as a network of plain tensors: for model files and ONNX.

    `channels` are those of each phase, in order, of which u is negated in a mirror image; `in_channels` are those of
    all phases. `smoothing`, `widths` and the chosen `divisions` are of `FlowKernelSettings`.
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
        if not 1 <= image_size <= _LARGEST_SIDE or clips < 1:
            raise ValueError(
                f"flow_kernel got {clips} clips of maps of {image_size} pixels; expected at least one, of 1 to "
                f"{_LARGEST_SIDE} pixels"
            )
        # Before the matrices are made: a wide Gaussian takes as long as it is wide.
        if not smoothing or not all(0 < each <= image_size for each in smoothing):
            raise ValueError(f"flow_kernel smoothing={list(smoothing)}; expected numbers above 0, to {image_size}")
        if not widths or not min(widths) > 0 or not divisions or not set(divisions) <= set(DIVISIONS):
            raise ValueError(
                f"flow_kernel widths={list(widths)}, divisions={list(divisions)}; expected numbers above 0 and some of "
                f"{', '.join(DIVISIONS)}"
            )
        self.channels = [*channels] * (in_channels // len(channels))
        self.phase = len(channels)
        self.widths, self.divisions = tuple(widths), tuple(divisions)
        sign = torch.tensor([-1.0 if name == "u" else 1.0 for name in self.channels], dtype=torch.float64)
        self.register_buffer("sign", sign[:, None, None], persistent=False)
        moving = torch.tensor([name in ("u", "v") for name in self.channels])
        self.register_buffer("moving", moving[:, None], persistent=False)
        # Nothing is computed of these options: a model file may say anything.
        for name, shape in {
            "maps": (clips, in_channels, image_size, image_size), "values": (clips, classes), "bias": (classes,),
            "medians": (len(self.divisions), len(smoothing)), "unknown": (classes,),
            "smooth": (len(smoothing), image_size, image_size),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Return logits, whose softmax are the probabilities; −inf for a class without a training clip."""
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
            for place, (one, other) in enumerate(pairs):
                both = torch.cat([_distances(one, one), _distances(one, other)])
                self.medians[index, place] = float(np.median(both.numpy())) or 1.0

    def rows(self, maps: Float64[Tensor, "n c h w"], division: str) -> list[Float64[Tensor, "n d"]]:
        """Return the values of each clip for each width of smoothing, centred and divided."""
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
    """The classifier; `fit`, then `predict_proba`.

    Args:
        classes: k, of the protocol; one without a training clip is never predicted.
        channels: of each phase of the input, in order.
        phases: of the input; maps of directions have no mirror image.
        settings: see `FlowKernelSettings`.

    Raises:
        ValueError: a phase is a map of directions.

    Attributes:
        inputs: kinds of `input` that it takes.
        chosen: division, ridge and temperature, after `fit`.
    """

    inputs = ("maps", "apex_flow")

    def __init__(
        self,
        classes: int = 3,
        channels: Sequence[str] = ("u", "v", "strain"),
        phases: Sequence[str] = ("onset_apex",),
        settings: FlowKernelSettings = FlowKernelSettings(),
    ) -> None:
        if directions := [phase for phase in phases if phase.endswith("_direction")]:
            raise ValueError(
                f"flow_kernel mirrors its maps, and input.phases={directions} are of directions; expected phases "
                "of flow"
            )
        self.classes, self.channels, self.settings = classes, tuple(channels), settings
        self.chosen: tuple[Sequence[str], float, float] | None = None

    def fit(
        self, x: Shaped[np.ndarray, "n c h w"], y: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"] | None = None
    ) -> "FlowKernelClassifier":
        """Fit on training clips.

        Args:
            x: flow maps of each clip.
            y: class numbers, 0..k-1.
            subjects: of each clip; the choices leave out one of them after the other. None, or one subject alone: the
                choices leave out one clip after the other.

        Raises:
            ValueError: no clip, a class number that is none, or maps that do not fit the channels.
        """
        from threadpoolctl import threadpool_limits

        if not len(y) or y.min() < 0 or y.max() >= self.classes:
            raise ValueError(
                f"flow_kernel got {len(y)} clips of the classes {np.unique(y)}; expected some of 0..{self.classes - 1}"
            )
        groups = np.arange(len(y)) if subjects is None or len(np.unique(subjects)) < 2 else subjects
        maps = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        known = np.unique(y)
        targets = np.full((len(y), self.classes), -1.0)
        targets[np.arange(len(y)), y] = 1
        weights = len(y) / (len(known) * np.bincount(y, minlength=self.classes)[y])
        best, threads = -np.inf, torch.get_num_threads()
        try:
            torch.set_num_threads(1)  # the same sums on any number of cores
            with threadpool_limits(1), torch.no_grad():
                for divisions, machine, kernel in self._kernels(maps):
                    for ridge in self.settings.ridges:
                        inverse = np.linalg.inv(kernel + 1 + ridge * np.diag(1 / weights))
                        weighted = inverse @ targets
                        values = left_out(inverse, weighted, targets, groups)[:, known]
                        for temperature in self.settings.temperatures:
                            score = _likelihood(temperature * values, np.searchsorted(known, y), weights)
                            if score > best:
                                best, self.chosen = score, (divisions, ridge, temperature)
                                self.machine = machine
                                solution = torch.from_numpy(temperature * weighted)
                                machine.values.copy_(solution)
                                machine.bias.copy_(solution.sum(dim=0))
                self.machine.unknown[[each for each in range(self.classes) if each not in known]] = -torch.inf
        finally:
            torch.set_num_threads(threads)
        return self

    def predict_proba(self, x: Shaped[np.ndarray, "m c h w"]) -> Float[np.ndarray, "m k"]:
        """Return the probabilities of each class; 0 for one without a training clip."""
        with torch.no_grad():
            return F.softmax(self.machine(torch.from_numpy(np.ascontiguousarray(x))), dim=1).numpy()

    def features(self, x: Shaped[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n d"]:
        """Return the values that kernels compare: of each division and width of smoothing, in one row a clip."""
        maps = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        rows = [row for division in self.machine.divisions for row in self.machine.rows(maps, division)]
        return torch.cat(rows, dim=1).numpy()

    def as_network(self) -> tuple[FlowKernelMachine, dict[str, Any]]:
        """Return the fitted machine as a network, and the options that build one of its form."""
        return self.machine.eval(), self._options(self.machine.maps.shape, self.machine.divisions)

    def _kernels(self, maps: Tensor) -> list[tuple[Sequence[str], FlowKernelMachine, np.ndarray]]:
        found = []
        for divisions in self.settings.divisions:
            machine = FlowKernelMachine(self.classes, **self._options(maps.shape, divisions))
            machine.maps.copy_(maps)
            smooth = [_gaussian(maps.shape[-1], each) for each in self.settings.smoothing]
            machine.smooth.copy_(torch.from_numpy(np.stack(smooth)))
            machine.measure()
            found.append((divisions, machine, machine.kernel(machine.maps).numpy()))
        return found

    def _options(self, shape: Sequence[int], divisions: Sequence[str]) -> dict[str, Any]:
        clips, in_channels, image_size, _ = shape
        return {
            "clips": clips, "channels": list(self.channels), "in_channels": in_channels, "image_size": image_size,
            "smoothing": list(self.settings.smoothing), "widths": list(self.settings.widths),
            "divisions": list(divisions),
        }  # fmt: skip


def left_out(
    inverse: Float[np.ndarray, "n n"],
    weighted: Float[np.ndarray, "n k"],
    targets: Float[np.ndarray, "n k"],
    groups: Shaped[np.ndarray, " n"],
) -> Float[np.ndarray, "n k"]:
    """Return the values of each clip by the machine that is fitted without the clips of its group.

    `inverse` is M⁻¹, `weighted` α = M⁻¹ Y, and `targets` Y of the formula above.
    """
    values = np.empty_like(targets)
    for group in np.unique(groups):
        of = np.flatnonzero(groups == group)
        values[of] = targets[of] - np.linalg.solve(inverse[np.ix_(of, of)], weighted[of])
    return values


def _likelihood(logits: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean log-likelihood, every class of the same weight."""
    from scipy.special import log_softmax

    return float(np.mean(weights * log_softmax(logits, axis=1)[np.arange(len(y)), y]))


def _gaussian(side: int, deviation: float) -> np.ndarray:
    """Return the matrix that smooths the columns of a map, which goes on mirrored at its edges."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(np.eye(side), deviation, axis=0))


def _median(values: Float64[Tensor, "n c p"]) -> Float64[Tensor, "n c 1"]:
    """Return the mean of the two middle values (`torch.median` gives the lower one)."""
    ordered, p = values.sort(dim=2).values, values.shape[2]
    return (ordered[..., (p - 1) // 2 : (p - 1) // 2 + 1] + ordered[..., p // 2 : p // 2 + 1]) / 2


def _distances(one: Float64[Tensor, "m d"], other: Float64[Tensor, "n d"]) -> Float64[Tensor, "m n"]:
    """Return the squared distances of all pairs."""
    squares = one.square().sum(dim=1, keepdim=True) + other.square().sum(dim=1) - 2 * one @ other.T
    return squares.clamp_min(0)
