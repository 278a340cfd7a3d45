"""The README beside the model says what the code does: its table, its figure, its options, its commands, its links."""

import importlib.util
import re
import shlex
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import matplotlib
import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, Root, configuration
from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, MOTION_MEASURES
from fdp_lightning.models.emotion_loss import CLASS_WEIGHTINGS
from fdp_lightning.models.fdp import FRAME_BATCHES, HEAD_BLOCKS
from fdp_lightning.models.local_aggregator import LOCAL_MIXERS
from fdp_lightning.models.objective import IMAGE_SCALES
from fdp_lightning.models.rank.losses import RANK_LOSSES
from fdp_lightning.models.rank.pooling_modules import POOLINGS
from fdp_lightning.training import optimizer

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src" / "fdp_lightning" / "models"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
FIGURES = ROOT / "experiments" / "figures"
if not FIGURES.is_dir():
    pytest.skip("the figures' scripts are in the repository alone", allow_module_level=True)

VALUES = {
    "model.pooling": POOLINGS,
    "model.head_block": HEAD_BLOCKS,
    "model.frame_batches": FRAME_BATCHES,
    "model.backbone.local_mixer": LOCAL_MIXERS,
    "model.objective.rank_loss": RANK_LOSSES,
    "model.objective.image_kind": DYNAMIC_IMAGES,
    "model.objective.image_scale": IMAGE_SCALES,
    "model.objective.motion_measure": MOTION_MEASURES,
    "model.objective.class_weighting": CLASS_WEIGHTINGS,
    "model.optimizer.name": optimizer._OPTIMIZERS,
    "model.optimizer.schedule": optimizer._SCHEDULES,
    "model/mer_head": [path.stem for path in (CONF_DIR / "model" / "mer_head").glob("*.yaml")],
    "model/dic_head": [path.stem for path in (CONF_DIR / "model" / "dic_head").glob("*.yaml")],
}
COMMANDS = re.findall(r"^    python -m fdp_lightning (.+)$", README, re.MULTILINE)
# A deviation's row: number, what, `option=released value`, right value. Those of the model alone.
DEVIATIONS = re.findall(r"^\|[^|]*\|[^|]*\| `(model[./][\w./]+)=(\w+)` \| `(\w+)`", README, re.MULTILINE)


def script(name: str, patch: pytest.MonkeyPatch) -> ModuleType:
    patch.syspath_prepend(str(FIGURES))
    spec = importlib.util.spec_from_file_location(f"figures_{name}", FIGURES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    model_table = script("model_table", monkeypatch)
    written = README.split(model_table.BEGIN)[1].split(model_table.END)[0].strip()
    assert written == model_table.table(), "run: python experiments/figures/model_table.py --write"


def test_the_figure_is_what_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    architecture = script("architecture", monkeypatch)
    for name in ("once.svg", "again.svg"):
        architecture.save(tmp_path / name)
    drawn, committed = (tmp_path / "once.svg").read_bytes(), (FOLDER / "architecture.svg").read_bytes()
    assert drawn == (tmp_path / "again.svg").read_bytes()
    ElementTree.fromstring(committed)
    # Texts are paths, each with its words in a comment before it; another matplotlib may draw the paths differently.
    comments = re.compile(rb"<!--(.*?)-->", re.DOTALL)
    assert comments.findall(committed) == comments.findall(drawn), "run: python experiments/figures/architecture.py"
    for stage in configuration("model=fdp").model.backbone.stages:
        assert f"<!-- {stage.width} → {stage.global_width}".encode() in committed
    if f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "requirements.lock").read_text():
        assert committed == drawn, "run: python experiments/figures/architecture.py"


@pytest.mark.parametrize("option", [*VALUES])
def test_all_values_of_an_option_are_named(option: str) -> None:
    named = re.search(rf"`{option}`: ((?:`\w+`(?: \([\w ]+\))?(?:, )?)+)", README)
    assert named is not None
    assert sorted(re.findall(r"`(\w+)`", named[1])) == sorted(VALUES[option])


def test_every_option_exists() -> None:
    configurations = [configuration("model=fdp"), configuration("model=fdp", "model/backbone=timm")]
    options = set(re.findall(r"`((?:model|trainer)\.[\w.]+)(?:`|=)", README)) - {"model.safetensors"}
    assert len(options) > 20
    for option in options:
        section, key = option.rsplit(".", 1)
        assert any(key in (OmegaConf.select(config, section) or {}) for config in configurations), option


def test_the_released_model_has_the_released_values() -> None:
    assert [option for option, _, _ in DEVIATIONS] == [
        "model.backbone.attention",
        "model.scrambled_time",
        "model.backbone.local_mixer",
        "model.pooling",
        "model/dic_head",
        "model.frame_batches",
        "model.optimizer.decay_all",
    ]
    released = configuration("model=fdp_released")
    for option, value, right in DEVIATIONS:
        node, wanted, other = option.replace("/", "."), f"{option}={value}", f"{option}={right}"
        found = OmegaConf.select(released, node)
        assert found == OmegaConf.select(configuration("model=fdp_released", wanted), node)
        assert found != OmegaConf.select(configuration("model=fdp_released", other), node)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes(command: str) -> None:
    experiment = re.search(r"\+experiment=(\w+)", command)
    if experiment is not None and not (CONF_DIR / "experiment" / f"{experiment[1]}.yaml").is_file():
        pytest.skip(f"there is no experiment {experiment[1]} yet")
    if "task=convert" in command and "convert" not in {field.name for field in fields(Root)}:
        pytest.skip("there is no task convert yet")
    words = [word for word in shlex.split(command) if word != "-m"]
    # Of a sweep its first job.
    configuration(*(word if "{" in word or "[" in word else word.split(",")[0] for word in words))


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(links) > 15
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_every_file_of_the_model_is_named() -> None:
    """A table that forgets a part is worse than none."""
    shared = {"__init__.py", "soft_rank.py", "segnet.py", "unet.py"}
    files = {path.name for path in FOLDER.rglob("*.py")} - shared
    assert {name for name in files if name not in README} == set()
