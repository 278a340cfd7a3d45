"""The command line: the meaning of arguments, and mistakes, which end with exit code 2, a cure, and no files left."""

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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        # debug is both a switch and a group
        (["debug=true"], ["debug='true'"]), (["+debug=smoke"], ["debug='smoke'"]), (["debug=false", "a=1"], ["a=1"]),
        (["data.debug=true"], ["data.debug=true"]),
        # the place of -m and help does not matter
        (["+experiment=a", "-m", "seed=0,1"], ["-m", "+experiment=a", "seed=0,1"]), (["help"], ["--help"]),
        (["-h", "--cfg", "job", "-m"], ["-m", "-h", "--cfg", "job"]),
        # the first word, if any, is a task
        (["predict", "clip.mp4", "predict.fps=60"], ["task=predict", "predict.input='clip.mp4'", "predict.fps=60"]),
        (["predict.fps=60", "predict"], ["predict.fps=60", "predict"]), (["check-data"], ["task=check_data"]),
        (["report", "--cfg", "job", "runs/x"], ["task=report", "run='runs/x'", "--cfg", "job"]),
        (["compare", "runs/a", "runs/b"], ["task=compare", "runs=['runs/a','runs/b']"]),
        (["loso", "synthetic_loso"], ["task=loso", "synthetic_loso"]),
        # lists, sweeps, and a tilde inside a value stay as they are
        *(([one], [one]) for one in ("seed=0,1", "model.pooling=[gated,é],arp", "data.root=a,(b", "a=[é", "a='~/b'")),
    ],
)  # fmt: skip
def test_arguments_are_normalised_for_hydra(given: list[str], meant: list[str]) -> None:
    assert normalised(given) == meant


@pytest.mark.parametrize(
    ("asked", "parts"), [("help", ["task=T"]), ("-V", [__version__, version("torch")]), ("version", [__version__])]
)
def test_help_and_versions(asked: str, parts: list[str], run_cli: Run) -> None:
    answer = run_cli(asked, code=0)
    assert all(part in answer.stdout for part in parts)


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--experiment=x", "--experiment"), ("-x", "-x"),
        *((one, one) for one in ("logger=null", "model=3", "data=False", "=3")),
        # files of conf/ that others are made of
        *((one, "there is no") for one in ("model=_base", "data='_base'", "model/backbone=_x")),
    ],
)  # fmt: skip
def test_unknown_flags_and_invalid_choices_are_rejected(argument: str, named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        normalised(["task=loso", argument])


@pytest.mark.parametrize(("task", "tasks"), [("train", ["loso", "fit"]), ("predct", ["predict"])])
def test_similar_tasks_are_suggested_for_an_unknown_one(task: str, tasks: list[str]) -> None:
    with pytest.raises(UserError, match=f"Did you mean .*{' or '.join(tasks)}"):
        check_task(task)


@pytest.mark.parametrize(
    "name", ["it's a (clip) [1], {a}: ~.mp4", "back\\slash\\'s", "\\${task}\\\\${task}", "42", "null"]
)
def test_an_input_file_may_have_any_name(name: str) -> None:
    assert configuration(*normalised(["predict", name])).predict.input == name


@pytest.mark.parametrize("value", ["/data/中文", "/data/CAS(ME)^2", "it's", "/data/a#b;c&d!", "/data/[x]"])
def test_a_path_needs_no_extra_quotes(value: str) -> None:
    assert configuration(*normalised(["data=samm", f"data.root={value}"])).data.root == value


def test_a_tilde_is_the_home_folder_in_every_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of me")
    config = configuration(*normalised(["task=predict", "predict.input=~/my.mp4", "data.store=~/stores"]))
    assert (config.predict.input, config.data.store) == ("/home/of me/my.mp4", "/home/of me/stores")


def test_an_existing_file_may_have_an_equals_sign_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HydraException):  # no such file, so it is an option
        configuration(*normalised(["predict", "take=2"]))
    Path("take=2").touch()
    assert configuration(*normalised(["predict", "take=2"])).predict.input == "take=2"


@pytest.mark.parametrize("arguments", [["predict", "task=loso"], ["predict", "a.mp4", "predict.input=b.mp4"]])
def test_contradictory_short_commands_are_rejected(arguments: list[str], run_cli: Run) -> None:
    assert arguments[-1] in run_cli(*arguments, code=2).stderr


def test_closed_streams_and_a_removed_folder_cause_no_traceback(tmp_path: Path) -> None:
    new_process(
        "--cfg", "job", cwd=tmp_path, code=0, capture_output=False, preexec_fn=lambda: (os.close(1), os.close(2))
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    answer = new_process("task=report", "run=x", cwd=gone, preexec_fn=gone.rmdir, code=2)
    assert "Traceback" not in answer.stderr


WORKBOOK = "CASME2-coding-20190701.xlsx"
CASME2 = ("data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", "data.workers=1")


@pytest.fixture
def mistake(run_cli: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be rejected, and return its message; nothing half-written may remain."""

    def finished(store: Path) -> set[Path]:
        # A rejected build keeps its prepared clips for the next start.
        paths = store.rglob("*")
        return {path for path in paths if not path.relative_to(store).parts[0].endswith(".building")}

    def run(*arguments: str, store: Path = tmp_path / "stores") -> str:
        before = finished(store)
        answer = run_cli(*arguments, f"data.store={store}", code=2)
        assert "Traceback" not in answer.stderr and "fdp_lightning: " in answer.stderr
        assert finished(store) == before and not (tmp_path / "runs").exists()
        return answer.stderr

    return run


def test_a_missing_dataset_or_workbook_is_named(mistake: Callable[..., str], small_copy: Path, tmp_path: Path) -> None:
    message = mistake("task=prepare", *CASME2, f"data.root={tmp_path / 'nowhere'}")
    assert str(tmp_path / "nowhere") in message and "data.root=" in message
    (small_copy / WORKBOOK).rename(small_copy / "labels.xlsx")
    message = mistake("task=prepare", *CASME2, f"data.root={small_copy}")
    assert str(small_copy / WORKBOOK) in message and "labels.xlsx" in message


def test_debug_adds_the_traceback_and_keeps_exit_code_2(run_cli: Run, small_copy: Path) -> None:
    (small_copy / WORKBOOK).write_bytes(b"Subject;Filename\n")
    answer = run_cli("task=prepare", *CASME2, f"data.root={small_copy}", "debug=true", code=2)
    assert "Traceback (most recent call last)" in answer.stderr
    assert f"fdp_lightning: {small_copy / WORKBOOK}" in answer.stderr


MISTYPED: list[tuple[list[str], list[str]]] = [
    (["max_epochs=3"], ["trainer.max_epochs"]), (["selection=lst"], ["inner_subjects"]),
    (["experiment=synthetic_loso"], ["+experiment=synthetic_loso"]), (["+trainer=cpu"], ["trainer=cpu, without +"]),
    (["model=ststnet", "model.scorer.hidden=3"], ["other choices of model=", "+model.scorer.hidden"]),
    (["study=component"], ["+study=component", "components?"]), (["loso.workers="], ["loso.workers"]),
    (["synthetic_loso"], ["has no value", "+experiment=synthetic_loso"]), (["trainer=gpu"], ["0 GPUs"]),
    (["-m", "model.pooling=score,men"], ["model.pooling is 'men'", "mean?"]),
    (["seed=${protocol.dataset}", "data=samm", "protocol.dataset=samm"], ["seed is 'samm'"]),
    (["task=prepare", "data.faces.device=cuda"], ["data.faces.device is cuda", "no GPU"]),
    (["task=prepare", "data.generate.portraits=faces"], ["portraits=faces", "no such folder"]),
    (["data.faces.size=32,48", "task=prepare"], ["data.faces.size", "-m"]), (["logger=[csv,wand]"], ["wandb?"]),
    (["+experiment=nonsense"], ["synthetic_loso"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), MISTYPED, ids=lambda value: " ".join(value))
def test_mistyped_arguments_are_rejected_before_any_work(
    mistake: Callable[..., str], tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    if any("gpu" in argument or "cuda" in argument for argument in arguments) and visible_gpus():
        pytest.skip("there is a GPU here")
    message = mistake(*arguments)
    assert not (tmp_path / "data").exists()
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
def test_choices_that_do_not_match_the_dataset_are_rejected(
    mistake: Callable[..., str], casme2_root: Path, store_folder_path: Path, arguments: list[str], parts: list[str]
) -> None:
    message = mistake(*arguments, f"data.root={casme2_root}", store=store_folder_path.parent)
    assert all(part in message for part in parts), message
