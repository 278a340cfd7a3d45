"""A user's mistake ends with exit code 2 and a message that names it and says what to do, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning.runs.claims import visible_gpus
from tests.command import Done

pytestmark = pytest.mark.costly

WORKBOOK = "CASME2-coding-20190701.xlsx"
CASME2 = ("data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", "data.workers=1")


def whole(store: Path) -> set[Path]:
    """What lies in the folder of the stores, but for prepared clips, which a refused build keeps for the next start."""
    return {path for path in store.rglob("*") if not path.relative_to(store).parts[0].endswith(".building")}


@pytest.fixture
def mistake(run_cli: Callable[..., Done], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused, and give its message; nothing half-written may stay."""

    def run(*arguments: str, store: Path = tmp_path / "stores") -> str:
        before = whole(store)
        answer = run_cli(*arguments, f"data.store={store}")
        assert answer.returncode == 2, answer.stderr
        assert "Traceback" not in answer.stderr
        assert "fdp_lightning: " in answer.stderr
        assert whole(store) == before
        assert not (tmp_path / "runs").exists()
        return answer.stderr

    return run


def casme2(root: Path, *more: str) -> list[str]:
    return ["task=prepare", *CASME2, f"data.root={root}", *more]


def test_a_missing_dataset_folder(mistake: Callable[..., str], tmp_path: Path) -> None:
    message = mistake(*casme2(tmp_path / "nowhere"))
    assert f"the dataset folder {tmp_path / 'nowhere'} does not exist" in message
    assert "data.root=" in message


def test_a_missing_workbook(mistake: Callable[..., str], small_copy: Path) -> None:
    (small_copy / WORKBOOK).rename(small_copy / "labels.xlsx")
    message = mistake(*casme2(small_copy))
    assert str(small_copy / WORKBOOK) in message
    assert "labels.xlsx" in message


def test_an_unreadable_image_and_a_clip_without_a_face(mistake: Callable[..., str], small_copy: Path) -> None:
    first, second, _ = sorted((small_copy / "CASME2_RAW_selected").glob("*/*"))
    cut = sorted(first.iterdir())[4]
    cut.write_bytes(cut.read_bytes()[:2000])
    for path in second.iterdir():
        cv2.imwrite(str(path), np.random.default_rng(0).integers(90, 160, (180, 240), dtype=np.uint8))
    message = mistake(*casme2(small_copy))
    assert str(cut) in message
    assert "truncated" in message
    assert f"no face in any frame of {second}" in message
    assert "data.policy=skip" in message


def test_a_workbook_of_another_kind_with_debug_shows_the_traceback_and_still_ends_with_2(
    run_cli: Callable[..., Done], small_copy: Path
) -> None:
    (small_copy / WORKBOOK).write_bytes(b"Subject;Filename\n")
    answer = run_cli(*casme2(small_copy, "debug=true"))
    assert answer.returncode == 2
    assert "Traceback (most recent call last)" in answer.stderr
    assert f"fdp_lightning: {small_copy / WORKBOOK} cannot be read as an Excel workbook" in answer.stderr


def test_a_protocol_of_another_dataset(mistake: Callable[..., str], casme2_root: Path) -> None:
    message = mistake("task=prepare", "data=casme2", "protocol=samm_5c", f"data.root={casme2_root}")
    assert "protocol=samm_5c is made for samm, but data=casme2" in message
    assert "data=samm protocol=samm_5c" in message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sead=1"], ["'sead'", "Did you mean", "seed"]),
        (["data.facess.size=32"], ["'data.facess.size'", "Did you mean", "data.faces.size"]),
        (["max_epochs=3"], ["'max_epochs'", "trainer.max_epochs"]),
        (["task=lose"], ["'lose'", "loso", "prepare"]),
        (["task=trian"], ["'trian'", "Did you mean loso or fit?"]),
        (["trainer.max_epochs=abc"], ["trainer.max_epochs is 'abc'", "a whole number"]),
        (["task=fit", "model.pooling=men"], ["model.pooling is 'men'", "Did you mean mean?"]),
        (["task=prepare", "data.batch_size=x"], ["data.batch_size is 'x'"]),
        (["selection=lst"], ["selection", "selection.inner_subjects"]),
        (["loso.workers=abc"], ["loso.workers is 'abc'", "a whole number of at least 1"]),
        (["experiment=synthetic_loso"], ["+experiment=synthetic_loso"]),
        (["experiment=synthetic_losso"], ["+experiment=", "Did you mean synthetic_loso"]),
        (["study=component"], ["+study=component", "Did you mean components?"]),
        (["+trainer=cpu"], ["trainer=cpu, without +"]),
        (["--experiment=synthetic_loso"], ["--experiment", "+experiment=synthetic_loso"]),
        (["synthetic_loso"], ["has no value", "+experiment=synthetic_loso"]),
        (["-m", "model.pooling=score,men"], ["model.pooling is 'men'"]),
        (["trainer=gpu"], ["trainer.accelerator is gpu", "0 GPUs"]),
        (["task=prepare", "data.faces.device=cuda"], ["data.faces.device is cuda", "no GPU"]),
        (["protocol=casme2_5c"], ["casme2_5c_249", "samm_5c"]),
        (["+experiment=nonsense"], ["nonsense", "casme2_loso", "synthetic_loso"]),
        (["logger=[csv,wand]"], ["there is no 'logger/wand'", "Did you mean wandb?", "csv, tensorboard, wandb"]),
        (["task=prepare", "data.generate.subjects=0"], ["subjects=0", "1 to 99"]),
        (["task=prepare", "data.generate.portraits=faces"], ["portraits=faces", "no such folder"]),
        (["seed=one"], ["seed", "one"]),
        (["loso.workers="], ["loso.workers"]),
        (["data.faces.size=32,48", "task=prepare"], ["data.faces.size", "-m"]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value, list) and "=" in value[0] else "",
)
def test_a_mistyped_command(
    mistake: Callable[..., str], tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    if any("gpu" in argument or "cuda" in argument for argument in arguments) and visible_gpus():
        pytest.skip("there is a GPU here")
    message = mistake(*arguments)
    assert not (tmp_path / "data").exists()  # refused before any data work
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("data.policy=lenient", "data.policy"), ("data.faces.size=0", "data.faces.size"),
        ("+data.faces.seize=3", "seize"), ("data.adapter.frames=croped", "data.adapter.frames"),
        ("protocol.column=emotions", "protocol.column"), ("protocol.classes.others=[fear,surprise]", "surprise"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant(mistake: Callable[..., str], small_copy: Path, setting: str, key: str) -> None:
    assert key in mistake(*casme2(small_copy, setting))


@pytest.mark.parametrize(("asked", "named"), [("010", "'010'"), ("8", "'8'")])
def test_an_unknown_fold_is_named_as_it_was_typed_beside_those_there_are(
    mistake: Callable[..., str], casme2_root: Path, store_folder_path: Path, asked: str, named: str
) -> None:
    command = ["task=fold", *CASME2, f"data.root={casme2_root}", f"fold={asked}"]
    message = mistake(*command, store=store_folder_path.parent)
    assert f"there is no fold {named}" in message
    assert "Folds: 01, 02, 03" in message
