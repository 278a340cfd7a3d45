"""The fingerprint: everything counts except what the tables exclude, and a run folder is used with one at a time."""

import copy
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from fdp_lightning.config import configuration
from fdp_lightning.runs.claims import run_claim
from fdp_lightning.runs.fingerprint import (
    FILES_LEFT_OUT,
    KEYS_LEFT_OUT,
    PACKAGE,
    content_of,
    decisive_files,
    fingerprint,
    program,
)
from tests.tasks.conftest import run_of, start


def plain(*overrides: str) -> Any:
    return OmegaConf.to_container(configuration(*overrides), resolve=True)


def leaves(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if not entries:
        yield where
    for key, value in entries:
        yield from leaves(value, (*where, key))


def places(path: tuple[Any, ...]) -> set[str]:
    """Return the dotted names of a leaf and of all its parents."""
    return {".".join(map(str, path[:depth])) for depth in range(1, len(path) + 1)}


def test_every_key_of_the_configuration_counts_or_is_in_the_table() -> None:
    seen: set[tuple[Any, ...]] = set()
    found = {place for path in leaves(plain("model=resnet18_flow")) for place in places(path)}
    for command in ("data=synthetic", "data=casme2 data.root=x model=fdp_tiny model/backbone=timm"):
        config = plain(*command.split())
        before = fingerprint(OmegaConf.create(config), "content")
        for path in set(leaves(config)) - seen:
            found |= places(path)
            changed = copy.deepcopy(config)
            reduce(getitem, path[:-1], changed)[path[-1]] = "another value"
            same = fingerprint(OmegaConf.create(changed), "content") == before
            assert same == bool(places(path) & set(KEYS_LEFT_OUT) - {"model.backbone.pretrained"}), path
        seen |= set(leaves(config))
    assert set(KEYS_LEFT_OUT) <= found
    of_data = (f"data.{name}" for name in ("batch_size", "shuffle", "sampling", "augmentation", "normalisation"))
    of_model = ("model.objective", "model.optimizer", "input", "trainer.precision", "trainer.max_epochs")
    for key in ("seed", "selection", "protocol.classes", "protocol.shuffled", *of_data, *of_model):  # must count
        assert key in found and not places(tuple(key.split("."))) & set(KEYS_LEFT_OUT)
    names = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    assert not [left for left in FILES_LEFT_OUT if not any(fnmatch(name, left) for name in names)]


def test_the_source_of_training_and_prediction_counts() -> None:
    names = {*(PACKAGE / "models").rglob("*.py"), *(PACKAGE / "training").rglob("*.py")}
    names -= {PACKAGE / "models/attribution.py"}  # not used in prediction
    names |= {PACKAGE / f"engine/{name}.py" for name in ("plan", "process", "train_fold", "outputs", "devices")}
    names |= {PACKAGE / name for name in ("instantiate.py", "seeds.py", "data/loading/datamodule.py")}
    assert names <= set(decisive_files())


def test_comments_docstrings_and_layout_do_not_count() -> None:
    source = "def f(x):\n    return x + 1\n"
    assert program(source) == program('"""A."""\n\n\ndef f(x):  # why\n    """B."""\n    return (x +\n        1)\n')
    assert program(source) != program(source.replace("1", "2"))


def test_clips_and_frames_count_but_not_their_place(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    clips = casme2_clips.assign(target=casme2_clips["emotion"], split="")
    before = content_of(store_folder_path, clips)
    assert content_of(Path(shutil.copytree(store_folder_path, tmp_path / "elsewhere-000000000000")), clips) == before
    others = [clips.assign(target="surprise"), clips.assign(apex=3), clips.iloc[1:], clips.iloc[::-1]]
    assert len({before, *(content_of(store_folder_path, other) for other in others)}) == 5
    index = tmp_path / "elsewhere-000000000000/index.parquet"
    table = pd.read_parquet(index)
    table.loc[0, "checksum"] = "0" * 64
    table.to_parquet(index)
    assert content_of(index.parent, clips) != before


def test_a_command_with_other_settings_moves_nothing_in_a_run_in_use(workplace: Path) -> None:
    run, other = run_of(workplace), "f" * 12
    before = sorted(run.glob("folds/*/*"))
    with run_claim(run, other):
        done = start(workplace, f"run={run.relative_to(workplace)}", "model.optimizer.lr=0.1", code=2)
    assert other in done.stderr and sorted(run.glob("folds/*/*")) == before
