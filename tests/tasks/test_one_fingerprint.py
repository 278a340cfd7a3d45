"""One run folder has one fingerprint: for as long as a command works in it, and when its folds are pooled."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.runs.claims import run_claim
from fdp_lightning.runs.folder import recorded_config
from fdp_lightning.runs.pooling import POOLED, pool_run
from fdp_lightning.tasks.report import report
from tests.tasks.conftest import run_of, start

pytestmark = pytest.mark.costly

ONE, OTHER = "0" * 12, "f" * 12


def edit(fold: Path, **facts: object) -> None:
    path = fold / "fold.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_folds_of_other_settings_have_no_score_together(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    run = run_of(workplace)
    edit(run / "folds/01", fingerprint=OTHER)
    with pytest.raises(UserError) as caught:
        report(configuration(f"run={run}", "task=report"))
    assert f"{OTHER}: 01" in str(caught.value) and "02, 03" in str(caught.value)
    assert not any((run / name).exists() for name in POOLED)


def test_folds_of_another_torch_are_pooled_and_said(workplace: Path) -> None:
    run = run_of(workplace)
    config = recorded_config(run)
    assert not pool_run(run, config)["caveats"]
    edit(run / "folds/01", torch="1.0.0")
    (caveat,) = pool_run(run, config)["caveats"]  # type: ignore[misc]
    assert "1.0.0" in caveat


def test_a_folder_in_use_is_refused_to_other_settings_alone(tmp_path: Path) -> None:
    with run_claim(tmp_path, ONE), run_claim(tmp_path, ONE):
        with pytest.raises(UserError, match=ONE), run_claim(tmp_path, OTHER):
            pass
        with run_claim(tmp_path, ONE):
            pass
    with run_claim(tmp_path, OTHER):
        pass
    assert not list((tmp_path / ".working").glob("*.lock"))


def test_what_a_killed_command_left_is_cleared(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from fdp_lightning.runs.claims import run_claim\n"
        "with run_claim(Path(sys.argv[1]), sys.argv[2]): print('in', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path, ONE], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"in\n"
        with pytest.raises(UserError), run_claim(tmp_path, OTHER):
            pass
        holder.send_signal(signal.SIGKILL)
    with run_claim(tmp_path, OTHER):
        assert [path.name[:12] for path in (tmp_path / ".working").glob("*.lock")] == [OTHER]


def test_a_second_command_is_refused_and_moves_nothing(workplace: Path) -> None:
    run = run_of(workplace)
    before = sorted(path.stat().st_ino for path in run.glob("folds/*/*"))
    with run_claim(run, ONE):
        done = start(workplace, f"run={run.relative_to(workplace)}", "model.optimizer.lr=0.1")
    assert done.returncode == 2, done.stderr
    assert ONE in done.stderr
    assert sorted(path.stat().st_ino for path in run.glob("folds/*/*")) == before
