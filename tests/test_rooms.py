"""Data flows one way: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fdp_lightning"
FORBIDDEN = {
    "models": {"lightning", "hydra", "omegaconf", "fdp_lightning.data", "fdp_lightning.evaluation"},
    "data": {"hydra", "omegaconf", "fdp_lightning.models", "fdp_lightning.training", "fdp_lightning.evaluation"},
    "training": {"hydra", "omegaconf", "fdp_lightning.data", "fdp_lightning.evaluation"},
    "evaluation": {
        "torch",
        "lightning",
        "hydra",
        "fdp_lightning.models",
        "fdp_lightning.data",
        "fdp_lightning.training",
    },
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", [*FORBIDDEN])
def test_a_room_imports_only_what_it_may(room: str) -> None:
    forbidden = FORBIDDEN[room] | {"fdp_lightning.tasks"}
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported(path):
            assert not any(name == bad or name.startswith(f"{bad}.") for bad in forbidden), f"{path} imports {name}"


def test_instantiate_is_called_in_one_place_only() -> None:
    users = [p.name for p in PACKAGE.rglob("*.py") if any(n.startswith("hydra.utils") for n in imported(p))]
    assert users == ["build.py"]


def test_files_stay_short() -> None:
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}
