"""`task=convert`: checkpoints in the layout of the code released with FDP, into `model=fdp_released` and back."""

from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save
from torch import Tensor

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp_released import from_released, to_released
from fdp_lightning.models.weights import read_weights

_DIRECTIONS = ("ours", "released")


def convert(config: DictConfig) -> None:
    """Read `convert.input`, write `convert.output` in the layout `convert.to`; safetensors or torch.save by its suffix.

    Both ways the weights are loaded strictly into the network they are of before anything is written.
    """
    source, target = (_path(config, key) for key in ("input", "output"))
    direction = config.convert.to
    if direction not in _DIRECTIONS:
        raise UserError(f"convert.to is '{direction}'; allowed are {', '.join(_DIRECTIONS)}")
    try:
        state = _of_the_network(read_weights(source))
        ours = from_released(state) if direction == "ours" else state
        _load(ours, source)
        converted = ours if direction == "ours" else to_released(ours)
    except ValueError as error:
        raise UserError(f"{error}\n  Nothing was written.") from error
    write_atomic(target, _bytes(converted, target))
    print(f"{target}: {len(converted)} tensors, {sum(value.numel() for value in converted.values()):,} numbers")
    if direction == "released":
        print(
            f"  Frames have to come as (grey - {float(ours['mean']):.6g}) / {float(ours['std']):.6g}, grey of 0 to 1."
        )


def _path(config: DictConfig, key: str) -> Path:
    value = config.convert[key]
    if value is None:
        raise UserError(
            f"convert.{key} is missing: task=convert convert.input=<file> convert.output=<file> convert.to=…"
        )
    return Path(value)


def _of_the_network(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A fold's checkpoint holds the network under `model.`, beside its objective."""
    inside = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return inside or state


def _load(state: dict[str, Tensor], source: Path) -> None:
    last = state.get("mer_head.classify.weight")
    if last is None:
        raise UserError(f"{source} is no checkpoint of model=fdp_released: mer_head.classify.weight is missing")
    model = build_model(configuration("model=fdp_released"), classes=len(last))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{source} is no checkpoint of model=fdp_released: {error}") from error


def _bytes(state: dict[str, Tensor], target: Path) -> bytes:
    state = {name: value.contiguous() for name, value in state.items()}
    if target.suffix == ".safetensors":
        return save(state)
    import io

    import torch

    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()
