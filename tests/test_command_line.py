"""Small mercies of the command line."""

from collections.abc import Callable
from importlib.metadata import version

import pytest

from fdp_lightning import __version__
from fdp_lightning.console.mistakes import asks_for_version, check_task, meant, multirun_first, normalise_debug
from fdp_lightning.errors import UserError
from fdp_lightning.tasks import TASKS
from tests.command import Done


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("debug=true", "debug='true'"),
        ("+debug=smoke", "debug='smoke'"),
        ("debug=false", "debug=null"),
        ("data.debug=true", "data.debug=true"),
    ],
)
def test_debug_is_both_a_switch_and_a_group(given: str, meant: str) -> None:
    assert normalise_debug(given) == meant


def test_a_sweep_may_be_asked_for_anywhere() -> None:
    assert multirun_first(["+experiment=a", "-m", "seed=0,1"]) == ["-m", "+experiment=a", "seed=0,1"]
    assert multirun_first(["seed=1", "--cfg", "job"]) == ["seed=1", "--cfg", "job"]


def test_help_is_given_however_it_is_asked_for(run_cli: Callable[..., Done]) -> None:
    assert meant(["help"]) == ["--help"]
    assert meant(["-h", "--cfg", "job", "-m"]) == ["-m", "-h", "--cfg", "job"]
    answer = run_cli("help")
    assert answer.returncode == 0
    assert "task=T" in answer.stdout


@pytest.mark.parametrize("flag", ["--version", "-V", "version"])
def test_the_version_is_ours_and_torch_s(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
        meant([flag])


@pytest.mark.parametrize(
    ("task", "tasks"),
    [("trian", ["loso", "fit"]), ("train", ["loso", "fit"]), ("predct", ["predict"]), ("inference", ["predict"]),
     ("check-data", ["check_data"]), ("reprot", ["report"]), ("fitt", ["fit"])],
)  # fmt: skip
def test_a_task_that_there_is_not_is_answered_with_those_that_may_be_meant(task: str, tasks: list[str]) -> None:
    with pytest.raises(UserError, match=f"Did you mean .*{' or '.join(tasks)}"):
        check_task(task, list(TASKS))
