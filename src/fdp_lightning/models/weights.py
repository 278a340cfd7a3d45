"""Reading weight files without executing any of their content."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a safetensors file, or in a `torch.save` file of plain tensors.

    A state dict under the key `state_dict` and the prefix `module.` of data parallel training are unwrapped.

    Raises:
        ValueError: the file does not exist, or has no state dict that can be read without running pickled code.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # from pickle, zipfile or torch; torch's message advises disabling this protection
        raise ValueError(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors and plain values. Expected a "
            "file of a state dict only, safetensors or by torch.save"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise ValueError(f"{path} does not contain a state dict of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}
