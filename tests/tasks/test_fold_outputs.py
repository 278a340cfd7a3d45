"""What outputs.npz of each fold keeps for the report."""

import json
import math
from pathlib import Path

import numpy as np

from fdp_lightning.evaluation.baselines import BASELINES, FILE, read_baselines
from fdp_lightning.evaluation.extra_scores import extra_scores
from fdp_lightning.evaluation.folds import FACE, OUTPUTS, read_key_frames, read_outputs
from fdp_lightning.evaluation.learning import read_trainings
from fdp_lightning.evaluation.outcomes import Outcomes
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import scored
from fdp_lightning.labels import KEY
from tests.tasks.conftest import run_of


def test_the_mean_training_image_is_of_the_other_subjects_true_images(finished_workplace: Path) -> None:
    folds = {path.parent.name: dict(np.load(path)) for path in run_of(finished_workplace).glob("folds/*/outputs.npz")}
    assert len(folds) == 3
    for name, arrays in folds.items():
        # exact and signed: a clip's true image differs between folds by their scales alone, where nothing is cut off
        others = [other for key, other in folds.items() if key != name]
        images = np.concatenate([other["true_dynamic_image"] for other in others])
        scales = np.repeat([other["image_rms"] for other in others], [len(o["true_dynamic_image"]) for o in others])
        here = 0.5 + (images - 0.5) * (scales / arrays["image_rms"])[:, None, None]
        whole = ((images > 0) & (images < 1)).all(axis=0)
        assert whole.mean() > 0.5
        expected = here.clip(0, 1).mean(axis=0)
        np.testing.assert_allclose(arrays["mean_training_image"][whole], expected[whole], atol=1e-5)
        assert np.abs(arrays["mean_training_image"] - arrays["true_dynamic_image"].mean(axis=0)).max() > 0.01
        np.testing.assert_array_equal(arrays["arp_of_input"], arrays["true_dynamic_image"])


def test_the_report_finds_every_array_and_each_predicted_clips_key_frames(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    outputs = read_outputs(run)
    names = [extra.name for extra in outputs.extras]
    assert len(names) == 5 + 9 and {"dataset", "fold", "image_rms", FACE, *OUTPUTS, *names} == set(outputs.arrays)
    assert outputs.note == "3 of 3 folds."
    assert set(outputs["dataset"]) == {"synthetic"}
    size = outputs["true_dynamic_image"].shape[1:]
    table, _ = read_predictions(run / "predictions.csv")
    for clip in table[table["selection"] == "last"].itertuples():
        kept = read_key_frames(run, clip.fold, (clip.dataset, clip.subject, clip.clip, clip.onset))
        assert kept is not None
        frames, numbers, apex = kept
        assert frames.shape == (3, *size) and frames.dtype == np.uint8
        assert numbers[0] == clip.onset < numbers[1] < numbers[2] and abs(numbers[1] - apex) <= 1


def test_folds_say_what_tells_whether_they_learned(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    metrics = json.loads((run / "metrics.json").read_text())
    table, classes = read_predictions(run / "predictions.csv")
    last = table[table["selection"] == "last"]
    for training in read_trainings(run):
        # every clip under test trains in the other folds, and the loss has no weights by default
        assert training.class_counts == {
            name: int(((last["target"] == name) & (last["fold"] != training.name)).sum()) for name in classes
        }
        assert training.uniform_loss is not None and abs(training.uniform_loss - math.log(len(classes))) < 1e-5
        assert training.held_out_loss
    assert metrics["learning"] == [sign.plain() for sign in read_run(run).signs]
    assert metrics["extras"] == extra_scores(run)


def test_each_fold_has_its_baselines_and_the_run_has_them_pooled(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    predicted, classes = read_predictions(run / "predictions.csv")
    last = predicted[predicted["selection"] == "last"]
    pooled, scores = read_baselines(run / FILE), json.loads((run / "metrics.json").read_text())["baselines"]
    for name in BASELINES:
        part = pooled[pooled["selection"] == name]
        assert part[[*KEY, "target", "fold"]].to_numpy().tolist() == last[[*KEY, "target", "fold"]].to_numpy().tolist()
        assert scores[name]["confusion"] == scored(Outcomes.of(part, classes))["confusion"]
    for fold in run.glob("folds/*/"):
        assert FILE in json.loads((fold / "fold.json").read_text())["checksums"]
        assert len(read_baselines(fold / FILE)) == len(BASELINES) * (last["fold"] == fold.name).sum()
