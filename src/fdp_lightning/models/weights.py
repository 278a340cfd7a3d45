"""Files of weights, read without executing any of their content."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a safetensors file, or of a file of `torch.save` that holds plain tensors.

    A state dict under the key `state_dict` and the prefix `module.` of data parallel training are unwrapped.

    Raises:
        ValueError: there is no such file, or it holds no state dict that can be read without running pickled code.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # of pickle, zip or torch, which advises to read it without this safety
        raise ValueError(
            f"{path} cannot be read as weights: damaged, or more than tensors and plain values. Expected a state dict "
            "saved alone, as safetensors or by torch.save"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise ValueError(f"{path} holds no state dict of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}
