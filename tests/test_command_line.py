"""Small mercies of the command line."""

import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.errors import HydraException

from fdp_lightning import __version__
from fdp_lightning.config import configuration
from fdp_lightning.console.mistakes import asks_for_version, check_task, normalised
from fdp_lightning.errors import UserError
from tests.command import Done


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
    ],
)  # fmt: skip
def test_a_command_is_put_as_hydra_takes_it(given: list[str], meant: list[str]) -> None:
    assert normalised(given) == meant


def test_help_is_given(run_cli: Callable[..., Done]) -> None:
    answer = run_cli("help")
    assert answer.returncode == 0
    assert "task=T" in answer.stdout


@pytest.mark.parametrize("flag", ["--version", "-V", "version"])
def test_the_versions(flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from fdp_lightning.command_line import run

    assert asks_for_version([flag])
    monkeypatch.setattr("sys.argv", ["fdp_lightning", flag])
    run()
    said = capsys.readouterr().out
    assert __version__ in said
    assert version("torch") in said


@pytest.mark.parametrize("flag", ["--experiment=x", "--gpus", "-x", "--task=loso"])
def test_a_flag_that_there_is_not_is_refused(flag: str) -> None:
    with pytest.raises(UserError, match=flag.partition("=")[0]):
        normalised([flag])


@pytest.mark.parametrize("argument", ["logger=null", "model=3", "data=False", "study=1", "+experiment=2", "=3"])
def test_a_group_takes_names(argument: str) -> None:
    with pytest.raises(UserError, match=re.escape(argument)):
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
    assert normalised(["a=~b", "a='~/b'", "runs=[~/a]"]) == ["a=~b", "a='~/b'", "runs=[~/a]"]


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
def test_a_short_command_that_says_two_things_is_refused(arguments: list[str], run_cli: Callable[..., Done]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert arguments[-1] in done.stderr
