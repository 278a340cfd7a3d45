"""Small mercies of the command line."""

import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.errors import HydraException

from fdp_lightning import __version__
from fdp_lightning.config import configuration
from fdp_lightning.console.arguments import check_task, normalised
from fdp_lightning.errors import UserError
from tests.command import Run, new_process


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


@pytest.mark.parametrize(
    ("asked", "parts"),
    [("help", ["task=T"]), *((flag, [__version__, version("torch")]) for flag in ("--version", "-V", "version"))],
)
def test_help_and_versions(asked: str, parts: list[str], run_cli: Run) -> None:
    answer = run_cli(asked, code=0)
    assert all(part in answer.stdout for part in parts)


FLAGS, NO_NAMES = ["--experiment=x", "--gpus", "-x"], ["logger=null", "model=3", "data=False", "+experiment=2", "=3"]


@pytest.mark.parametrize("argument", FLAGS + NO_NAMES)
def test_flags_that_there_are_not_and_groups_without_a_name_are_refused(argument: str) -> None:
    with pytest.raises(UserError, match=re.escape(argument if argument in NO_NAMES else argument.partition("=")[0])):
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
def test_a_short_command_that_says_two_things_is_refused(arguments: list[str], run_cli: Run) -> None:
    done = run_cli(*arguments, code=2)
    assert arguments[-1] in done.stderr


@pytest.mark.parametrize("value", ["/data/中文", "/data/é", "/data/CAS(ME)^2", "it's", "/data/a#b;c&d!", "/data/[x]"])
def test_a_path_of_any_characters_needs_no_quotes_of_its_own(value: str) -> None:
    assert configuration(*normalised(["data=samm", f"data.root={value}"])).data.root == value


@pytest.mark.parametrize(
    "argument", ["seed=0,1", "runs=[a,b]", "model.pooling=[gated,é],arp", "data.root=a,(b", "a=[é"]
)
def test_lists_and_sweeps_are_left_as_they_are(argument: str) -> None:
    assert normalised([argument]) == [argument]


@pytest.mark.parametrize("argument", ["model=_base", "+experiment=_real", "data='_base'", "model/backbone=_x"])
def test_parts_of_options_are_no_options(argument: str) -> None:
    with pytest.raises(UserError, match="there is no"):
        normalised([argument])


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
