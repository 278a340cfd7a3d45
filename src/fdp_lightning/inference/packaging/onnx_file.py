"""A model as ONNX, for programs without PyTorch: from aligned frames to probabilities and extras."""

import io
import json
import logging
import warnings
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from fdp_lightning.errors import UserError, first_line
from fdp_lightning.files import write_atomic
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.building import shape_of
from fdp_lightning.models.recognizer import AnyNumberOfClips, with_logits
from fdp_lightning.training.compute import PLAIN

INPUT = "clips"
PROBABILITIES = "probabilities"
"""Name of the first output, followed by the extras that the network itself computes (`Objective.of_output`)."""


class _Deployed(nn.Module):
    """The network for use: from clips (b, t, c, h, w) with values in [0, 1] to probabilities and extras."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = deepcopy(model.network).cpu()
        PLAIN.prepare(self.network)
        if isinstance(self.network, AnyNumberOfClips):
            self.network.take_any_number_of_clips()
        self.objective = deepcopy(model.objective).cpu()

    def outputs(self, clips: Tensor) -> dict[str, Tensor]:
        output = with_logits(self.network(clips))
        probabilities = self.objective.labels.probabilities(output.logits).float()
        return {PROBABILITIES: probabilities, **self.objective.of_output(output)}

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(clips).values())


def write_onnx(path: Path, model: Model) -> None:
    """Write the network as ONNX, for any number of clips at once, with the facts of model.json in its metadata.

    Decoding, face detection and alignment are not included: `facts["alignment"]` describes the expected frames.
    UserError if a part of the network cannot be expressed in ONNX, or the extra is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install 'fdp-lightning[onnx]'") from error
    clips = torch.rand(2, *shape_of(model.facts))
    network = _Deployed(model).eval()
    with torch.no_grad():
        names = list(network.outputs(clips))
    for name in ("onnxscript", "onnx_ir"):  # they report each rewritten node
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch.onnx
        try:
            program = torch.onnx.export(
                network,
                (clips,),
                dynamo=True,
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes={INPUT: {0: torch.export.Dim("clip", min=1)}},
                verbose=False,
            )
        except Exception as error:  # torch.onnx passes on the exceptions of export, translation and optimiser
            reason = first_line(error)
            raise UserError(
                f"{model.facts['name']} cannot be written as ONNX by torch {torch.__version__}: {reason}"
            ) from error
    assert program is not None
    proto = program.model_proto
    for key, value in {"fdp_lightning": json.dumps(model.facts), "classes": json.dumps(model.classes)}.items():
        proto.metadata_props.add(key=key, value=value)
    stream = io.BytesIO()
    onnx.save_model(proto, stream)
    write_atomic(path, stream.getvalue())
