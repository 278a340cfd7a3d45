"""Leave-one-subject-out from the command line: complete and repeatable, nothing lost, omitted clips reported."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig
from openpyxl import load_workbook

from fdp_lightning.config import configuration
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.engine.dataset import expected_clips, ready_data, write_expected
from fdp_lightning.engine.plan import plan_fold
from fdp_lightning.engine.process import run_fold
from fdp_lightning.evaluation.metrics import confusion
from fdp_lightning.evaluation.predictions import class_indices, read_predictions
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.runs.pooling import pool_run
from tests.command import Run
from tests.conftest import TINY
from tests.tasks.conftest import run_of, start


def predictions(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "predictions.csv", dtype=dict.fromkeys(["dataset", "subject", "clip", "fold"], str))


def test_each_clip_is_predicted_once_by_the_fold_without_its_subject(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    scores, table = read_run(run).metrics["selections"], predictions(run)  # recomputed from the table
    assert set(table["selection"]) == {*scores} == {"last", "oracle"} and set(table["dataset"]) == {"synthetic"}
    for selection, part in table.groupby("selection"):
        assert len(part) == 30 and not part.duplicated(["dataset", "subject", "clip", "onset"]).any()
        assert (part["fold"] == part["subject"]).all()
        assert scores[selection]["accuracy"] == pytest.approx((part["target"] == part["prediction"]).mean())
    assert scores["oracle"]["accuracy"] >= scores["last"]["accuracy"]


def checkpoint_of(run: Path, fold: str, content: bytes, checksum: str) -> None:
    """Write a checkpoint that a fold is resumed from if the checksum matches."""
    (finished, *_) = run.glob("folds/*/fold.json")
    fingerprint = json.loads(finished.read_text())["fingerprint"]
    (run / "unfinished" / fold).mkdir(parents=True)
    (run / "unfinished" / fold / f"{fingerprint}-epoch000001-{checksum}.ckpt").write_bytes(content)


def test_only_damaged_and_missing_folds_are_run_again_and_give_the_same_result(workplace: Path) -> None:
    run = run_of(workplace)
    table = (run / "predictions.csv").read_bytes()
    kept = (run / "folds/01/fold.json").stat().st_mtime_ns
    damaged = run / "folds/02/predictions.csv"
    damaged.write_bytes(damaged.read_bytes().replace(b"happiness", b"surprise_", 1))
    shutil.rmtree(run / "folds/03")
    (run / "folds/.03.elsewhere.1.partial").mkdir()  # left by a killed process on another machine
    checkpoint_of(run, "03", b"half of a checkpoint", "0123456789abcdef")
    done = start(workplace)
    assert "folds/02/predictions.csv has changed" in done.stderr
    assert "0123456789abcdef.ckpt is damaged" in done.stderr
    assert (run / "folds/01/fold.json").stat().st_mtime_ns == kept
    assert (run / "predictions.csv").read_bytes() == table
    assert (run / "superseded/02-1/predictions.csv").is_file()


def test_after_a_crashed_fold_the_others_are_kept_but_not_scored(workplace: Path) -> None:
    run = run_of(workplace)
    for path in ("folds/01", "folds/02"):
        shutil.rmtree(run / path)
    # No checkpoint, but with a valid checksum: reading it raises an unexpected error.
    checkpoint_of(run, "01", b"no checkpoint", hashlib.sha256(b"no checkpoint").hexdigest()[:16])
    done = start(workplace, code=1)
    assert "1 of 3 folds failed" in done.stderr and "fold 01" in done.stderr
    assert (run / "folds/02/predictions.csv").is_file()
    assert not (run / "metrics.json").exists()


def test_a_sweep_over_seeds_keeps_the_finished_run_and_adds_another(workplace: Path) -> None:
    done = start(workplace, "-m", "seed=0,1")
    assert "0 of 3 folds to run" in done.stderr and "3 of 3 folds to run" in done.stderr
    first, second = predictions(run_of(workplace)), predictions(run_of(workplace).with_name("seed-1"))
    assert set(second["seed"]) == {1}
    assert not np.array_equal(first["prob_disgust"], second["prob_disgust"])
    assert {path.name for path in workplace.iterdir()} == {"data", "stores", "runs"}


def test_the_report_can_be_made_again_from_the_folds(workplace: Path) -> None:
    run = run_of(workplace)
    expected = {name: (run / name).read_bytes() for name in ("predictions.csv", "metrics.json")}
    for name in (*expected, "report.html"):
        (run / name).unlink()
    command = ["task=report", f"run={run.relative_to(workplace)}"]
    start(workplace, *command)
    assert {name: (run / name).read_bytes() for name in expected} == expected
    assert (run / "report.html").stat().st_size > 10_000
    shutil.rmtree(run / "folds/03")
    assert "clips missing" in start(workplace, *command, code=2).stderr


def test_subject_010_keeps_its_leading_zero_from_workbook_to_predictions(tmp_path: Path, run_cli: Run) -> None:
    SyntheticFaces(**{**TINY, "subjects": 4}, layout="samm").write(tmp_path / "SAMM")
    common = [
        "+experiment=samm_loso", "model=fdp_tiny", "trainer=cpu", "data.root=SAMM", "protocol.strict=false",
        "debug=smoke", "run=run", "data.faces.method=none",
    ]  # fmt: skip
    run_cli(*common, "task=fold", "fold=010", code=0)
    assert "3 of 4 folds to run" in run_cli(*common, code=0).stderr  # 010 is recognised
    subjects = ["006", "007", "009", "010"]
    assert sorted(path.name for path in (tmp_path / "run/folds").iterdir()) == subjects
    table, _ = read_predictions(tmp_path / "run/predictions.csv")
    assert sorted(set(table["subject"])) == subjects == sorted(set(table["fold"]))
    octal = run_cli(*common, "task=fold", "fold=8", code=2)  # 010 as an octal number
    assert "no fold '8'" in octal.stderr and "010" in octal.stderr


def names_of(table: pd.DataFrame) -> list[str]:
    """Return subject/clip of each row."""
    return (table["subject"] + "/" + table["clip"]).tolist()


def test_clips_left_out_are_not_scored_and_are_reported(
    on_casme2: list[str], casme2_clips: pd.DataFrame, tmp_path: Path, capsys: Any
) -> None:
    why = "data.sampling.rule=floor, fewer than 12 frames"
    options = ["data.sampling.rule=floor", "data.sampling.frames=12", "data.normalisation=each_set"]
    options += ["protocol.untested=['03']", "report.headline=oracle", "data.augmentation=null", "data.batch_size=4"]
    config = configuration(*on_casme2, *options, f"run={tmp_path}/run", "trainer.max_epochs=-1", "trainer.max_steps=1")
    run, data = tmp_path / "run", ready_data(config)
    is_short = casme2_clips["offset"] - casme2_clips["onset"] + 1 < 12
    short = names_of(casme2_clips[is_short])
    assert 0 < len(short) < 15
    assert (names_of(data.left_out), set(data.left_out["why"])) == (short, {why})
    splits = data.folds()
    assert [split.name for split in splits] == ["01", "02"]
    run.mkdir()
    write_expected(run, data, splits)
    for split in splits:
        assert "03" in set(data.clips["subject"].iloc[list(split.train_rows)])
        run_fold(plan_fold(config, data, split, run))
    metrics = pool_run(run, config)
    tested = names_of(casme2_clips[~is_short & (casme2_clips["subject"] != "03")])
    for _, part in read_predictions(run / "predictions.csv")[0].groupby("selection"):
        assert names_of(part) == tested
    assert json.loads((run / "metrics.json").read_text()) == metrics
    found = [metrics[key] for key in ("n_clips", "n_subjects", "skipped_folds", "untested", "left_out")]
    assert found == [len(tested), 2, [], ["03"], {why: short}]
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.index("oracle 0.") < shown.index("last 0.")
    assert f"({why}): {len(short)}" in shown and f"({why}): {len(short)} clips" in (run / "report.html").read_text()


def relabelled(root: Path, *emotions: str | None) -> list[str]:
    """Change the emotions of the three clips of the small copy; return their names as 'subject/clip'."""
    path = root / "CASME2-coding-20190701.xlsx"
    book = load_workbook(path)
    rows = [row for row in book.active.iter_rows(min_row=2) if row[0].value]
    for row, emotion in zip(rows, emotions, strict=True):
        row[8].value = emotion
    book.save(path)
    return [f"{int(row[0].value):02d}/{row[1].value}" for row in rows]


def config(root: Path, *more: str) -> DictConfig:
    made_up = ["data=casme2", "data.name=synthetic", "protocol=synthetic_5c", "data.faces.method=none"]
    places = [f"data.root={root}", f"data.store={root.parent / 'stores'}", "data.workers=1"]
    return configuration(*made_up, *places, *more)


def test_clips_with_a_misspelt_or_blank_label_are_listed_with_the_reason(small_copy: Path, caplog: Any) -> None:
    names = relabelled(small_copy, "happiness", "happines", None)
    with caplog.at_level(logging.WARNING):
        data = ready_data(config(small_copy))
    assert names_of(data.left_out) == names[1:] and len(data.clips) == 1
    misspelt, blank = data.left_out["why"]
    assert "happines" in misspelt and "blank" in blank
    assert "happines" in caplog.text and names[2] in caplog.text


def test_a_subject_whose_classes_no_other_subject_has_is_a_caveat(small_copy: Path) -> None:
    def found(*emotions: str) -> tuple[list[str], dict[str, Any]]:
        names, data = relabelled(small_copy, *emotions), ready_data(config(small_copy))
        return names, expected_clips(data, data.folds())

    names, expected = found("happiness", "disgust", "disgust")
    (caveat,) = [caveat for caveat in expected["caveats"] if names[0] in caveat]
    assert "happiness" in caveat and names[1] not in caveat
    assert len(expected["clips"]) == 3
    _, expected = found("disgust", "disgust", "disgust")
    assert (expected["caveats"], expected["left_out"]) == ([], {})


def test_clips_that_a_published_protocol_omits_are_not_listed() -> None:
    frame = pd.DataFrame({"subject": ["01", "02", "03"], "emotion": ["fear", "happiness", "anger"], "action_units": ""})
    clips = frame.assign(dataset="casme2", clip="c", onset=1, split="")
    options = {"name": "p", "dataset": "casme2", "classes": {"fear": ["fear"], "happiness": ["happiness"]}}
    assert Protocol(**options, expected={"clips": 2}).left_out(clips).empty
    assert Protocol(**options, expected={"clips": 3}).left_out(clips)["subject"].tolist() == ["03"]
    left_out = Protocol(**options, exclude=["01/c"]).left_out(clips)
    assert left_out["subject"].tolist() == ["01", "03"] and left_out["why"][0] == "protocol.exclude"


@pytest.mark.slow  # trains eight folds for twenty epochs
def test_with_shuffled_labels_last_is_at_chance_and_oracle_above(tmp_path: Path) -> None:
    size = ["data.generate.subjects=8", "trainer.max_epochs=20", "model.optimizer.lr=0.01"]
    start(tmp_path, *size, "protocol.shuffled=0", "selection.inner_subjects=2", "loso.workers=2")
    (run,) = tmp_path.glob("runs/synthetic_loso/*/seed-0")
    metrics = json.loads((run / "metrics.json").read_text())
    table, classes = read_predictions(run / "predictions.csv")
    for name in ("last", "inner"):
        assert abs(surprise(table[table["selection"] == name], classes)) < 4
    # Each fold selects the best of 20 epochs on its own test clips: "above" chance although nothing can be learned.
    last, oracle = metrics["selections"]["last"], metrics["selections"]["oracle"]
    assert oracle["accuracy"] >= last["accuracy"] + 0.05
    assert metrics["optimism_gap"]["accuracy"] == oracle["accuracy"] - last["accuracy"]
    assert any("shuffled" in caveat for caveat in metrics["caveats"])


def surprise(table: pd.DataFrame, classes: list[str]) -> float:
    """Return the hits minus their mean under permuted labels, in standard deviations over permutations.

    The labels are a random permutation among the clips of each subject, unknown to a network trained on other subjects:
    its hits in a subject are distributed as over random permutations, independently of other subjects. Since a fold
    trains on the others' labels, predictions are not quite independent, and the limit of 4 is generous: a correct run
    exceeds it less than once in a hundred times. 80 hits of 80 clips would be 18 standard deviations.
    """
    permutations = 5000
    generator, hits, expected = np.random.default_rng(0), 0, np.zeros(permutations)
    for _, rows in table.groupby(["dataset", "subject"]):
        target, prediction = class_indices(rows, classes)
        hits += np.trace(confusion(target, prediction, len(classes)))
        permuted = generator.permuted(np.tile(target, (permutations, 1)), axis=1)
        expected += (permuted == prediction).sum(axis=1)
    return float((hits - expected.mean()) / expected.std())
