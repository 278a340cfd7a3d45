"""Subject ids are text: '010' is neither 10 nor, as YAML would have it, 8."""

from collections.abc import Callable
from pathlib import Path

import yaml

from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.evaluation.predictions import read_predictions
from tests.command import Done


def test_subject_010_survives_workbook_command_line_folder_csv_and_yaml(
    tmp_path: Path, run_cli: Callable[..., Done]
) -> None:
    SyntheticFaces(
        subjects=4, clips_per_emotion=1, min_frames=8, max_frames=8, height=180, width=240, layout="samm"
    ).write(tmp_path / "SAMM")
    common = [
        "+experiment=samm_loso", "model=fdp_tiny", "trainer=cpu", "data.root=SAMM", "protocol.strict=false",
        "debug=smoke", "run=run",
    ]  # fmt: skip
    alone = run_cli(*common, "task=fold", "fold=010")
    assert alone.returncode == 0, alone.stderr
    written = (tmp_path / "run/folds/010/predictions.csv").read_bytes()
    whole = run_cli(*common)
    assert whole.returncode == 0, whole.stderr
    assert "3 of 4 folds to run" in whole.stderr  # 010 is known again
    assert (tmp_path / "run/folds/010/predictions.csv").read_bytes() == written
    assert sorted(path.name for path in (tmp_path / "run/folds").iterdir()) == ["006", "007", "009", "010"]
    table, _ = read_predictions(tmp_path / "run/predictions.csv")
    assert sorted(set(table["subject"])) == ["006", "007", "009", "010"] == sorted(set(table["fold"]))
    # The very configuration of the run, read from its file, finds the fold by its name.
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text()) | {"fold": "010"}
    assert yaml.safe_load(yaml.safe_dump(config))["fold"] == "010"
    octal = run_cli(*common, "task=fold", "fold=8")
    assert octal.returncode == 2
    assert "no fold '8'" in octal.stderr and "010" in octal.stderr
