"""The two kinds of labels: a clip is of one class, or it shows any number of action units.

Each kind in one place: loss, class weights, probabilities, and correct decisions. The protocol determines the kind and
is passed on by whoever builds the objective, so that no option can contradict it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.classification_loss import class_weights, emotion_loss, positive_weights, unit_loss

THRESHOLD = 0.5
"""A unit is predicted where its probability is above this."""


class SingleLabel:
    """One class of k: softmax and cross-entropy."""

    loss = staticmethod(emotion_loss)

    def weights(self, counts: Sequence[int], clips: int, weighting: str, beta: float) -> Float[Tensor, " k"]:
        """See `classification_loss.class_weights`; `clips` is not needed, the counts add up to it."""
        return class_weights(counts, weighting, beta)

    def probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Probabilities of the classes, double precision; those of a clip sum to 1."""
        return logits.double().softmax(dim=1)

    def right(self, logits: Float[Tensor, "b k"], target: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return 1 for a clip whose most probable class is its own, else 0."""
        return (logits.argmax(dim=1) == target).double()

    def log_odds(self, logits: Float[Tensor, "b k"], index: int) -> Float[Tensor, " b"]:
        """The logarithm of a class's probability over that of all others, double precision."""
        others = [i for i in range(logits.shape[1]) if i != index]
        return logits[:, index].double() - logits[:, others].double().logsumexp(dim=1)


class MultiLabel:
    """Each of k action units is shown or not: sigmoid and binary cross-entropy."""

    loss = staticmethod(unit_loss)
    weights = staticmethod(positive_weights)

    def probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Probabilities that each unit is shown, double precision; those of a clip need not sum to 1."""
        return torch.sigmoid(logits.double())

    def right(self, logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """Share of a clip's k decisions that are correct."""
        # By the probabilities and not by the logits' signs: the predictions table decides by them too.
        return ((self.probabilities(logits) > THRESHOLD) == (target > 0.5)).double().mean(dim=1)

    def log_odds(self, logits: Float[Tensor, "b k"], index: int) -> Float[Tensor, " b"]:
        """The logarithm of a unit's probability over that of its absence, double precision."""
        return logits[:, index].double()


LABELS: dict[LabelKind, SingleLabel | MultiLabel] = {LabelKind.SINGLE: SingleLabel(), LabelKind.MULTI: MultiLabel()}
