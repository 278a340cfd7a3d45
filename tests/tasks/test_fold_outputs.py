"""Files of a fold: outputs for the report, baselines, explanations, and the weights behind its predictions."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.explanations import _chosen
from fdp_lightning.evaluation.baselines import BASELINES, FILE, read_baselines
from fdp_lightning.evaluation.extra_scores import extra_scores
from fdp_lightning.evaluation.folds import FACE, OUTPUTS, read_key_frames, read_outputs
from fdp_lightning.evaluation.learning import read_trainings
from fdp_lightning.evaluation.predictions import Outcomes, read_predictions
from fdp_lightning.evaluation.report_extras import images_of
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import scored
from fdp_lightning.labels import KEY
from fdp_lightning.models.attribution import HEAT, SHARE, heat_maps
from fdp_lightning.models.recognizer import with_logits
from tests.tasks.conftest import SMALL, beside, fold_here, run_of


def test_the_mean_training_image_averages_the_other_subjects(finished_workplace: Path) -> None:
    folds = {path.parent.name: dict(np.load(path)) for path in run_of(finished_workplace).glob("folds/*/outputs.npz")}
    assert len(folds) == 3
    for name, arrays in folds.items():
        # Between folds the signed true image of a clip differs only in scale, except where it is clipped.
        others = [other for key, other in folds.items() if key != name]
        images = np.concatenate([other["true_dynamic_image"] for other in others])
        scaled = [(other["true_dynamic_image"] - 0.5) * (other["image_rms"] / arrays["image_rms"]) for other in others]
        whole = ((images > 0) & (images < 1)).all(axis=0)
        assert whole.mean() > 0.5
        expected = (0.5 + np.concatenate(scaled)).clip(0, 1).mean(axis=0)
        np.testing.assert_allclose(arrays["mean_training_image"][whole], expected[whole], atol=1e-5)
        assert np.abs(arrays["mean_training_image"] - arrays["true_dynamic_image"].mean(axis=0)).max() > 0.01


def test_outputs_have_every_array_and_the_key_frames_of_each_clip(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    outputs = read_outputs(run)
    names = [extra.name for extra in outputs.extras]
    assert len(names) == 5 + 9 and {"dataset", "fold", "image_rms", FACE, *OUTPUTS, *names} == set(outputs.arrays)
    size = outputs["true_dynamic_image"].shape[1:]
    table, _ = read_predictions(run / "predictions.csv")
    for clip in table[table["selection"] == "last"].itertuples():
        kept = read_key_frames(run, clip.fold, (clip.dataset, clip.subject, clip.clip, clip.onset))
        assert kept is not None
        frames, numbers, apex = kept
        assert frames.shape == (3, *size) and frames.dtype == np.uint8
        assert numbers[0] == clip.onset < numbers[1] < numbers[2] and abs(numbers[1] - apex) <= 1


def test_folds_have_signs_of_learning_and_baselines(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    metrics = json.loads((run / "metrics.json").read_text())
    table, classes = read_predictions(run / "predictions.csv")
    last = table[table["selection"] == "last"]
    for training in read_trainings(run):
        # A test clip trains in all other folds, and the default loss has no class weights.
        others = last[last["fold"] != training.name]
        assert training.class_counts == {name: (others["target"] == name).sum() for name in classes}
        assert training.uniform_loss == pytest.approx(math.log(len(classes)), abs=1e-5) and training.held_out_loss
        fold = run / "folds" / training.name
        assert FILE in json.loads((fold / "fold.json").read_text())["checksums"]
        assert len(read_baselines(fold / FILE)) == len(BASELINES) * (last["fold"] == fold.name).sum()
    assert metrics["learning"] == [sign.plain() for sign in read_run(run).signs]
    assert metrics["extras"] == extra_scores(run)
    pooled, clips = read_baselines(run / FILE), [*KEY, "target", "fold"]
    for name in BASELINES:
        part = pooled[pooled["selection"] == name]
        assert part[clips].to_numpy().tolist() == last[clips].to_numpy().tolist()
        assert metrics["baselines"][name]["confusion"] == scored(Outcomes.of(part, classes))["confusion"]


def test_every_held_out_clip_has_a_heat_map_and_shares_of_regions(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    outputs = read_outputs(run)
    heat, faces = outputs[HEAT].astype(np.float64), outputs[FACE]
    assert heat.shape == faces.shape[:3] and len(heat) == 30
    assert heat.min() >= 0 and heat.max() <= 1
    warm = heat.max(axis=(1, 2)) > 0
    assert warm.mean() > 0.8
    assert len({of_clip.tobytes() for of_clip in heat[warm]}) == warm.sum()
    names = [extra.name for extra in outputs.extras if extra.name.startswith(SHARE)]
    shares = np.column_stack([outputs[name] for name in names])
    assert len(names) == 7 and np.isnan(shares[~warm]).all()
    np.testing.assert_allclose(shares[warm].sum(axis=1), 1, atol=1e-5)


def test_without_faces_only_the_heat_map_is_drawn(finished_workplace: Path) -> None:
    outputs = read_outputs(run_of(finished_workplace))
    images = [extra for extra in outputs.extras if extra.kind == "image"]
    other = replace(outputs, arrays={**outputs.arrays, FACE: 255 - outputs[FACE]})
    row = next(row for row in range(30) if outputs[HEAT][row].max() > 0)
    ((extra, alone),) = images_of(outputs, images, row, show_faces=False)
    assert extra.name == HEAT and np.ptp(alone, axis=2).max() > 50  # in colour
    np.testing.assert_array_equal(alone, images_of(other, images, row, show_faces=False)[0][1])
    one, two = ({e.name: i for e, i in images_of(o, images, row, show_faces=True)} for o in (outputs, other))
    assert (one[HEAT] != two[HEAT]).any()


def test_explanations_change_no_prediction(
    finished_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    beside(finished_workplace, tmp_path)
    plain = fold_here(*SMALL, "fold=01", "report.explain=false", "run=plain")
    made = run_of(finished_workplace) / "folds/01"
    assert plain.fingerprint == json.loads((made / "fold.json").read_text())["fingerprint"]
    assert (plain.folder / "predictions.csv").read_bytes() == (made / "predictions.csv").read_bytes()
    whole, less = np.load(made / "outputs.npz"), np.load(plain.folder / "outputs.npz")
    assert HEAT in whole and HEAT not in less
    for name in set(less) - {"extras"}:
        np.testing.assert_array_equal(less[name], whole[name])


def test_similarities_exclude_clips_of_the_same_subject(finished_workplace: Path) -> None:
    outputs = read_outputs(run_of(finished_workplace))
    (extra,) = (extra for extra in outputs.extras if extra.kind == "vector")
    subjects = np.repeat(np.unique(outputs["subject"]), 10)  # the clip table has ten clips of each subject
    np.testing.assert_array_equal(np.isnan(outputs[extra.name]), outputs["subject"][:, None] == subjects)
    cosines = outputs[extra.name][np.isfinite(outputs[extra.name])]
    assert np.abs(cosines).max() <= 1 and len(np.unique(cosines)) > 100


def test_the_heat_map_of_a_fold_equals_that_of_its_checkpoint(
    finished_workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = run_of(finished_workplace) / "folds/02"
    model = load_model(fold)
    kept = np.load(fold / "outputs.npz")
    monkeypatch.chdir(finished_workplace)
    opened, row = open_store(ready_data(configuration(*SMALL)).store, verify=False), 3
    index = opened.index
    (place,) = np.flatnonzero((index["subject"] == kept["subject"][row]) & (index["clip"] == kept["clip"][row]))
    positions = np.searchsorted(opened.frame_numbers(place), kept["frames"][row])
    frames = torch.from_numpy(opened.read(place, positions)).float()[:, None] / 255
    best, labels = int(with_logits(model.network(frames[None])).logits.argmax()), model.objective.labels
    odds = lambda clips: labels.log_odds(with_logits(model.network(clips)).logits, best)  # noqa: E731
    heat = heat_maps(odds, frames[None], frames[None, :1].expand(1, *frames.shape))[0]
    np.testing.assert_allclose(kept[HEAT][row].astype(np.float32), heat.numpy(), atol=2e-3)


def test_of_many_held_out_clips_the_first_of_each_class_are_explained() -> None:
    rows = _chosen(np.repeat([0, 1], [20, 3]), np.arange(23)[::-1], 8)  # the last row has the first key
    assert rows.tolist() == [*range(12, 23)]
    units = np.zeros((20, 2))
    units[:10, 0] = units[5:, 1] = 1
    assert _chosen(units, np.arange(20), 8).tolist() == [*range(13)]
