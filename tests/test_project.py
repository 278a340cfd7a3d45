"""The project as a whole: requirements agree, the wheel works elsewhere, every experiment composes."""

import os
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


def test_a_wheel_installed_elsewhere_answers(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [str(site / "bin" / "fdp-lightning"), "+experiment=synthetic_loso", "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["task"] == "loso"
    study = [str(site / "bin" / "fdp-lightning"), "+study=components", "--cfg", "hydra"]
    shown = subprocess.run(study, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert "no rank losses" in yaml.safe_load(shown)["hydra"]["sweeper"]["variants"]
    where = "import fdp_lightning.config as c; print(c.CONF_DIR); print(c.EXPERIMENTS / 'published.csv')"
    python = [sys.executable, "-c", where]
    found = subprocess.run(python, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    conf, published = map(Path, found.stdout.split())
    assert conf.is_relative_to(site)
    assert published.is_relative_to(site)
    assert (site / "hydra_plugins/fdp_launchers.py").is_file()
    inference = Path("fdp_lightning/inference")
    parts = [f"demo/demo.{kind}" for kind in ("html", "css", "js")]
    for name in (*parts, *(f"packaging/synthetic/{name}" for name in ("model.json", "model.safetensors", "README.md"))):
        assert (site / inference / name).read_bytes() == (ROOT / "src" / inference / name).read_bytes()
    assert published.read_bytes() == (ROOT / "experiments" / "published.csv").read_bytes()
