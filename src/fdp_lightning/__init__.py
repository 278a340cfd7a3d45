"""fdp_lightning: facial micro-expression recognition by fine-grained dynamic perception (FDP)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdp_lightning.create import create_model, list_models
    from fdp_lightning.inference.model import Model

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "list_models", "load_model"]


def load_model(path: Path | str = "synthetic", device: str = "cpu", own: Sequence[type] = ()) -> "Model":
    """A trained model, ready to look at footage: `load_model("model").predict("clip.mp4")`.

    Args:
        path: a model folder, a finished fold of a run, or its checkpoint; 'synthetic' is the model that comes along.
        device: 'cpu' or 'cuda'.
        own: networks and objectives of your own that the model may be of: `load_model(fold, own=[my.Net])`.

    Raises:
        UserError: there is none, or it is damaged, edited, or of another version.
    """
    from fdp_lightning.inference.model import load_model  # torch: not before it is asked for

    return load_model(path, device, own)


def __getattr__(name: str) -> Any:
    if name in ("create_model", "list_models"):
        from fdp_lightning import create  # Hydra: not before it is asked for

        return getattr(create, name)
    raise AttributeError(f"module 'fdp_lightning' has no attribute '{name}'")
