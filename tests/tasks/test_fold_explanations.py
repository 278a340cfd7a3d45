"""What moved and counted in the held-out clips of each fold of a run, and what the report makes of it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fdp_lightning import load_model
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine import explanations
from fdp_lightning.engine.explanations import _chosen
from fdp_lightning.evaluation.folds import FACE, Outputs, read_outputs
from fdp_lightning.evaluation.report_extras import images_of
from fdp_lightning.models.attribution import HEAT, SHARE, heat_map
from fdp_lightning.models.recognizer import with_logits
from tests.tasks.conftest import SMALL, fold_here, run_of


def shares_of(outputs: Outputs) -> np.ndarray:
    names = [extra.name for extra in outputs.extras if extra.name.startswith(SHARE)]
    return np.column_stack([outputs[name] for name in names])


def test_every_held_out_clip_has_a_map_and_the_share_of_each_region(finished_workplace: Path) -> None:
    outputs = read_outputs(run_of(finished_workplace))
    heat, faces = outputs[HEAT].astype(np.float64), outputs[FACE]
    assert heat.shape == faces.shape[:3] and len(heat) == 30
    assert heat.min() >= 0 and heat.max() <= 1
    warm = heat.max(axis=(1, 2)) > 0
    assert warm.mean() > 0.8
    assert len({of_clip.tobytes() for of_clip in heat[warm]}) == warm.sum()
    shares = shares_of(outputs)
    assert shares.shape[1] == 7
    np.testing.assert_allclose(shares[warm].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(shares[~warm]).all()


def test_the_report_draws_the_first_clips_maps_and_one_table_of_shares(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    page = (run / "report.html").read_text()
    section = page[page.index('<section id="what_moved_and_counted"') :].split("</section>")[0]
    assert section.count("<img ") == 10  # two clips of each of five classes
    (table,) = re.findall("<table>.*?</table>", section, re.DOTALL)
    assert table.count("<tr>") == 1 + 5 + 1
    scores = json.loads((run / "metrics.json").read_text())["extras"]
    for name in ("Brows", "Mouth"):
        assert f">{name}<" in table
        assert f"<td>{scores[SHARE + name.lower()]['mean']:.3g}<small>" in table


def test_without_faces_a_map_is_drawn_alone_and_nothing_else_is(finished_workplace: Path) -> None:
    outputs = read_outputs(run_of(finished_workplace))
    images = [extra for extra in outputs.extras if extra.kind == "image"]
    other = replace(outputs, arrays={**outputs.arrays, FACE: 255 - outputs[FACE]})
    row = next(row for row in range(30) if outputs[HEAT][row].max() > 0)
    ((extra, alone),) = images_of(outputs, images, row, show_faces=False)
    assert extra.name == HEAT and np.ptp(alone, axis=2).max() > 50  # in colours
    np.testing.assert_array_equal(alone, images_of(other, images, row, show_faces=False)[0][1])
    faces = [
        {extra.name: image for extra, image in images_of(each, images, row, show_faces=True)}
        for each in (outputs, other)
    ]
    assert len(faces[0]) == len(images) - 1 > 2  # the exact image is that of the input itself
    assert (faces[0][HEAT] != faces[1][HEAT]).any()


def test_maps_change_no_prediction(finished_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "stores"):
        shutil.copytree(finished_workplace / name, tmp_path / name)
    plain = fold_here(*SMALL, "fold=01", "report.explain=false", "run=plain")
    made = run_of(finished_workplace) / "folds/01"
    assert plain.fingerprint == json.loads((made / "fold.json").read_text())["fingerprint"]
    assert (plain.folder / "predictions.csv").read_bytes() == (made / "predictions.csv").read_bytes()
    whole, less = np.load(made / "outputs.npz"), np.load(plain.folder / "outputs.npz")
    assert HEAT in whole and HEAT not in less
    for name in set(less) - {"extras"}:
        np.testing.assert_array_equal(less[name], whole[name])


def test_held_out_clips_are_compared_with_all_others_but_those_of_their_subject(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    outputs = read_outputs(run)
    (extra,) = (extra for extra in outputs.extras if extra.kind == "vector")
    assert extra.title == "dynamic representation"
    subjects = np.repeat(np.unique(outputs["subject"]), 10)  # the clip table has ten clips of each
    np.testing.assert_array_equal(np.isnan(outputs[extra.name]), outputs["subject"][:, None] == subjects)
    cosines = outputs[extra.name][np.isfinite(outputs[extra.name])]
    assert np.abs(cosines).max() <= 1 and len(np.unique(cosines)) > 100
    page = (run / "report.html").read_text()
    assert page.index('<section id="embedding"') < page.index("Dynamic representation of all 30 held-out clips")


def test_a_fold_none_of_whose_training_clips_is_an_anchor_is_trained_all_the_same(
    finished_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "stores"):
        shutil.copytree(finished_workplace / name, tmp_path / name)
    monkeypatch.setattr(explanations, "ANCHORS", 1)  # the first clip, which the fold of subject 01 holds out
    plan = fold_here(*SMALL, "fold=01", "run=plain")
    assert np.isnan(np.load(plan.folder / "outputs.npz")[explanations.SIMILARITIES]).all()


def test_a_map_is_that_of_predict(finished_workplace: Path) -> None:
    """The clip alone, from the checkpoint, gives the map that the fold made among others."""
    fold = run_of(finished_workplace) / "folds/02"
    model = load_model(fold)
    kept = np.load(fold / "outputs.npz")
    (store,) = finished_workplace.glob("stores/*/")
    opened, row = open_store(store, verify=False), 3
    index = opened.index
    (place,) = np.flatnonzero((index["subject"] == kept["subject"][row]) & (index["clip"] == kept["clip"][row]))
    positions = np.searchsorted(opened.frame_numbers(place), kept["frames"][row])
    frames = torch.from_numpy(opened.read(place, positions)).float()[:, None] / 255
    best, labels = int(with_logits(model.network(frames[None])).logits.argmax()), model.objective.labels
    odds = lambda clips: labels.log_odds(with_logits(model.network(clips)).logits, best)  # noqa: E731
    heat = heat_map(odds, frames, frames[:1].expand_as(frames))
    np.testing.assert_allclose(kept[HEAT][row].astype(np.float32), heat.numpy(), atol=2e-3)


def test_where_many_clips_are_held_out_the_first_of_each_class_are_explained() -> None:
    target = np.repeat([0, 1], [20, 3])
    order = np.arange(23)[::-1]  # by key the last row is the first
    rows = _chosen(target, order, 8)
    assert rows.tolist() == [*range(12, 20), 20, 21, 22]
    units = np.zeros((20, 2))
    units[:10, 0] = units[5:, 1] = 1
    rows = _chosen(units, np.arange(20), 8)
    assert rows.tolist() == [*range(8), 8, *range(9, 13)]
