"""Commands started once per device, by torchrun or srun, run a sweep once and predict as the plain command does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.devices import free_port
from fdp_lightning.engine.launch import Launch, check_launch, launch_of
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.labels import KEY
from tests.tasks.conftest import SMALL, beside

SWEEP = ["-m", "task=fold", "fold=01,03", "trainer=ddp_cpu", "run=swept"]


def call(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = (sys.executable, "-m", *command)
    return subprocess.Popen(command, cwd=folder, text=True, env=os.environ | variables, **pipes)


def srun(folder: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start the command as srun does on two nodes with one task each, both on this machine."""
    slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_LOCALID": "0"}
    slurm |= {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
    command = ["fdp_lightning", *SMALL, *arguments]
    return [call(folder, *command, **slurm, SLURM_PROCID=number, SLURM_NODEID=number) for number in ("0", "1")]


def tables(run: Path) -> dict[str, bytes]:
    """Return the predictions of each finished fold."""
    folds = {path.parent.name: path for path in run.glob("folds/[!.]*/predictions.csv")}
    for path in folds.values():
        table, _ = read_predictions(path)
        assert len(table) == 20 and not table.duplicated([*KEY, "selection"]).any()  # 10 clips, last and oracle
    return {name: path.read_bytes() for name, path in folds.items()}


def swept(process: subprocess.Popen[str], folder: Path) -> dict[str, bytes]:
    """Return the predictions of a sweep over two folds, after checking that it was run once."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert said.count("1 of 1 folds to run") == 2 and said.count("done (1/1)") == 2, said
    assert said.count("batch 10 = 2 × 5, batch norm over all devices, lr 0.003") == 2, said
    step = json.loads((folder / "swept/folds/03/fold.json").read_text())["step"]
    assert (step["devices"], step["batch_per_device"], step["effective_batch"]) == (2, 5, 10)
    assert list((folder / "swept/logs").iterdir()) == []  # each process of a fold removes its log on success
    found = tables(folder / "swept")
    shutil.rmtree(folder / "swept")
    return found


@pytest.fixture(scope="module")
def place(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and store, but no run."""
    return beside(finished_workplace, tmp_path_factory.mktemp("launched") / "place")


@pytest.fixture(scope="module")
def plain(place: Path) -> dict[str, bytes]:
    """Predictions of folds 01 and 03, by two processes each, in a sweep run by one process."""
    found = swept(call(place, "fdp_lightning", *SMALL, *SWEEP), place)
    assert set(found) == {"01", "03"}
    return found


@pytest.mark.slow  # separate processes; test_interruptions.py tests that two learn what one learns
@pytest.mark.parametrize("by", ["torchrun", "joblib"])  # one process per device, or two folds in parallel
def test_a_sweep_is_run_once_and_predicts_as_the_plain_command(by: str, place: Path, plain: dict[str, bytes]) -> None:
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "-m"]
    jobs = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"] if by == "joblib" else []
    command = [*([] if jobs else torchrun), "fdp_lightning", *SMALL, *SWEEP, *jobs]
    assert swept(call(place, *command), place) == plain


@pytest.mark.slow  # starts four commands; torchrun above covers one machine
def test_srun_on_two_nodes_continues_after_a_failed_fold(place: Path, plain: dict[str, bytes]) -> None:
    (place / "nodes/logs/02.rank1.txt").mkdir(parents=True)  # where fold 02's second process writes its log
    options = ["trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2", "run=nodes"]
    leader, follower = srun(place, *options)
    _, said = leader.communicate(timeout=300)
    assert leader.returncode == 1
    assert "3 of 3 folds to run" in said and "1 of 3 folds failed" in said and "fold 02: " in said, said
    assert follower.communicate(timeout=30)[0] == "" and follower.returncode == 1
    assert tables(place / "nodes") == plain


def test_torchrun_and_srun_are_recognised_by_their_variables() -> None:
    elastic = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    elastic |= {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    assert launch_of(elastic) == Launch("torchrun", 3, 4, 1, "node1", 29500)
    assert launch_of({**elastic, "RANK": "0", "WORLD_SIZE": "1"}) is None
    step = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "1234567"}
    step |= {"SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "gpu[012-015]"}
    assert launch_of(step) == Launch("srun", 5, 8, 1, "gpu012", 15_000 + 5672)
    own = launch_of({**step, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "7000"})
    assert own == Launch("srun", 5, 8, 1, "10.0.0.1", 7000)
    assert launch_of({**step, "SLURM_STEP_NUM_TASKS": "1"}) is None  # submitit's jobs
    assert launch_of({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "8"}) is None  # sbatch's batch step


def test_a_launch_with_another_number_of_processes_than_the_trainer_is_refused() -> None:
    launch = Launch("torchrun", 0, 4, 0, "here", 1)
    ddp = configuration("trainer=ddp_cpu").trainer
    two_nodes = configuration("trainer=ddp_cpu", "trainer.num_nodes=2").trainer
    check_launch(ddp, None, led=False)
    check_launch(two_nodes, launch, led=True)
    with pytest.raises(UserError, match="torchrun --nnodes"):
        check_launch(two_nodes, None, led=False)
    with pytest.raises(UserError, match="expected 4"):
        check_launch(ddp, launch, led=True)
    with pytest.raises(UserError, match="hydra/launcher=basic"):
        check_launch(two_nodes, launch, led=False)
