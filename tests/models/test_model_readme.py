"""models/README.md agrees with the code in its table, options and commands."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import configuration

pytestmark = pytest.mark.costly

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src" / "fdp_lightning" / "models"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
FIGURES = ROOT / "experiments" / "figures"
if not FIGURES.is_dir():
    pytest.skip("the scripts of the figures exist only in the repository", allow_module_level=True)

COMMANDS = re.findall(r"^    python -m fdp_lightning (.+)$", README, re.MULTILINE)
# Rows of deviations in the model: number, description, `option=released value`, right value.
DEVIATIONS = re.findall(r"^\|[^|]*\|[^|]*\| `(model[./][\w./]+)=(\w+)` \| `(\w+)`", README, re.MULTILINE)


def test_the_table_has_the_measured_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FIGURES))
    model_table = importlib.import_module("model_table")
    written = README.split(model_table.BEGIN)[1].split(model_table.END)[0].strip()
    assert written == model_table.table(), "run: python experiments/figures/model_table.py --write"


def test_the_released_model_has_the_deviations_of_the_table() -> None:
    assert [option for option, _, _ in DEVIATIONS] == [
        "model.backbone.attention", "model.scrambled_time", "model.backbone.local_mixer", "model.pooling",
        "model/dic_head", "model.frame_batches", "model.optimizer.decay_all",
    ]  # fmt: skip
    released = configuration("model=fdp_released")
    for option, value, right in DEVIATIONS:
        node, wanted, other = option.replace("/", "."), f"{option}={value}", f"{option}={right}"
        found = OmegaConf.select(released, node)
        assert found == OmegaConf.select(configuration("model=fdp_released", wanted), node)
        assert found != OmegaConf.select(configuration("model=fdp_released", other), node)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes(command: str) -> None:
    words = [word for word in shlex.split(command) if word != "-m"]
    configuration(*(word if "{" in word or "[" in word else word.split(",")[0] for word in words))  # first of a sweep
