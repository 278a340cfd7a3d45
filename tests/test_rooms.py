"""The house: imports run downward, there is no circle, and no room imports what it has to do without."""

import ast
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fdp_lightning"
LEVELS = (
    ("__main__", "command_line"),
    ("tasks",),
    ("sweeps", "search", "preloaded", "inference"),
    ("engine",),
    ("tracking",),
    ("create", "measuring", "runs"),
    ("training", "evaluation"),
    ("models", "data"),
    ("console",),
    ("instantiate", "config", "extras", "files", "foreign", "interrupts", "processes", "seeds", "with_parent"),
    ("errors", "labels"),
)
"""From the top: a room, or a file beside the rooms, imports from its own level and from those below."""
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FORBIDDEN = {
    "models": {"lightning", "hydra", "omegaconf", "fdp_lightning.data"},
    "data": {"hydra", "omegaconf", "fdp_lightning.models"},
    "training": {"hydra", "omegaconf", "fdp_lightning.data", "fdp_lightning.evaluation"},
    "evaluation": {"torch", "lightning", "hydra", *(f"fdp_lightning.{r}" for r in ("models", "data", "training"))},
}
"""Room → what it must not import, besides what stands above it."""

MODULES = {
    ".".join(("fdp_lightning", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, at its top or late, for types alone too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in inner}
    return names


GRAPH = {module: (imported(path) & set(MODULES)) - {module, "fdp_lightning"} for module, path in MODULES.items()}


def test_no_file_imports_itself_by_way_of_others() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the circle


def test_imports_run_downward() -> None:
    def level(module: str) -> int:
        return LEVEL[module.split(".")[1]]

    inner = {module: used for module, used in GRAPH.items() if module != "fdp_lightning"}
    upward = [f"{module} → {one}" for module, used in inner.items() for one in used if level(one) < level(module)]
    assert upward == []


@pytest.mark.parametrize("room", [*FORBIDDEN])
def test_a_room_does_without(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported(path):
            assert not any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN[room]), f"{path}: {name}"


def test_instantiate_is_called_in_one_place_only() -> None:
    users = [path.name for path in MODULES.values() if any(n.startswith("hydra.utils") for n in imported(path))]
    assert users == ["instantiate.py"]


WORDS_OF_FDP = re.compile(
    r"dynamic.?image|rank.?(scor|pool|loss|curve)|\b(arp|dic)(_|\b)|_arp\b|frame_scores|image_rms|mean_training_image",
    re.I,
)
KNOW_FDP = {
    "console/option_values.py": "the values of every configuration key",
    "evaluation/baselines.py": "the linear classifiers beside a run: of no recogniser, but one reads FDP's picture",
    "inference/packaging/synthetic": "the bundled model is an FDP",
    "models": "FDP itself, and the list of what model files may name",
}
"""Files and rooms that may name what is FDP's alone → why."""
KNOW_NOT = ("models/flow", "models/classical", "models/recognizer.py", "models/labels.py")


def test_no_other_file_knows_an_fdp_word() -> None:
    def within(place: str, places: Iterable[str]) -> bool:
        return any(place == one or place.startswith(f"{one}/") for one in places)

    found = []
    for path in PACKAGE.rglob("*"):
        place = path.relative_to(PACKAGE).as_posix()
        if path.suffix not in {".py", ".js", ".html", ".j2", ".css"} or (
            within(place, KNOW_FDP) and not within(place, KNOW_NOT)
        ):
            continue
        found += [f"{place}: {word[0]}" for word in WORDS_OF_FDP.finditer(path.read_text())]
    assert found == []


def test_files_stay_short() -> None:
    long = {path.name: n for path in MODULES.values() if (n := len(path.read_text().splitlines())) > 500}
    assert long == {}
