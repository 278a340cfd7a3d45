"""Every experiment file on CASME II, SAMM or their stand-ins runs: one batch of one fold, on synthetic data.

The others are in test_experiments_copies.py.
"""

from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import CONF_DIR
from tests.command import once
from tests.tasks.conftest import fold_here

pytestmark = pytest.mark.costly

ON_SYNTHETIC = sorted(
    path.stem
    for path in (CONF_DIR / "experiment").glob("[!_]*.yaml")
    if path.stem.startswith(("synthetic", "casme2_", "samm_"))
)
TINY = ["subjects=3", "clips_per_emotion=1", "min_frames=10", "max_frames=12", "height=180", "width=240"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first experiment leaves its data and store for the others."""
    return once(tmp_path_factory, "experiments", lambda place: None)


@pytest.mark.parametrize(
    ("experiment", "logger"), [*((name, "csv") for name in ON_SYNTHETIC), ("synthetic_loso", "tensorboard")]
)
def test_one_batch(experiment: str, logger: str, shared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    overrides = [f"+experiment={experiment}", "debug=smoke", f"logger={logger}", f"data.store={shared}/stores"]
    overrides += [f"run={tmp_path}/run", "protocol.strict=false", "data.workers=1"]
    overrides.append("trainer.max_epochs=1")  # run_task lets debug=smoke speak last; here no task is run
    if experiment.startswith("synthetic"):
        subject = "02"
        overrides += [f"data.root={shared}/data", *(f"data.generate.{setting}" for setting in TINY)]
    elif experiment.startswith("casme2"):
        subject = "02"
        overrides.append(f"data.root={request.getfixturevalue('casme2_root')}")
        overrides.append("protocol.labels='2019'")  # the synthetic copy has no other workbook
    else:
        subject = "006"
        overrides.append(f"data.root={request.getfixturevalue('samm_root')}")
    if not experiment.startswith("synthetic"):
        overrides.append("trainer=cpu")
    if experiment in ("casme2_3c_loso", "samm_loso"):  # the paper's model takes its step in casme2_loso
        overrides.append("model=fdp_tiny")
    if experiment.endswith("_released"):  # the large backbone takes its step in test_options.py
        overrides += ["model.backbone.stages=[{n_local: 1, width: 16}]", "model/dic_head=unet"]
    table = run_fold_of(overrides, subject, tmp_path)
    assert set(table["subject"]) == {subject} == set(table["fold"])
    clips = 4 if experiment == "casme2_3c_loso" else 5  # one of each emotion; the three classes leave out `others`
    assert len(table) == 2 * clips  # `last` and `oracle`
    logs = [path.name for path in (tmp_path / "run/folds" / subject / "log").iterdir()]
    assert any(name.startswith("metrics.csv" if logger == "csv" else "events") for name in logs)


def run_fold_of(overrides: list[str], subject: str, folder: Path) -> pd.DataFrame:
    plan = fold_here(*overrides, f"fold={subject}")
    return pd.read_csv(plan.folder / "predictions.csv", dtype={"subject": str, "fold": str})
