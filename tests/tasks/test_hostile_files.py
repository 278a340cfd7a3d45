"""Model folders, checkpoints and run folders with hostile content are refused with a message and without side effects.

An audit hook checks that nothing is imported, opened outside the folder, written, started or sent.
"""

import copy
import json
import os
import random
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.files import checksummed, sha256
from fdp_lightning.foreign import read_plain
from fdp_lightning.inference.packaging.model_file import FACTS, write_model
from fdp_lightning.inference.packaging.sources import SHIPPED
from fdp_lightning.models.classical.flow_kernel import FlowKernelClassifier
from fdp_lightning.models.classical.svc import SupportVectorClassifier
from fdp_lightning.models.parts import name_of
from fdp_lightning.models.recognizer import Objective
from fdp_lightning.runs.folder import recorded_config
from fdp_lightning.runs.pooling import read_expected, read_fold
from fdp_lightning.runs.seal import sealed
from fdp_lightning.tasks.compare import read_variants
from fdp_lightning.tasks.export import export
from tests.tasks.conftest import run_of

WATCHED = ("open", "import", "exec", "os.", "subprocess.", "shutil.", "socket.", "urllib.", "ctypes.dlopen", "pickle.")
QUIET = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")
CHECKERS = ("beartype", "jaxtyping", "equinox", "wadler_lindig")
"""Type checkers of the tests; they import modules lazily to format errors."""

_seen: list[tuple[str, str]] = []
_folder: list[Path] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _folder or not event.startswith(WATCHED) or event in QUIET:
        return
    first = str(arguments[0]) if arguments else ""
    if event == "open":
        writes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        inside = os.path.abspath(first).startswith(str(_folder[0]) + os.sep)  # noqa: PTH100 — no file is asked here
        if (inside or first.startswith((sys.prefix, sys.base_prefix))) and not writes:  # or part of an import
            return
    if event == "import" and first.partition(".")[0] in CHECKERS:
        return
    if event == "exec" and "<module>" in first:  # part of an import
        return
    _seen.append((event, first))


sys.addaudithook(_hook)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Fail if anything happens except reading files of this folder."""
    _seen.clear()
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # bytecode of the type checkers
    _folder.append(folder)
    try:
        yield
    finally:
        _folder.clear()
        sys.dont_write_bytecode = written
    assert not _seen


@pytest.fixture(params=[1, pytest.param(None, marks=pytest.mark.slow, id="all")])
def sample(request: pytest.FixtureRequest) -> int | None:
    count: int | None = request.param
    return count


def hostile(place: Path) -> list[Any]:
    """Return values that no valid file contains; one of them creates `place` if it is executed."""
    runs = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(place)]}}
    timm = {"_target_": "fdp_lightning.models.timm_backbone.TimmBackbone", "name": "resnet18", "image_size": 64}
    return [
        runs, [runs], {**timm, "pretrained": True}, "${oc.env:HOME}", "/etc/passwd", "../../../../etc/passwd", None,
        True, -1, 10**9, 10**30, 1e308, 0.5, "", "x" * 10_000, "hf-hub:a/b", [], {}, ["a"] * 6000,
        [[[[[[[[[[[[[[]]]]]]]]]]]]]],
    ]  # fmt: skip


def paths(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every entry of nested lists and mappings, including inner ones."""
    entries = node.items() if isinstance(node, dict) else enumerate(node[:3]) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*where, key)
        yield from paths(value, (*where, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    reduce(getitem, path[:-1], content)[path[-1]] = value
    return content


def fuzz(
    content: Any, write: Callable[[Any], object], read: Callable[[], object], folder: Path, sample: int | None,
    least: float, every: int = 1,
) -> set[tuple[Any, ...]]:  # fmt: skip
    """Replace each `every`-th entry by `sample` hostile values, or all entries by all values, and read.

    At least the share `least` must be refused. Returns the paths of entries for which a value was accepted.
    """
    draw, refused, accepted = random.Random(0), 0, Counter[tuple[Any, ...]]()
    for path in list(paths(content))[:: every if sample else 1]:
        values = hostile(folder.parent / "ran")
        for value in values if sample is None else draw.sample(values, sample):
            write(changed(content, path, value))
            with watched(folder):
                try:
                    read()
                except UserError as error:
                    assert str(error)
                    refused += 1
                else:
                    accepted[path] += 1
    assert not (folder.parent / "ran").exists()
    assert refused > least * (refused + accepted.total())
    return set(accepted)


def facts_of(folder: Path) -> dict[str, Any]:
    """Return the content of model.json without its checksum."""
    facts = json.loads((folder / FACTS).read_text())
    facts.pop("checksum")
    return facts


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / FACTS).write_text(checksummed(facts))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "model"))
    load_model(folder)  # triggers late imports
    return folder


@pytest.fixture
def run(finished_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(run_of(finished_workplace), tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_hostile_entries_of_a_model_are_refused(model: Path, sample: int | None) -> None:
    others_are_valid = {
        "name", "licence", "training", "synthetic", "input", "scores", "no_scores", "configuration", "alignment",
        "normalisation", "fitted", "sampling",
    }  # fmt: skip
    for path in fuzz(facts_of(model), partial(write_facts, model), partial(load_model, model), model, sample, 0.6):
        built = path[:2] == ("configuration", "model") and path[2:3] != ("optimizer",)
        assert path[0] in others_are_valid and (not built or len(path) > 2), path


def test_hostile_entries_of_a_checkpoint_are_refused(run: Path, tmp_path: Path, sample: int | None) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    place = folder / "x.ckpt"
    whole = torch.load(run / "folds/02/checkpoints/last.ckpt", weights_only=True)
    torch.save(whole, place)
    load_model(place)
    write = lambda made: torch.save({**whole, "fdp_lightning": made}, place)  # noqa: E731
    for path in fuzz(whole["fdp_lightning"], write, partial(load_model, place), folder, sample, 0.1, every=5):
        assert path[-1] != "_target_" or path[:2] != ("config", "model") or len(path) >= 5, path


def classical_model(folder: Path, name: str) -> Path:
    """Write a model folder of a fitted classical recogniser, with facts of the bundled model where they apply."""
    classes, size, draw = 3, 12, np.random.default_rng(0)
    maps, target = draw.normal(size=(12, 3, size, size)).astype(np.float32), np.arange(12) % classes
    channels = ["u", "v", "strain"]
    machine = SupportVectorClassifier(classes) if name == "svc" else FlowKernelClassifier(classes, channels)
    network, options = machine.fit(maps, target).as_network()
    facts = {key: value for key, value in facts_of(SHIPPED).items() if key not in ("format", "weights", "card")}
    facts |= {"classes": ["a", "b", "c"], "multi_label": False, "fitted": {}, "scores": None, "no_scores": "None."}
    facts["training"] |= {"class_counts": dict.fromkeys(facts["classes"], 4), "clips": 12}
    facts["taken"] = {
        "kind": "apex_flow", "method": "dis", "channels": channels, "size": size, "scale": "clip_minmax",
        "phases": ["onset_apex"], "gain": 1.0, "flip": 0.0, "divisors": [1.0, 1.0, 1.0],
    }  # fmt: skip
    facts["configuration"]["model"] = {
        "_target_": name_of(type(network)), "name": name, **options, "objective": {"_target_": name_of(Objective)},
        "optimizer": None,
    }  # fmt: skip
    folder.mkdir()
    write_model(folder, facts, network.state_dict())
    return folder


@contextmanager
def memory(gigabytes: float) -> Iterator[None]:
    """Limit the further memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", ["svc", "flow_kernel"])
def test_hostile_entries_of_a_classical_model_are_refused(name: str, tmp_path: Path, sample: int | None) -> None:
    folder = classical_model(tmp_path / "model", name)
    load_model(folder)
    facts = facts_of(folder)
    # Only entries that the bundled model lacks, as the rest is read alike.
    for where in (("configuration", "model"), ("taken",)):
        write = lambda new, where=where: write_facts(folder, changed(facts, where, new))  # noqa: E731
        content, values = reduce(getitem, where, facts), sample and 5
        with memory(1):
            accepted = fuzz(content, write, partial(load_model, folder), folder, values, 0.6)
        assert not {path[0] for path in accepted} & {"_target_", "features", "support", "clips", "image_size", "size"}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured as on Linux")
@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 100_000}, {"image_size": 0}, {"clips": 100_000, "image_size": 2000}, {"smoothing": [1e5]},
        {"smoothing": [-1.0]}, {"widths": [-1.0]}, {"widths": []}, {"divisions": ["pixel"]}, {"channels": ["u"] * 16},
    ],
)  # fmt: skip
def test_excessive_sizes_of_a_classical_model_are_refused_at_once(wrong: dict[str, Any], tmp_path: Path) -> None:
    folder = classical_model(tmp_path / "model", "flow_kernel")
    load_model(folder)
    facts = facts_of(folder)
    facts["configuration"]["model"] |= wrong
    write_facts(folder, facts)
    start = time.monotonic()
    with memory(1), watched(folder), pytest.raises(UserError):
        load_model(folder)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", ["hf-hub:a/b", "local-dir:."])
def test_a_backbone_of_a_model_file_is_asked_of_no_server_and_of_no_other_folder(name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "model"))
    facts = facts_of(folder)
    target = "fdp_lightning.models.timm_backbone.TimmBackbone"
    facts["configuration"]["model"]["backbone"] = {"_target_": target, "name": name, "image_size": 64}
    write_facts(folder, facts)
    with watched(folder), pytest.raises(UserError, match="unknown timm model"):
        load_model(folder)


READERS: dict[str, Callable[[Path], object]] = {
    "metrics.json": read_run, "expected.json": read_expected,
    "folds/01/fold.json": lambda run: read_fold(run / "folds/01"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(READERS))
def test_hostile_entries_of_the_json_files_of_a_run_are_refused(run: Path, name: str, sample: int | None) -> None:
    content = json.loads((run / name).read_text())
    READERS[name](run)
    write = lambda new: (run / name).write_text(json.dumps(new))  # noqa: E731
    every = 8 if name == "metrics.json" else 1  # hundreds of numbers, each read with all folds
    fuzz(content, write, partial(READERS[name], run), run, sample, 0.3, every)


def test_hostile_configurations_of_a_run_are_refused(run: Path, sample: int | None) -> None:
    path = run / "config.yaml"
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    recorded_config(run)
    parts = ("seed", "data", "protocol", "report", "selection", "logger")
    content = {name: content[name] for name in parts} | {"model": {}, "trainer": {}}
    content["data"] = {name: content["data"][name] for name in ("name", "generate", "show_faces", "normalisation")}

    write = lambda new: path.write_text(OmegaConf.to_yaml(OmegaConf.create({"top": new})["top"]))  # noqa: E731
    fuzz(content, write, partial(recorded_config, run), run, sample, 0.05)
    write(changed(content, ("report", "title"), "${oc.env:HOME}"))
    aliases, call = "a: &a [x, x]\nb: [*a, *a]\n", "a: !!python/object/apply:os.system [ls]\n"
    for text in (path.read_text(), aliases, call, "[1]", "a: {", ""):
        path.write_text(text)
        with pytest.raises(UserError), watched(run):
            recorded_config(run)


def replace(path: Path, kept: Path, kind: str) -> None:
    """Replace a file by a pipe or by a link to it, after moving it to `kept`."""
    path.rename(kept)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(kept)


@pytest.mark.parametrize("kind", ["pipe", "link"])
@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "folds/01/fold.json", "folds/01/predictions.csv"])
def test_pipes_and_links_in_a_run_are_refused_at_once(run: Path, name: str, kind: str) -> None:
    replace(run / name, run.parent / "kept", kind)
    with pytest.raises(UserError):
        read_variants([run])


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("1234")
    assert read_plain(tmp_path / "x.json", most_bytes=4) == b"1234"
    with pytest.raises(UserError, match="4 bytes"):
        read_plain(tmp_path / "x.json", most_bytes=3)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "README.md"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipes_and_links_in_a_model_are_refused_at_once(model: Path, name: str, kind: str) -> None:
    replace(model / name, model.parent / "kept", kind)
    with pytest.raises(UserError):
        load_model(model)
    with pytest.raises(UserError):
        export(configuration(f"export.checkpoint={model}", f"export.output={model.parent / 'out'}"))


@pytest.mark.parametrize("name", ["{run}/config.yaml", "../../config.yaml", "a\0b", "no", "log/pipe"])
def test_a_fold_that_names_other_files_than_its_own_is_refused(run: Path, name: str) -> None:
    name = name.format(run=run)
    (run / "folds/01/log").mkdir(exist_ok=True)
    os.mkfifo(run / "folds/01/log/pipe")
    path = run / "folds/01/fold.json"
    facts = json.loads(path.read_text())
    other = run / "folds/01" / name
    facts["checksums"][name] = sha256(other) if other.is_file() else "0" * 64
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError):
        sealed(run / "folds/01")
