"""A fitted support vector classifier as a network: plain tensors in a model file, and ONNX, in place of a pickle.

Every pair of classes i < j has its own decision value, `d_ij(x) = Σ_s w_ij,s K(x, v_s) + b_ij`, which votes for i where
it is above 0 and else for j, as in libsvm. All is computed in double precision, as scikit-learn does.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

KERNELS = ("rbf", "linear")


class FittedSVC(nn.Module):
    """The fitted machine; `load_state_dict` brings its numbers.

    Args:
        classes: k.
        features: values of a clip.
        support: support vectors of each class; 0 for one without a training clip, which is never predicted.
        kernel: 'rbf' or 'linear'.

    Attributes:
        about: what it is, for the card of a model.
        names: names of models that are as they were published.
        holds: what of single training clips the file holds; networks hold nothing of the kind.
    """

    about = "a support vector classifier on all values of its input"
    names = ("svc",)
    holds = "the support vectors, each of them all values that the input of a training clip had"
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
            raise ValueError(f"support is {list(support)}; expected the support vectors of {classes} classes")
        if kernel not in KERNELS:
            raise ValueError(f"kernel is {kernel}; expected one of {', '.join(KERNELS)}")
        self.kernel, self.pairs = kernel, list(combinations(range(len(known)), 2))
        for name, shape in {
            "mean": (features,), "scale": (features,), "vectors": (sum(support), features),
            "weights": (len(self.pairs), sum(support)), "intercepts": (len(self.pairs),), "gamma": (),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        # Class → its place among the known ones; one behind the last for a class that is not.
        places = [known.index(number) if number in known else len(known) for number in range(classes)]
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def forward(self, x: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        """Logits, whose softmax are the probabilities of `SupportVectorClassifier.predict_proba`."""
        return F.pad(self._values(x.flatten(1).double()), (0, 1), value=-torch.inf)[:, self.places]

    def _values(self, x: Tensor) -> Tensor:
        """One value for each known class; the largest stands at the class that most pairs vote for."""
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
