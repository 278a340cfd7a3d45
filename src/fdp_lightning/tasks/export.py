"""`task=export`: the model file of a finished fold, or a model as ONNX."""

from pathlib import Path

from omegaconf import DictConfig

from fdp_lightning.errors import UserError


def export(config: DictConfig) -> None:
    """Write `export.output` from `export.checkpoint`.

    Raises:
        UserError: an option or the checkpoint is invalid.
    """
    options = config.export
    if options.checkpoint is None:
        raise UserError("export.checkpoint is missing: runs/<experiment>/<variant>/seed-<s>/folds/<fold>, or a model")
    from fdp_lightning.inference.model import Model
    from fdp_lightning.inference.packaging.model_file import write_model
    from fdp_lightning.inference.packaging.sources import SYNTHETIC, read_source

    facts, state = read_source(options.checkpoint, options.licence)
    model = Model(facts, state, str(options.checkpoint))  # raises if it cannot be built
    source = Path("." if options.checkpoint == SYNTHETIC else options.checkpoint)
    beside = source.parents[1] if source.suffix == ".ckpt" and len(source.parents) > 1 else source
    if options.to == "onnx":
        from fdp_lightning.inference.packaging.onnx_file import write_onnx

        place = Path(options.output or beside / "model.onnx")
        write_onnx(place, model)
    else:
        place = Path(options.output or beside / "model")
        write_model(place, facts, state)
    print(f"{facts['name']}: {place}")
