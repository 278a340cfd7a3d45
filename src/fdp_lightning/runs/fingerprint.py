"""The fingerprint of a run: everything counts as determining predictions, except entries of the tables below."""

import ast
import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.inputs.flow import implementation
from fdp_lightning.data.store.clip_store import open_index
from fdp_lightning.files import sha256
from fdp_lightning.labels import KEY

PACKAGE = Path(__file__).resolve().parents[1]


def _by_name(reasons: dict[str, str]) -> dict[str, str]:
    return {name: why for why, names in reasons.items() for name in names.split()}


KEYS_LEFT_OUT = _by_name(
    {
        "which part of the run the command works on": "task fold",
        "paths": "runs run data.root data.store",
        "processes": "data.workers data.loader_workers loso.workers",
        "how often the state of a training is saved": "loso.checkpoint_seconds",
        "messages": "loso.quick_model",
        "reporting": "logger report data.show_faces model.name compare",
        "another task": "benchmark convert check_data tune fit export predict demo",
        "affects the clip table, which counts": "corrections data.name data.adapter",
        "rejects clip tables, changes none": "protocol.expected protocol.source protocol.strict",
        "affects the clip table and the aligned frames, which count": "data.policy data.generate",
        "affects the aligned frames, which count": "data.faces",
        "if it names a file, the file's content counts": "model.pretrained model.backbone.pretrained",
    }
)
"""Keys of the configuration that do not count, including all keys below them → the reason."""

FILES_LEFT_OUT = _by_name(
    {
        "scores predictions": "evaluation/*",
        "uses trained models": "inference/*",
        "reporting": "tracking/* engine/explanations.py models/attribution.py",
        "starts runs": "sweeps/* engine/launch.py tasks/__init__.py __main__.py command_line.py",
        "another task": "search/* data/input_video/* tasks/benchmark.py tasks/check_data.py tasks/compare.py "
        "tasks/convert.py tasks/demo.py tasks/export.py tasks/predict.py tasks/prepare.py tasks/report.py "
        "tasks/tune.py",
        "messages": "console/* engine/display.py errors.py",
        "paths, seals, scores": "runs/*",
        "generates frames, which count": "data/synthetic/*",
        "stores frames, which count": "data/store/*",
        "aligns frames, which count": "data/faces/*",
        "builds the clip table, which counts": "data/datasets/* data/annotations/action_units.py "
        "data/annotations/corrections.py data/protocols/counts.py data/protocols/clip_tables.py",
        "rejects datasets": "data/checks/*",
        "finds frames, which count": "engine/ready_store.py",
        "ends runs": "interrupts.py",
        "ends processes": "with_parent.py",
        "the values count": "config.py",
        "writes files atomically": "files.py",
        "rejects files": "foreign.py",
        "names": "__init__.py",
        "entry point for Python": "create.py",
        "imports early": "preloaded.py",
    }
)
"""Patterns of files of this package that do not count → the reason."""


def fingerprint(config: DictConfig, content: str) -> str:
    """Return twelve hexadecimal digits over settings, clips and frames (`content_of`), and source code."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    decisive = {"settings": dict(decisive_entries(plain)), "content": content, "weights": _start_weights(plain)}
    if "method" in plain["input"] and plain["input"]["kind"] != "maps":
        decisive["flow"] = implementation(plain["input"]["method"])
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    digest.update(_source().encode())
    return digest.hexdigest()[:12]


def content_of(store: Path, clips: pd.DataFrame) -> str:
    """Return a digest of a protocol's clips and their aligned frames in a verified clip store, whatever its path."""
    opened = open_index(store, verify=False)
    rows = opened.rows(clips)
    digest = hashlib.sha256(clips[[*KEY, "apex", "split", "target"]].to_csv(index=False).encode())
    digest.update(json.dumps(list(opened.frame_shape)).encode())
    for checksum, row in zip(opened.index["checksum"].iloc[rows], rows, strict=True):
        digest.update(f"{checksum}{opened.frame_numbers(row).tolist()}".encode())
    return digest.hexdigest()


def decisive_entries(plain: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of each configuration entry that counts, including empty lists and mappings."""
    if where in KEYS_LEFT_OUT:
        return
    entries = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else None
    if not entries:
        yield where, plain
        return
    for key, value in entries:
        yield from decisive_entries(value, f"{where}.{key}" if where else str(key))


def decisive_files() -> list[Path]:
    names = {path: path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    return sorted(path for path, name in names.items() if not any(fnmatch(name, left) for left in FILES_LEFT_OUT))


def program(source: str) -> str:
    """Return a source file's syntax tree without comments, formatting and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_docstring(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _source() -> str:
    digest = hashlib.sha256()
    for path in decisive_files():
        digest.update(program(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def _start_weights(plain: Any) -> object:
    """Return the checksum of the file with the initial weights, or the setting itself."""
    model = plain["model"]
    pretrained = model.get("pretrained", model.get("backbone", {}).get("pretrained"))
    is_file = isinstance(pretrained, str) and Path(pretrained).is_file()
    return sha256(Path(pretrained)) if is_file else pretrained
