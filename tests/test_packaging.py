"""Packaging: requirements agree, wheel and container image are complete, and short answers are quick."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fdp_lightning import __version__
from fdp_lightning.config import CONF_DIR

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_the_same_everywhere() -> None:
    assert "version" in PYPROJECT["project"]["dynamic"]
    source = (ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]).read_text()
    assert re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE) == [__version__]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (str(citation["version"]), citation["license"]) == (__version__, PYPROJECT["project"]["license"])
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_environment_and_pyproject_agree_and_the_lock_pins_every_requirement() -> None:
    project = PYPROJECT["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert sorted(set(pip) - {"-e ."}) == sorted(project["dependencies"])
    assert f"python{project['requires-python']}" in conda
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = [re.fullmatch(r"([\w.-]+)==[\w.+!]+( ; .+)?", line) for line in lines]
    assert [line for line, match in zip(lines, pinned, strict=True) if match is None] == []
    names = {match[1].lower() for match in pinned if match}
    wanted = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    assert {re.split(r"[<>=~!\[ ]", r)[0].lower() for r in wanted} <= names


@pytest.mark.costly
def test_commands_that_train_nothing_do_not_import_torch(tmp_path: Path) -> None:
    tasks = ", ".join(f"fdp_lightning.tasks.{name}" for name in ("loso", "fit", "check_data", "report", "compare"))
    script = (
        f"import sys, {tasks}; sys.exit(str({{'torch', 'lightning', 'timm', 'matplotlib'}} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    script = (
        "import sys; from fdp_lightning.__main__ import main\n"
        "for line in ('--help', '--cfg job', 'model.poolingg=mean', '+experiment=synthetic_losso', 'task=nonsense'):\n"
        "    sys.argv[1:] = line.split()\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "    heavy = {'torch', 'lightning', 'pandas', 'cv2', 'timm', 'albumentations', 'wandb'} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{line}: imported {heavy}')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def instructions() -> list[tuple[str, str]]:
    """Return instruction and arguments of each step of the Dockerfile."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    steps = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(step.split()[0], step.split(maxsplit=1)[1]) for step in steps if step.strip()]


def test_the_image_copies_existing_files_and_runs_the_command_without_privileges() -> None:
    steps = instructions()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [what.split()[:-1] for kind, what in steps if kind == "COPY" and not what.startswith("--from")]
    for source in (Path(name) for names in copied for name in names):
        assert (ROOT / source).exists() and f"!{source.as_posix()}" in ignored, source
    assert ("ARG", "COMPUTE=cpu") in steps
    user = [what for kind, what in steps if kind == "USER"][-1]
    assert user.isdigit() and int(user) > 0
    (entry,) = (json.loads(what) for kind, what in steps if kind == "ENTRYPOINT")
    assert entry[0] in PYPROJECT["project"]["scripts"]


def test_a_cpu_image_omits_only_the_packages_of_cuda() -> None:
    (install,) = (what for kind, what in instructions() if kind == "RUN" and "grep" in what)
    words = shlex.split(install)
    pattern = re.compile(words[words.index("-vE") + 1])
    left_out = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if pattern.search(line)]
    assert len(left_out) > 10 and all("sys_platform == 'linux'" in line for line in left_out)
    assert not [line for line in left_out if line.startswith("torch")]


@pytest.mark.costly
def test_an_installed_wheel_has_every_file_and_answers(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)

    def said(*line: object) -> str:
        environment = os.environ | {"PYTHONPATH": str(site)}
        command = [*map(str, line)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    study = yaml.safe_load(said(site / "bin" / "fdp-lightning", "+study=components", "--cfg", "hydra"))
    assert "no rank losses" in study["hydra"]["sweeper"]["variants"]
    where = "import fdp_lightning.config as c; print(c.CONF_DIR); print(c.EXPERIMENTS / 'published.csv')"
    conf, published = map(Path, said(sys.executable, "-c", where).split())
    assert conf.is_relative_to(site) and published.is_relative_to(site)
    assert published.read_bytes() == (ROOT / "experiments" / "published.csv").read_bytes()
    for inside, place in ((site, ROOT / "src"), (conf, CONF_DIR)):
        for path in (path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            assert (inside / path.relative_to(place)).read_bytes() == path.read_bytes(), path
