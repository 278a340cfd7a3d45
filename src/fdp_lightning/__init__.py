"""fdp_lightning: facial micro-expression recognition by fine-grained dynamic perception (FDP)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdp_lightning.create import create_model, list_models
    from fdp_lightning.inference.model import load_model

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "list_models", "load_model"]


def __getattr__(name: str) -> Any:
    # Imported at first use, because Hydra and torch take seconds.
    if name in ("create_model", "list_models"):
        from fdp_lightning import create

        return getattr(create, name)
    if name == "load_model":
        from fdp_lightning.inference.model import load_model

        return load_model
    raise AttributeError(f"module 'fdp_lightning' has no attribute '{name}'")
