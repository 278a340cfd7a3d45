"""The project as a whole: requirements agree, the wheel works elsewhere, every experiment composes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fdp_lightning.config import CONF_DIR

pytestmark = pytest.mark.costly

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXPERIMENTS = sorted((CONF_DIR / "experiment").glob("[!_]*.yaml"))  # the others are shared parts


def test_environment_and_pyproject_agree() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert sorted(set(pip) - {"-e ."}) == sorted(PROJECT["dependencies"])
    assert f"python{PROJECT['requires-python']}" in conda


def test_the_lock_pins_every_requirement_and_names_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = [re.fullmatch(r"([\w.-]+)==[\w.+!]+( ; .+)?", line) for line in lines]
    assert [line for line, match in zip(lines, pinned, strict=True) if match is None] == []
    names = {match[1].lower() for match in pinned if match}
    wanted = PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    assert {re.split(r"[<>=~!\[ ]", r)[0].lower() for r in wanted} <= names


def test_torch_and_torchvision_are_a_pair_whose_operators_load() -> None:
    import torch
    from torchvision.ops import nms

    kept = nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1.01]]), torch.tensor([0.9, 0.8]), 0.5)
    assert kept.tolist() == [0]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_how_it_is_run_and_stays_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith(f"# python -m fdp_lightning +experiment={path.stem}")
    assert len(lines) <= 20


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--cfg", "job"], ["model.poolingg=mean"], ["+experiment=synthetic_losso"], ["task=nonsense"]],
)
def test_quick_answers_come_before_torch_is_imported(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys; from fdp_lightning.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'pandas', 'cv2', 'timm', 'albumentations', 'wandb'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
