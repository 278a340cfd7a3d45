"""`task=convert`: checkpoints between the layout of the code released with FDP and `model=fdp_released`."""

import io
from pathlib import Path

import torch
from omegaconf import DictConfig
from safetensors.torch import save
from torch import Tensor

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.inference.packaging.sources import network_of
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp_released import from_released, to_released
from fdp_lightning.models.weights import read_weights


def convert(config: DictConfig) -> None:
    """Convert `convert.input` to `convert.output` in the layout `convert.to`.

    The suffix of the output decides between safetensors and torch.save. In both directions the weights are loaded
    strictly into the network before anything is written.
    """
    options = config.convert
    source, target = Path(options.input), Path(options.output)
    try:
        weights = read_weights(source)
        state = network_of(weights) or weights  # a fold's checkpoint holds the objective too
        ours = from_released(state) if options.to == "ours" else state
        _require_loadable(ours, source)
        converted = ours if options.to == "ours" else to_released(ours)
    except ValueError as error:
        raise UserError(f"{error}\n  Nothing was written.") from error
    write_atomic(target, _bytes(converted, target))
    print(f"{target}: {len(converted)} tensors, {sum(value.numel() for value in converted.values()):,} numbers")
    if options.to == "released":
        print(f"  Its input is (grey - {float(ours['mean']):.6g}) / {float(ours['std']):.6g}, with grey from 0 to 1.")


def _require_loadable(state: dict[str, Tensor], source: Path) -> None:
    last = state.get("mer_head.classify.weight")
    if last is None:
        raise UserError(f"{source} is not a checkpoint of model=fdp_released: mer_head.classify.weight is missing")
    model = build_model(configuration("model=fdp_released"), classes=len(last))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{source} is not a checkpoint of model=fdp_released: {error}") from error


def _bytes(state: dict[str, Tensor], target: Path) -> bytes:
    state = {name: value.contiguous() for name, value in state.items()}
    if target.suffix == ".safetensors":
        return save(state)
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()
