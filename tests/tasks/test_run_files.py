"""Files of a run folder: their names, foreign files next to them, and altered content."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fdp_lightning.errors import UserError
from fdp_lightning.runs import environment
from fdp_lightning.runs.folder import variant_name
from fdp_lightning.runs.pooling import EXPECTED, fold_folders, read_expected
from fdp_lightning.runs.seal import finished, move_aside, seal

MARK = "0123456789ab"


def fold_in(run: Path, name: str) -> Path:
    """Write a sealed fold with one file."""
    fold = run / "folds" / name
    fold.mkdir(parents=True)
    (fold / "predictions.csv").write_text("dataset\n")
    seal(fold, {"fingerprint": MARK, "subjects": {"train": [], "inner": [], "test": []}})
    return fold


@pytest.mark.parametrize("name", ["01", "s[1]"])
def test_folds_moved_aside_never_overwrite_each_other(tmp_path: Path, name: str) -> None:
    first, second = (move_aside(tmp_path, fold_in(tmp_path, name)) for _ in range(2))
    first.rename(first.with_name("kept"))
    third = move_aside(tmp_path, fold_in(tmp_path, name))
    assert {path.parent for path in (first, second, third)} == {tmp_path / "superseded"}
    assert (third / "fold.json").is_file() and (second / "fold.json").is_file()


@pytest.mark.parametrize("left", [".DS_Store", ".ipynb_checkpoints/predictions.csv"])
def test_hidden_files_do_not_invalidate_a_fold(tmp_path: Path, left: str) -> None:
    fold = fold_in(tmp_path, "01")
    for place in (fold / left, tmp_path / "folds" / left):
        place.parent.mkdir(exist_ok=True)
        place.write_text("left by a file manager")
    assert finished(fold, MARK) == (True, "")
    assert fold_folders(tmp_path) == [fold]
    (fold / "added.csv").write_text("")
    assert not finished(fold, MARK)[0]


def test_the_revision_is_not_that_of_a_surrounding_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@e"]
    installed = tmp_path / ".venv" / "environment.py"
    installed.parent.mkdir()
    installed.touch()
    (tmp_path / "own.py").touch()
    for ask in (["init", "-q"], ["add", "own.py"], ["commit", "-q", "-m", "of the user"]):
        subprocess.run([*git, *ask], check=True)
    monkeypatch.setattr(environment, "__file__", str(installed))
    assert environment._git_revision() == "not a checkout"
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "own.py"))
    assert len(environment._git_revision()) >= 12


CLIP = {"dataset": "d", "subject": "01", "clip": "c", "onset": 1, "target": "t"}


@pytest.mark.parametrize("clips", [[{**CLIP, "onset": None}], [{**CLIP, "subject": 1}], [CLIP, CLIP], []])
def test_an_altered_list_of_expected_clips_is_refused(tmp_path: Path, clips: list[dict[str, Any]]) -> None:
    (tmp_path / EXPECTED).write_text(json.dumps({"clips": [CLIP]}))
    assert read_expected(tmp_path)["clips"] == [CLIP]
    (tmp_path / EXPECTED).write_text(json.dumps({"clips": clips}))
    with pytest.raises(UserError, match=EXPECTED):
        read_expected(tmp_path)


def test_the_name_of_a_variant_has_only_the_overrides_that_change_results() -> None:
    assert variant_name(["model.pooling=arp", "seed=2", "model.pooling=mean"]) == "model.pooling-mean"
    assert variant_name(["data=samm", "protocol=samm_3c"]) == "default"
    assert variant_name(["data.loader_workers=2", "data.show_faces=true"]) == "default"
    assert variant_name(["+experiment=samm_loso", "protocol=samm_3c"]) == "protocol-samm_3c"  # not the default
    named = variant_name([f"protocol.exclude=[{'受试者' * 35}]"])
    assert len(named.encode()) <= 240 and named != variant_name([f"protocol.exclude=[{'受试者' * 36}]"])
