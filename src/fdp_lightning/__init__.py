"""fdp_lightning: facial micro-expression recognition by fine-grained dynamic perception (FDP)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdp_lightning.create import create_model, list_models
    from fdp_lightning.inference.model import load_model

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "list_models", "load_model"]


def __getattr__(name: str) -> Any:
    # Imported on first use, because importing Hydra and torch takes seconds.
    homes = {"create_model": "create", "list_models": "create", "load_model": "inference.model"}
    if name not in homes:
        raise AttributeError(f"module 'fdp_lightning' has no attribute '{name}'")
    return getattr(import_module(f"fdp_lightning.{homes[name]}"), name)
