"""Files of weights: whatever a file of `torch.save` holds, it is read as a state dict or refused by its name."""

from pathlib import Path

import pytest
import torch

from fdp_lightning.models.weights import read_weights

ONE = torch.zeros(1)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("held", [{}, {"a": 1}, {1: ONE}, [ONE], torch.zeros(2), None])
def test_what_is_no_state_dict_is_refused(held: object, wrapped: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": held} if wrapped else held, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth holds no state dict"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_is_unwrapped(wrapped: bool, tmp_path: Path) -> None:
    held = {"module.a": ONE}
    torch.save({"state_dict": held} if wrapped else held, tmp_path / "weights.pth")
    assert read_weights(tmp_path / "weights.pth") == {"a": ONE}
