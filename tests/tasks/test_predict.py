"""A trained model on input videos: the same predictions as on the clips of a dataset, for every video format."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fdp_lightning import load_model
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.synthetic.film import draw_clip, draw_film, write_frames
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.inference.clip import positions_in_time
from fdp_lightning.inference.model import Model
from tests.command import Run
from tests.tasks.conftest import SMALL, fold_here, problems, run_of
from tests.tasks.test_predict_video import ImageVideo


def assert_predicted_as_trained(fold: Path, clips: pd.DataFrame) -> None:
    """Check that a fold's model predicts on the folders of its test clips what the fold's files contain."""
    model, outputs = load_model(fold), np.load(fold / "outputs.npz")
    table, classes = read_predictions(fold / "predictions.csv")
    rows = table[table["selection"] == "last"].merge(clips[["subject", "clip", "folder"]], on=["subject", "clip"])
    assert len(rows) == len(clips) == 10
    for i, row in enumerate(rows.to_dict("records")):
        prediction = model.predict(row["folder"])
        assert prediction.label == row["prediction"]
        assert prediction.probabilities == pytest.approx({name: row[f"prob_{name}"] for name in classes}, abs=1e-5)
        np.testing.assert_allclose(prediction.frame_numbers, outputs["frames"][i], atol=1e-9)
        for name in ("rank_scores", "true_dynamic_image", "dynamic_image"):
            np.testing.assert_allclose(prediction.extras[name], outputs[name][i], atol=1e-5)


def test_a_clip_is_predicted_as_in_training(finished_workplace: Path) -> None:
    (root,) = (finished_workplace / "data" / "synthetic").iterdir()
    clips = CASME2(root).clips()
    assert_predicted_as_trained(run_of(finished_workplace) / "folds/02", clips[clips["subject"] == "02"])


Capsys = pytest.CaptureFixture[str]
EMA = ["model.optimizer.ema=0.5", "model.optimizer.lr=0.01"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["data.faces.per_frame=true", "data.faces.colour=rgb"], marks=pytest.mark.slow),
        ["data.faces.method=box", "data.sampling.frames=14", "data.sampling.short=interpolate", *EMA],
        ["data.faces.method=none", "data.sampling.rule=random_phase", "model.objective.image_scale=min_max"],
        pytest.param(["data=synthetic", "protocol=synthetic_au", "data.faces.margin=0.1"], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_other_options_predict_as_in_training(finished_workplace: Path, tmp_path: Path, options: list[str]) -> None:
    generate = [option for option in SMALL if option.startswith("data.generate")]
    place = [f"data.root={finished_workplace}/data/synthetic", f"data.store={tmp_path}/stores", f"run={tmp_path}/run"]
    fold = ["fold=02", "trainer.max_epochs=1", "data.batch_size=10", "protocol.strict=false"]
    plan = fold_here(*options, *generate, *place, *fold)
    assert_predicted_as_trained(plan.folder, plan.clips.iloc[list(plan.fold.test_rows)])


def test_frames_at_uneven_times_are_selected_by_time() -> None:
    even, rule = np.arange(30) / 30, Sampling(8)
    jitter = even + np.random.default_rng(0).uniform(-0.2, 0.2, 30) / 30
    for seconds in (None, even, jitter):
        np.testing.assert_array_equal(positions_in_time(rule, 30, seconds), rule.positions(30))
    # One second at 30 frames per second; the first half has lost two of three frames.
    kept = np.array([n for n in range(31) if n >= 15 or n % 3 == 0])
    places = positions_in_time(Sampling(6), len(kept), kept / 30)
    np.testing.assert_allclose(kept[places] / 30, np.arange(6) / 5, atol=1.5 / 30)
    assert np.abs(kept[Sampling(6).positions(len(kept))] / 30 - np.arange(6) / 5).max() > 0.15
    blended = positions_in_time(Sampling(40, short="interpolate"), len(kept), kept / 30)
    np.testing.assert_allclose(np.interp(blended, np.arange(len(kept)), kept) / 30, np.arange(40) / 39, atol=1e-9)


def test_the_command_on_one_video(tmp_path: Path, run_cli: Run) -> None:
    draw_film(tmp_path / "my clip.mp4", "surprise", seed=3)
    done = run_cli("predict", "my clip.mp4", code=0)
    output = tmp_path / "predictions" / "my clip"
    facts = json.loads((output / "predict.json").read_text())
    (clip,) = facts["clips"]
    assert problems(facts) == []
    assert facts["model"]["synthetic"] is True and facts["notice"] in done.stdout
    assert clip["class"] == max(clip["probabilities"], key=clip["probabilities"].get)
    assert clip["probabilities"] == load_model().predict(tmp_path / "my clip.mp4").probabilities
    assert len(clip["extras"]["rank_scores"]["values"]) == len(clip["frames_used"]) == len(clip["seconds"]) == 8
    assert (clip["frames_used"][0], clip["frames_used"][-1]) == (0, clip["length"] - 1)
    left, top, right, bottom = clip["face"]["box"]
    assert 0 < left < right < 320 and 0 < top < bottom < 240
    for name, wide in {"true_dynamic_image": 64, "dynamic_image": 64, "overview": 1000}.items():
        assert cv2.imread(str(output / "my clip" / f"{name}.png")).shape[1] >= wide
    with Image.open(output / "my clip" / "overlay.webp") as animation:
        assert animation.n_frames == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my clip.mp4", "predictions"]


def test_a_prediction_does_not_depend_on_the_number_of_threads(model: Model, tmp_path: Path) -> None:
    draw_film(tmp_path / "clip.mp4", "surprise")
    before, seen, found = torch.get_num_threads(), set(), []
    watched = model.network.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(model.predict(tmp_path / "clip.mp4"))
            assert torch.get_num_threads() == threads
    finally:
        watched.remove()
        torch.set_num_threads(before)
    assert seen == {1}  # some CPUs show no difference
    assert found[0].probabilities == found[1].probabilities
    assert np.array_equal(found[0].extras["rank_scores"], found[1].extras["rank_scores"])


def test_a_bad_clip_in_a_folder_does_not_stop_the_others(tmp_path: Path, run_cli: Run) -> None:
    clips, output = tmp_path / "clips", tmp_path / "out"
    draw_film(clips / "a.webm", "happiness")
    write_frames(clips / "b", draw_clip("surprise").images)
    (clips / "c.mp4").write_text("no video")
    done = run_cli("task=predict", f"predict.input={clips}", "predict.output=out", code=2)
    assert "1 of 3 clips" in done.stderr and "c.mp4" in done.stderr
    facts = json.loads((output / "predict.json").read_text())
    assert problems(facts) == []
    assert [clip["clip"] for clip in facts["clips"]] == ["a", "b"]
    assert [clip["clip"] for clip in facts["failed"]] == ["c"]
    assert facts["clips"][1]["seconds"] is None  # the frame rate of a folder is unknown
    rows = pd.read_csv(output / "predictions.csv").set_index("clip")
    assert rows.loc[["a", "b"], "class"].tolist() == [clip["class"] for clip in facts["clips"]]
    assert sorted(path.name for path in output.iterdir()) == ["a", "b", "predict.json", "predictions.csv"]


def test_the_example_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = (part for part in readme.split("```") if "load_model" in part)
    monkeypatch.chdir(tmp_path)
    draw_film(tmp_path / "clip.mp4", "surprise")
    exec(compile(block.removeprefix("python\n"), "README.md", "exec"), {})
    assert "surprise" in capsys.readouterr().out


def test_the_bundled_model_knows_emotions_of_an_unseen_subject(model: Model, tmp_path: Path) -> None:
    right = []
    for emotion in model.classes:
        write_frames(tmp_path / emotion, draw_clip(emotion, seed=0).images)
        right.append(model.predict(tmp_path / emotion).label == emotion)
    assert np.mean(right) > 0.5  # chance is 0.2


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """RGB images."""
    return [image[..., ::-1] for image in draw_clip("surprise").images]


def test_the_largest_face_counts_and_a_late_one_is_found(model: Model, images: list[np.ndarray]) -> None:
    alone = model.predict(ImageVideo(images, 60))
    height, width = images[0].shape[:2]
    both = [np.zeros((height, width * 2, 3), np.uint8) for _ in images]
    for canvas, image in zip(both, images, strict=True):
        canvas[:, width:] = image
        other = cv2.resize(image, None, fx=0.6, fy=0.6)
        canvas[: other.shape[0], : other.shape[1]] = other
    crowd = model.predict(ImageVideo(both, 60))
    assert crowd.face.count == 2 and crowd.face.box[0] > width and crowd.label == alone.label
    assert np.abs(crowd.frames.astype(float) - alone.frames).mean() < 3
    late = model.predict(ImageVideo([np.zeros_like(images[0])] * 3 + images, 60))
    assert late.face.frame == 3
    short, slow = model.predict(ImageVideo(images[::8], 60)), model.predict(ImageVideo(images, 5))
    assert alone.warnings == []
    for word, warned in {"2 faces": crowd, "first frame": late, "repeated": short, "half a second": slow}.items():
        assert any(word in warning for warning in warned.warnings), word


def test_a_model_whose_training_diverged_predicts_nothing(images: list[np.ndarray]) -> None:
    diverged = load_model()
    with torch.no_grad():
        for values in diverged.network.parameters():
            values.fill_(float("nan"))
    with pytest.raises(UserError, match="not numbers"):
        diverged.predict(ImageVideo(images, 60))
