"""The command line: what a command means, and mistakes, which end with code 2, their name, a cure, and nothing left."""

import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.errors import HydraException

from fdp_lightning import __version__
from fdp_lightning.config import configuration
from fdp_lightning.console.arguments import check_task, normalised
from fdp_lightning.errors import UserError
from fdp_lightning.runs.claims import visible_gpus
from tests.command import Run, new_process

LEFT_ALONE = ["seed=0,1", "runs=[a,b]", "model.pooling=[gated,é],arp", "data.root=a,(b", "a=[é"]
LEFT_ALONE += ["a=~b", "a='~/b'", "runs=[~/a]"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        # debug is both a switch and a group
        (["debug=true"], ["debug='true'"]), (["+debug=smoke"], ["debug='smoke'"]),
        (["debug=false", "a=1"], ["a=1"]), (["+debug=NULL"], []),
        (["data.debug=true"], ["data.debug=true"]),
        # a sweep and help may be asked for anywhere
        (["+experiment=a", "-m", "seed=0,1"], ["-m", "+experiment=a", "seed=0,1"]), (["help"], ["--help"]),
        (["-h", "--cfg", "job", "-m"], ["-m", "-h", "--cfg", "job"]),
        # a task may be given as a word: the first or none
        (["predict", "clip.mp4", "predict.fps=60"], ["task=predict", "predict.input='clip.mp4'", "predict.fps=60"]),
        (["predict.fps=60", "predict"], ["predict.fps=60", "predict"]), (["check-data"], ["task=check_data"]),
        (["loso", "seed=0,1", "-m"], ["-m", "task=loso", "seed=0,1"]), (["demo"], ["task=demo"]),
        (["report", "--cfg", "job", "runs/x"], ["task=report", "run='runs/x'", "--cfg", "job"]),
        (["compare", "runs/a", "runs/b"], ["task=compare", "runs=['runs/a','runs/b']"]),
        (["loso", "synthetic_loso"], ["task=loso", "synthetic_loso"]),
        # lists and sweeps are left as they are, and so is a tilde that begins no path
        *(([one], [one]) for one in LEFT_ALONE),
    ],
)  # fmt: skip
def test_a_command_is_put_as_hydra_takes_it(given: list[str], meant: list[str]) -> None:
    assert normalised(given) == meant


@pytest.mark.parametrize(
    ("asked", "parts"),
    [("help", ["task=T"]), *((flag, [__version__, version("torch")]) for flag in ("--version", "-V", "version"))],
)
def test_help_and_versions(asked: str, parts: list[str], run_cli: Run) -> None:
    answer = run_cli(asked, code=0)
    assert all(part in answer.stdout for part in parts)


FLAGS = ["--experiment=x", "--gpus", "-x"]
NO_NAMES = ["logger=null", "model=3", "data=False", "+experiment=2", "=3"]
PARTS = ["model=_base", "+experiment=_real", "data='_base'", "model/backbone=_x"]
"""Files of conf/ that others are made of."""


@pytest.mark.parametrize("argument", FLAGS + NO_NAMES + PARTS)
def test_flags_that_there_are_not_and_groups_without_a_name_are_refused(argument: str) -> None:
    named = argument if argument in NO_NAMES else "there is no" if argument in PARTS else argument.partition("=")[0]
    with pytest.raises(UserError, match=re.escape(named)):
        normalised(["task=loso", argument])


@pytest.mark.parametrize(
    ("task", "tasks"),
    [("train", ["loso", "fit"]), ("predct", ["predict"]), ("inference", ["predict"]), ("check-data", ["check_data"])],
)
def test_a_task_that_there_is_not_is_answered_with_those_that_may_be_meant(task: str, tasks: list[str]) -> None:
    with pytest.raises(UserError, match=f"Did you mean .*{' or '.join(tasks)}"):
        check_task(task)


@pytest.mark.parametrize(
    "name", ["it's a (clip) [1], {a}: ~.mp4", "back\\slash\\'s", "${task}.mp4", "\\${task}\\\\${task}", "42", "null"]
)
def test_a_file_of_any_name_may_stand_behind_it(name: str) -> None:
    assert configuration(*normalised(["predict", name])).predict.input == name


def test_a_home_folder_is_meant_whatever_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of me")
    config = configuration(*normalised(["task=predict", "predict.input=~/my.mp4", "data.store=~/stores"]))
    assert (config.predict.input, config.data.store) == ("/home/of me/my.mp4", "/home/of me/stores")


def test_an_equals_sign_may_stand_in_the_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HydraException):  # there is no such file, so it is an option
        configuration(*normalised(["predict", "take=2"]))
    Path("take=2").touch()
    for name in ("take=2", "a b, take=2.mp4"):
        assert configuration(*normalised(["predict", name])).predict.input == name


@pytest.mark.parametrize(
    "arguments",
    [["predict", "task=loso"], ["predict", "a.mp4", "b.mp4"], ["predict", "a.mp4", "predict.input=b.mp4"]],
)
def test_a_short_command_that_says_two_things_is_refused(arguments: list[str], run_cli: Run) -> None:
    done = run_cli(*arguments, code=2)
    assert arguments[-1] in done.stderr


@pytest.mark.parametrize("value", ["/data/中文", "/data/é", "/data/CAS(ME)^2", "it's", "/data/a#b;c&d!", "/data/[x]"])
def test_a_path_of_any_characters_needs_no_quotes_of_its_own(value: str) -> None:
    assert configuration(*normalised(["data=samm", f"data.root={value}"])).data.root == value


def test_the_value_of_an_interpolation_is_named(run_cli: Run) -> None:
    assert "seed is 'samm'" in run_cli("seed=${protocol.dataset}", "data=samm", "protocol.dataset=samm", code=2).stderr


def test_closed_streams_and_a_removed_folder_are_no_bugs(tmp_path: Path) -> None:
    new_process(
        "--cfg", "job", cwd=tmp_path, code=0, capture_output=False, preexec_fn=lambda: (os.close(1), os.close(2))
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    answer = new_process("task=report", "run=x", cwd=gone, preexec_fn=gone.rmdir, code=2)
    assert "Traceback" not in answer.stderr


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
    (["model=ststnet", "model.scorer.hidden=3"], ["other choices of model=", "+model.scorer.hidden"]),
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
