"""`task=export`: the model file of a finished fold, or a model as ONNX."""

from pathlib import Path

from omegaconf import DictConfig

from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.model_file import write_model
from fdp_lightning.inference.packaging.onnx_file import write_onnx
from fdp_lightning.inference.packaging.sources import folder_of_source, read_source


def export(config: DictConfig) -> None:
    """Write `export.output` from `export.checkpoint`; UserError if one of them is invalid."""
    options = config.export
    facts, state = read_source(options.checkpoint, options.licence)
    model = Model(facts, state, str(options.checkpoint))  # raises if it cannot be built
    name = "model.onnx" if options.to == "onnx" else "model"
    place = Path(options.output or folder_of_source(options.checkpoint) / name)
    if options.to == "onnx":
        write_onnx(place, model)
    else:
        write_model(place, facts, state)
    print(f"{facts['name']}: {place}")
