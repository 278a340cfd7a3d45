"""The two kinds of labels: a clip has one class, or shows any number of action units.

Each kind defines its loss, class weights, probabilities and correct decisions. The protocol determines the kind, which
is passed in when the objective is built, so no option can contradict it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.classification_loss import class_weights, emotion_loss, positive_weights, unit_loss

THRESHOLD = 0.5
"""A unit is predicted if its probability is above this."""


class SingleLabel:
    """One of k classes per clip: softmax and cross-entropy."""

    loss = staticmethod(emotion_loss)

    def weights(self, counts: Sequence[int], clips: int, weighting: str, beta: float) -> Float[Tensor, " k"]:
        """Return `class_weights`; `clips` is unused, because the counts add up to it."""
        return class_weights(counts, weighting, beta)

    def probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Return the probabilities of the classes in double precision; those of a clip sum to 1."""
        return logits.double().softmax(dim=1)

    def right(self, logits: Float[Tensor, "b k"], target: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return 1 for a clip whose most probable class is the true one, else 0."""
        return (logits.argmax(dim=1) == target).double()

    def log_odds(self, logits: Float[Tensor, "b k"], index: int) -> Float[Tensor, " b"]:
        """Return the log ratio of a class's probability to that of all others, in double precision."""
        others = [i for i in range(logits.shape[1]) if i != index]
        return logits[:, index].double() - logits[:, others].double().logsumexp(dim=1)


class MultiLabel:
    """Any number of k action units per clip: sigmoid and binary cross-entropy."""

    loss = staticmethod(unit_loss)
    weights = staticmethod(positive_weights)

    def probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Return the probability that each unit is shown, in double precision."""
        return torch.sigmoid(logits.double())

    def right(self, logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """Return the share of a clip's k decisions that are correct."""
        # By the probabilities, not the signs of the logits, as in the predictions table.
        return ((self.probabilities(logits) > THRESHOLD) == (target > 0.5)).double().mean(dim=1)

    def log_odds(self, logits: Float[Tensor, "b k"], index: int) -> Float[Tensor, " b"]:
        """Return the log ratio of a unit's probability to that of its absence, in double precision."""
        return logits[:, index].double()


LABELS: dict[LabelKind, SingleLabel | MultiLabel] = {LabelKind.SINGLE: SingleLabel(), LabelKind.MULTI: MultiLabel()}
