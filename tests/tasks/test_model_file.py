"""Model files: complete, portable, and read without executing anything in them."""

import json
import pickle
import re
import resource
import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fdp_lightning import load_model
from fdp_lightning.errors import UserError
from fdp_lightning.files import checksummed
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.building import build_network
from fdp_lightning.inference.packaging.model_file import FACTS, FORMAT, WEIGHTS, write_model
from fdp_lightning.inference.packaging.sources import SHIPPED, read_source
from fdp_lightning.models.flow.resnet18_flow import ResNet18Flow
from fdp_lightning.models.parts import name_of
from tests.tasks.conftest import run_of


@pytest.fixture(scope="module")
def fold(finished_workplace: Path) -> Path:
    return run_of(finished_workplace) / "folds" / "02"


@pytest.fixture
def model(fold: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_model(folder, *read_source(fold))
    return folder


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "shipped"))


def outputs(model: Model) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    with torch.no_grad():
        output = model.network(torch.rand(2, 8, 1, 64, 64))
    return {name: getattr(output, name).numpy() for name in ("logits", "rank_scores", "dynamic_image")}


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit model.json and update its checksum."""
    facts = json.loads((folder / FACTS).read_text())
    facts.pop("checksum")
    change(facts)
    (folder / FACTS).write_text(checksummed(facts))


def test_a_model_file_has_the_outputs_of_its_checkpoint(fold: Path, model: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copy(fold / "checkpoints/last.ckpt", tmp_path / "x.ckpt")
    expected = outputs(load_model(fold))
    for path in (fold / "checkpoints/last.ckpt", elsewhere, model, model / WEIGHTS, model / FACTS):
        for name, value in outputs(load_model(path)).items():
            np.testing.assert_array_equal(value, expected[name])


def test_a_model_file_describes_its_training_without_paths(fold: Path, model: Path, finished_workplace: Path) -> None:
    facts = json.loads((model / FACTS).read_text())
    assert (facts["synthetic"], facts["licence"], facts["input"]["frames"]) == (True, "Apache-2.0", 8)
    assert facts["classes"] == ["happiness", "disgust", "repression", "surprise", "others"]
    expected = {
        "held_out": ["synthetic/02"], "subjects": ["synthetic/01", "synthetic/03"], "clips": 20, "epochs": 2,
        "class_counts": dict.fromkeys(facts["classes"], 4), "seed": 0,
        "fingerprint": json.loads((fold / "fold.json").read_text())["fingerprint"],
    }  # fmt: skip
    assert {key: facts["training"][key] for key in expected} == expected
    for name in (FACTS, "README.md"):
        text = (model / name).read_text()
        assert str(finished_workplace) not in text and str(Path.home()) not in text


def test_a_damaged_file_is_named_and_not_loaded(model: Path) -> None:
    weights, facts = (model / WEIGHTS).read_bytes(), (model / FACTS).read_bytes()
    changed = weights[:-1] + bytes([weights[-1] ^ 1]), facts.replace(b'"surprise"', b'"surprize"')
    odd = [b"", b"[]", b"[" * 100_000, b"\xff\xfe"]
    for name, content in [(WEIGHTS, changed[0]), (FACTS, changed[1]), *((FACTS, content) for content in odd)]:
        whole = (model / name).read_bytes()
        (model / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(name)):
            load_model(model)
        (model / name).write_bytes(whole)
    load_model(model)
    (model / WEIGHTS).unlink()
    with pytest.raises(UserError, match=re.escape(WEIGHTS)):
        load_model(model)


def put(*keys: str, **values: object) -> Callable[[dict[str, Any]], object]:
    """Return a function that edits the entry under these keys."""
    return lambda facts: reduce(dict.__getitem__, keys, facts).update(values)


TIMM = {"_target_": "fdp_lightning.models.timm_backbone.TimmBackbone", "name": "resnet18", "image_size": 64}
NETWORK = "fdp_lightning.models.fdp.network"
REFUSED: dict[str, list[Callable[[dict[str, Any]], object]]] = {
    "is of format": [put(format=FORMAT + 1)],
    r"model\.scorer names": [
        put("configuration", "model", "scorer", _target_=target) for target in (
            "os.system", f"{NETWORK}.torch.load", f"{NETWORK}.Any", f"{NETWORK}.no.Such",
            "fdp_lightning.instantiate.build", "fdp_lightning.models.timm_backbone._create", ["os.system"],
        )
    ],
    r"backbone\.options": [
        put("configuration", "model", backbone={**TIMM, "options": options}) for options in (
            {"checkpoint_path": "/etc/passwd"}, {"pretrained_cfg": {}}, {"cache_dir": "x"}
        )
    ],
    "names a class at": [
        put("configuration", "model", pooling=[{"_target_": "os.system"}]),
        put("configuration", "model", "optimizer", rules={"_target_": "os.system"}),
    ],
    r"scores\.": [
        put("scores", uf1=0.99), put("scores", uf1_interval=[0.98, 0.99]), put("scores", n_subjects=26),
        put("scores", "floors", "majority", uf1=0.01), put("scores", "f1", surprise=1.0), put("scores", counts=[[[1]]]),
    ],
    "": [
        put("configuration", "model", "mer_head", hidden=10**5),
        put("configuration", "model", "backbone", stem_widths=[10**5, 10**5]),
        lambda facts: facts["classes"].append("sixth"), lambda facts: facts["configuration"]["model"].pop("scorer"),
        put("weights", numbers=1), put("sampling", frames=16), put("normalisation", mean=99.0),
    ],
}  # fmt: skip
"""Message → edits: only classes of this package are built, timm reads no files, scores must agree with their counts."""


@pytest.mark.parametrize("words", REFUSED)
def test_an_edited_model_is_refused_without_allocating_stated_sizes(words: str, shipped: Path) -> None:
    good, before = (shipped / FACTS).read_text(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for change in REFUSED[words]:
        (shipped / FACTS).write_text(good)
        rewrite(shipped, change)
        with pytest.raises(UserError, match=words or None):
            load_model(shipped)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_saved_model_needs_no_pretrained_weights(shipped: Path) -> None:
    start = {"pretrained": "/no/such/weights"}
    rewrite(shipped, put("configuration", "model", "backbone", **start))
    load_model(shipped)
    facts = json.loads((shipped / FACTS).read_text())  # of a network that loads its own initial weights
    facts["configuration"]["model"] = {"_target_": name_of(ResNet18Flow), **start}
    facts["taken"] = {"kind": "apex_flow", "channels": ["u", "v", "strain"], "size": 112, "phases": ["onset_apex"]}
    build_network(facts, ResNet18Flow(classes=5).state_dict(), "a file")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_pickled_code_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fdp_lightning": Bomb(), "state_dict": {}}, "evil.ckpt")
    Path("evil.pkl").write_bytes(pickle.dumps(Bomb()))
    for name in ("evil.ckpt", "evil.pkl"):
        with pytest.raises(UserError, match="cannot be read"):
            load_model(name)
    assert not Path("exploded").exists()


def test_other_or_altered_files_are_refused(tmp_path: Path, workplace: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.ckpt")
    checkpoint = run_of(workplace) / "folds/02/checkpoints/last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    for path, word in (
        (tmp_path / "none", "no such file"), (tmp_path, "missing"), (tmp_path / "other.ckpt", "not a checkpoint"),
        (checkpoint, "checksum"), (checkpoint.parents[1], "checksum"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            load_model(path)
