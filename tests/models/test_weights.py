"""Weight files: any content of a `torch.save` file is read as a state dict or refused with the name of the file."""

import pickle
from pathlib import Path

import pytest
import torch

from fdp_lightning.models.weights import read_weights

ONE = torch.zeros(1)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("held", [{}, {"a": 1}, {1: ONE}, [ONE], torch.zeros(2), None])
def test_what_is_no_state_dict_is_refused(held: object, wrapped: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": held} if wrapped else held, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth does not contain a state dict"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps({"a": Path}, protocol=2)])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_refusal_does_not_pass_on_the_advice_to_run_code(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as weights") as refused:
        read_weights(tmp_path / name)
    assert "weights_only" not in str(refused.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_is_unwrapped(wrapped: bool, tmp_path: Path) -> None:
    held = {"module.a": ONE}
    torch.save({"state_dict": held} if wrapped else held, tmp_path / "weights.pth")
    assert read_weights(tmp_path / "weights.pth") == {"a": ONE}
