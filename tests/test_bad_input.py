"""A user's mistake ends with exit code 2 and a message that names it and says what to do, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fdp_lightning.runs.claims import visible_gpus
from tests.command import Run

pytestmark = pytest.mark.costly

WORKBOOK = "CASME2-coding-20190701.xlsx"
CASME2 = ("data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", "data.workers=1")


def whole(store: Path) -> set[Path]:
    """What lies in the folder of the stores, but for prepared clips, which a refused build keeps for the next start."""
    return {path for path in store.rglob("*") if not path.relative_to(store).parts[0].endswith(".building")}


@pytest.fixture
def mistake(run_cli: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused, and give its message; nothing half-written may stay."""

    def run(*arguments: str, store: Path = tmp_path / "stores") -> str:
        before = whole(store)
        answer = run_cli(*arguments, f"data.store={store}", code=2)
        assert "Traceback" not in answer.stderr
        assert "fdp_lightning: " in answer.stderr
        assert whole(store) == before
        assert not (tmp_path / "runs").exists()
        return answer.stderr

    return run


def test_a_copy_that_cannot_be_read(mistake: Callable[..., str], small_copy: Path, tmp_path: Path) -> None:
    message = mistake("task=prepare", *CASME2, f"data.root={tmp_path / 'nowhere'}")
    assert str(tmp_path / "nowhere") in message and "data.root=" in message
    (small_copy / WORKBOOK).rename(small_copy / "labels.xlsx")
    message = mistake("task=prepare", *CASME2, f"data.root={small_copy}")
    assert str(small_copy / WORKBOOK) in message and "labels.xlsx" in message


def test_debug_shows_the_traceback_and_it_still_ends_with_2(run_cli: Run, small_copy: Path) -> None:
    (small_copy / WORKBOOK).write_bytes(b"Subject;Filename\n")
    answer = run_cli("task=prepare", *CASME2, f"data.root={small_copy}", "debug=true", code=2)
    assert "Traceback (most recent call last)" in answer.stderr
    assert f"fdp_lightning: {small_copy / WORKBOOK}" in answer.stderr


MISTYPED: list[tuple[list[str], list[str]]] = [
    (["data.facess.size=32"], ["Did you mean", "data.faces.size"]), (["max_epochs=3"], ["trainer.max_epochs"]),
    (["trainer.max_epochs=abc"], ["trainer.max_epochs is 'abc'"]), (["selection=lst"], ["inner_subjects"]),
    (["experiment=synthetic_loso"], ["+experiment=synthetic_loso"]), (["+trainer=cpu"], ["trainer=cpu, without +"]),
    (["study=component"], ["+study=component", "Did you mean components?"]),
    (["synthetic_loso"], ["has no value", "+experiment=synthetic_loso"]), (["loso.workers="], ["loso.workers"]),
    (["-m", "model.pooling=score,men"], ["model.pooling is 'men'"]), (["trainer=gpu"], ["0 GPUs"]),
    (["task=prepare", "data.faces.device=cuda"], ["data.faces.device is cuda", "no GPU"]),
    (["protocol=casme2_5c"], ["casme2_5c_249", "samm_5c"]), (["+experiment=nonsense"], ["synthetic_loso"]),
    (["logger=[csv,wand]"], ["'logger/wand'", "Did you mean wandb?"]),
    (["task=prepare", "data.generate.portraits=faces"], ["portraits=faces", "no such folder"]),
    (["data.faces.size=32,48", "task=prepare"], ["data.faces.size", "-m"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), MISTYPED, ids=lambda value: " ".join(value))
def test_a_mistyped_one(mistake: Callable[..., str], tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    if any("gpu" in argument or "cuda" in argument for argument in arguments) and visible_gpus():
        pytest.skip("there is a GPU here")
    message = mistake(*arguments)
    assert not (tmp_path / "data").exists()  # refused before any data work
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["task=prepare", *CASME2, "+data.faces.seize=3"], ["seize"]),
        (["task=prepare", *CASME2, "data.adapter.frames=croped"], ["data.adapter.frames"]),
        (["task=prepare", "data=casme2", "protocol=samm_5c"], ["protocol=samm_5c", "data=samm protocol=samm_5c"]),
        (["task=fold", *CASME2, "fold=010"], ["'010'", "01, 02, 03"]),
    ],
)
def test_what_this_copy_does_not_have(
    mistake: Callable[..., str], casme2_root: Path, store_folder_path: Path, arguments: list[str], parts: list[str]
) -> None:
    message = mistake(*arguments, f"data.root={casme2_root}", store=store_folder_path.parent)
    assert all(part in message for part in parts), message
