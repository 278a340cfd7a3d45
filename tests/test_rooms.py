"""The architecture: imports run downward and never in a circle, and no package imports what it must do without."""

import ast
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fdp_lightning"
LEVELS = (
    ("__main__", "command_line"),
    ("tasks",),
    ("sweeps", "search", "preloaded", "inference"),
    ("engine",),
    ("tracking",),
    ("create", "runs"),
    ("training", "evaluation"),
    ("models", "data"),
    ("console",),
    ("instantiate", "config", "extras", "files", "foreign", "interrupts", "processes", "seeds", "with_parent"),
    ("errors", "labels"),
)
"""From the top: each package or file imports only from its own level and those below."""
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FORBIDDEN = {
    "models": {"lightning", "hydra", "omegaconf", "fdp_lightning.data"},
    "data": {"hydra", "omegaconf", "fdp_lightning.models"},
    "training": {"hydra", "omegaconf", "fdp_lightning.data", "fdp_lightning.evaluation"},
    "evaluation": {"torch", "lightning", "hydra", *(f"fdp_lightning.{r}" for r in ("models", "data", "training"))},
}
"""Package → what it must not import, besides everything above it."""
MODULES = {
    ".".join(("fdp_lightning", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Return the full names of everything that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in inner}
    return names


GRAPH = {module: (imported(path) & set(MODULES)) - {module, "fdp_lightning"} for module, path in MODULES.items()}


def test_imports_form_no_circle() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the circle


def test_imports_run_downward() -> None:
    def level(module: str) -> int:
        return LEVEL[module.split(".")[1]]

    inner = {module: used for module, used in GRAPH.items() if module != "fdp_lightning"}
    upward = [f"{module} → {one}" for module, used in inner.items() for one in used if level(one) < level(module)]
    assert upward == []


def within(name: str, places: Iterable[str], separator: str) -> bool:
    return any(f"{name}{separator}".startswith(f"{place}{separator}") for place in places)


def test_forbidden_imports() -> None:
    for package, forbidden in FORBIDDEN.items():
        for path in (PACKAGE / package).rglob("*.py"):
            assert [name for name in imported(path) if within(name, forbidden, ".")] == [], path
    users = [path.name for path in MODULES.values() if any(within(n, ["hydra.utils"], ".") for n in imported(path))]
    assert users == ["instantiate.py"]


WORDS_OF_FDP = re.compile(
    r"dynamic.?image|rank.?(scor|pool|loss|curve)|\b(arp|dic)(_|\b)|_arp\b|frame_scores|image_rms|mean_training_image",
    re.I,
)
KNOW_FDP = {
    "console/option_values.py": "the values of every configuration key",
    "evaluation/baselines.py": "the linear classifiers beside a run, one of which reads FDP's image",
    "inference/packaging/synthetic": "the bundled model is an FDP",
    "models": "FDP itself, and the list of classes that model files may name",
}
"""Files and packages that may name what only FDP has → why."""
KNOW_NOT = ("models/flow", "models/classical", "models/recognizer.py", "models/labels.py")


def test_no_other_file_names_what_only_fdp_has() -> None:
    found = []
    for path in (path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".js", ".html", ".j2", ".css"}):
        place = path.relative_to(PACKAGE).as_posix()
        if not within(place, KNOW_FDP, "/") or within(place, KNOW_NOT, "/"):
            found += [f"{place}: {word[0]}" for word in WORDS_OF_FDP.finditer(path.read_text())]
    assert found == []


def test_files_stay_short() -> None:
    assert [path.name for path in MODULES.values() if len(path.read_text().splitlines()) > 500] == []
