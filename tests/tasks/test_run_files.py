"""Files of a run folder: foreign files next to them, and missing content."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.errors import UserError
from fdp_lightning.runs import environment
from fdp_lightning.runs.folder import experiment_name, variant_name
from fdp_lightning.runs.pooling import EXPECTED, fold_folders, headline, read_expected, shows_faces
from fdp_lightning.runs.seal import finished, move_aside, seal
from fdp_lightning.tasks.report import config_of
from fdp_lightning.tracking.loggers import kept_id, tags_of_run

MARK = "0123456789ab"


def fold_in(run: Path, name: str) -> Path:
    """Write a sealed fold with one file."""
    fold = run / "folds" / name
    fold.mkdir(parents=True)
    (fold / "predictions.csv").write_text("dataset\n")
    seal(fold, {"fingerprint": MARK, "subjects": {"train": [], "inner": [], "test": []}})
    return fold


@pytest.mark.parametrize("name", ["01", "s[1]", "a*"])
def test_folds_moved_aside_never_lie_in_one_another(tmp_path: Path, name: str) -> None:
    first, second = (move_aside(tmp_path, fold_in(tmp_path, name)) for _ in range(2))
    first.rename(first.with_name("kept"))
    third = move_aside(tmp_path, fold_in(tmp_path, name))
    assert {path.parent for path in (first, second, third)} == {tmp_path / "superseded"}
    assert (third / "fold.json").is_file() and (second / "fold.json").is_file()


@pytest.mark.parametrize("left", [".DS_Store", ".nfs0001", ".ipynb_checkpoints/predictions.csv"])
def test_hidden_files_of_a_system_do_not_undo_a_fold(tmp_path: Path, left: str) -> None:
    fold = fold_in(tmp_path, "01")
    for place in (fold / left, tmp_path / "folds" / left):
        place.parent.mkdir(exist_ok=True)
        place.write_text("left by a file manager")
    assert finished(fold, MARK) == (True, "")
    assert fold_folders(tmp_path) == [fold]
    (fold / "added.csv").write_text("")
    assert not finished(fold, MARK)[0]


@pytest.mark.parametrize("content", ["[]", "5", "{", '{"no": 1}'])
def test_a_damaged_id_of_a_log_is_made_anew(tmp_path: Path, content: str) -> None:
    place = tmp_path / "wandb.json"
    place.write_text(content)
    fresh = kept_id(place)
    assert kept_id(place) == fresh


def test_the_revision_is_of_the_source_not_of_one_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    "clips", [[{**CLIP, "onset": "1"}], [{**CLIP, "onset": None}], [{**CLIP, "subject": 1}], [CLIP, CLIP], []]
)
def test_altered_clips_under_test_are_refused(tmp_path: Path, clips: list[dict[str, Any]]) -> None:
    (tmp_path / EXPECTED).write_text(json.dumps({"clips": [CLIP]}))
    assert read_expected(tmp_path)["clips"] == [CLIP]
    (tmp_path / EXPECTED).write_text(json.dumps({"clips": clips}))
    with pytest.raises(UserError, match=EXPECTED):
        read_expected(tmp_path)


@pytest.mark.parametrize("data", sorted(path.stem for path in (CONF_DIR / "data").glob("[!_]*.yaml")))
def test_a_run_without_an_experiment_names_its_dataset_once(data: str) -> None:
    name = experiment_name(configuration(f"data={data}"))
    assert not re.search(r"(^|_)([a-z0-9]+)_\2(_|$)", name), name


def test_a_key_that_is_given_twice_is_in_the_name_once_with_what_counts() -> None:
    assert variant_name(["model.pooling=arp", "seed=2", "model.pooling=mean"]) == "model.pooling-mean"
    assert variant_name(["data=samm", "protocol=samm_3c"]) == "default"
    assert variant_name(["data.loader_workers=2", "loso.quick_model=null", "data.show_faces=true"]) == "default"
    assert variant_name(["+experiment=samm_loso", "protocol=samm_3c"]) == "protocol-samm_3c"  # not the default


def test_a_folder_can_be_made_of_any_name() -> None:
    named = variant_name([f"protocol.exclude=[{'受试者' * 35}]"])
    assert len(named.encode()) <= 240 and named != variant_name([f"protocol.exclude=[{'受试者' * 36}]"])


def test_entries_that_may_be_null_may_be_missing_in_an_older_run(tmp_path: Path) -> None:
    config = OmegaConf.to_container(configuration(), resolve=True)
    config["report"] = {}
    del config["logger"]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config))
    of_run = config_of(tmp_path, configuration("logger=csv"))
    assert headline(of_run) == "last" and shows_faces(of_run) == config["data"]["show_faces"]
    assert tags_of_run(tmp_path)[0] == "synthetic"
