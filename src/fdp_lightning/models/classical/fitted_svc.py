"""A fitted support vector classifier as a network of plain tensors, for model files and ONNX without a pickle.

Every pair of classes i < j has a decision value, `d_ij(x) = Σ_s w_ij,s K(x, v_s) + b_ij`, which votes for i if it is
above 0 and for j otherwise, as in libsvm. Everything is computed in double precision, as in scikit-learn.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

KERNELS = ("rbf", "linear")


class FittedSVC(nn.Module):
    """A fitted classifier, zero until `load_state_dict` sets its values.

    Args:
        classes: number of classes, k.
        features: number of values per clip.
        support: number of support vectors of each class; 0 for a class without training clips, which is never
            predicted.
        kernel: 'rbf' or 'linear'.

    Attributes:
        about: short description for the model card.
        names: names of the configurations that count as published.
        holds: data of individual training clips that the file contains; networks contain none.
    """

    about = "a support vector classifier on all values of its input"
    names = ("svc",)
    holds = "the support vectors, each of which is the complete input of a training clip"
    mean: Tensor
    scale: Tensor
    vectors: Tensor
    weights: Tensor
    intercepts: Tensor
    gamma: Tensor
    places: Tensor

    def __init__(self, classes: int, features: int, support: Sequence[int], kernel: str = "rbf") -> None:
        super().__init__()
        known = [number for number, count in enumerate(support) if count > 0]
        if len(support) != classes or not known or min(support) < 0:
            raise ValueError(f"support is {list(support)}; expected the support vector counts of {classes} classes")
        if kernel not in KERNELS:
            raise ValueError(f"kernel is {kernel}; expected one of {', '.join(KERNELS)}")
        self.kernel, self.pairs = kernel, list(combinations(range(len(known)), 2))
        for name, shape in {
            "mean": (features,), "scale": (features,), "vectors": (sum(support), features),
            "weights": (len(self.pairs), sum(support)), "intercepts": (len(self.pairs),), "gamma": (),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        # Class → its index among the known ones; an unknown class gets the index after the last.
        places = [known.index(number) if number in known else len(known) for number in range(classes)]
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def forward(self, x: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        """Return logits whose softmax is `SupportVectorClassifier.predict_proba`."""
        return F.pad(self._values(x.flatten(1).double()), (0, 1), value=-torch.inf)[:, self.places]

    def _values(self, x: Tensor) -> Tensor:
        """Return one value per known class; the largest belongs to the class with the most votes."""
        if not self.pairs:
            return torch.zeros_like(x[:, :1])
        decisions = self._kernel((x - self.mean) / self.scale) @ self.weights.T + self.intercepts
        if len(self.pairs) == 1:
            return torch.cat([decisions, -decisions], dim=1)
        n = 1 + max(j for _, j in self.pairs)
        none = torch.zeros_like(decisions[:, :1])
        votes, margins = [none] * n, [none] * n
        for pair, (i, j) in enumerate(self.pairs):
            decision = decisions[:, pair : pair + 1]
            first = (decision > 0).double()
            votes[i], votes[j] = votes[i] + first, votes[j] + 1 - first
            margins[i], margins[j] = margins[i] + decision, margins[j] - decision
        all_votes, margin = torch.cat(votes, dim=1), torch.cat(margins, dim=1)
        values = all_votes + margin / (3 * (margin.abs() + 1))
        largest, voted = (scores.argmax(dim=1, keepdim=True) for scores in (values, all_votes))
        exchanged = values.scatter(1, largest, values.gather(1, voted))
        return exchanged.scatter(1, voted, values.gather(1, largest))

    def _kernel(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b s"]:
        products = x @ self.vectors.T
        if self.kernel == "linear":
            return products
        squares = x.square().sum(dim=1, keepdim=True) + self.vectors.square().sum(dim=1) - 2 * products
        return torch.exp(-self.gamma * squares.clamp_min(0))
