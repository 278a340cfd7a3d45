"""Weight files: a `torch.save` file is read as a state dict, or refused by name without running its content."""

import pickle
from pathlib import Path

import pytest
import torch

from fdp_lightning.models.weights import read_weights

ONE = torch.zeros(1)


@pytest.mark.parametrize("held", [{}, {"a": 1}, {1: ONE}, [ONE], {"state_dict": {"a": 1}}])
def test_a_file_without_a_state_dict_is_refused(held: object, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth .*state dict"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [b"no weights", pickle.dumps({"a": Path}, protocol=2)])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_refusal_does_not_pass_on_the_advice_to_run_code(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="weights") as refused:
        read_weights(tmp_path / name)
    assert "weights_only" not in str(refused.value)


def test_a_state_dict_is_unwrapped(tmp_path: Path) -> None:
    for held in ({"module.a": ONE}, {"state_dict": {"module.a": ONE}}):
        torch.save(held, tmp_path / "weights.pth")
        assert read_weights(tmp_path / "weights.pth") == {"a": ONE}
