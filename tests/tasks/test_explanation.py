"""Explanations from Python: recognisers that depend on one region, and the bundled model."""

import json
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.data.faces.regions import face_regions
from fdp_lightning.data.synthetic.film import draw_clip, write_frames
from fdp_lightning.errors import UserError
from fdp_lightning.inference.explanation import explain
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.tasks.predict import predict

EMOTIONS = ("happiness", "disgust", "repression", "surprise", "others")


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    folder = tmp_path_factory.mktemp("explained") / "clip"
    write_frames(folder, draw_clip("surprise", 3).images)
    return load_model().predict(folder)


class LooksAt(nn.Module):
    """A network whose logit of 'disgust' is proportional to the motion in one region, its only input."""

    def __init__(self, region: np.ndarray) -> None:
        super().__init__()
        self.region = torch.from_numpy(region)

    def forward(self, clips: Tensor) -> Tensor:
        moved = (clips - clips[:, :1]).abs().mean(dim=(1, 2))[:, self.region].mean(dim=1)
        logits = torch.zeros(len(clips), 5)
        logits[:, EMOTIONS.index("disgust")] = 100 * moved
        return logits


@pytest.mark.parametrize("region", ["brows", "mouth", "chin"])
def test_the_map_peaks_in_the_region_that_a_recogniser_looks_at(region: str, prediction: Prediction) -> None:
    model = load_model()
    regions = face_regions(model.preparation.faces)
    assert regions is not None
    model.network = LooksAt(regions[region])
    explanation = explain(model, prediction, "disgust")
    assert regions[region].flat[explanation.heat.argmax()]
    assert explanation.shares is not None
    assert max(explanation.shares, key=explanation.shares.__getitem__) == region
    assert sum(explanation.shares.values()) == pytest.approx(1)
    # Motion in the region is evidence against all other classes.
    assert explain(model, prediction, "surprise").shares is None


def test_the_most_probable_class_is_explained_by_default(prediction: Prediction) -> None:
    model = load_model()
    own = explain(model, prediction)
    assert own.label == prediction.label
    assert own.heat.shape == prediction.frames.shape[1:] and own.heat.dtype == np.float32
    assert (own.heat.min(), own.heat.max()) == (0, 1)
    assert np.array_equal(own.heat, explain(model, prediction, prediction.label).heat)
    with pytest.raises(UserError, match="joy"):
        explain(model, prediction, "joy")


def test_predict_writes_map_and_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "clip", draw_clip("surprise", 3).images)
    predict(configuration("predict.input=clip", "predict.output=out"))
    (clip,) = json.loads((tmp_path / "out" / "predict.json").read_text())["clips"]
    shares = {name: extra["values"] for name, extra in clip["extras"].items() if name.startswith("share_")}
    assert (tmp_path / "out" / "clip" / "heat_map.png").exists()
    assert clip["class"] in clip["extras"]["heat_map"]["title"]
    assert len(shares) == 7 and sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.__getitem__) == "share_brows"


@pytest.mark.slow  # draws, predicts and explains forty clips
def test_maps_of_unseen_subjects_peak_where_the_face_moves(tmp_path: Path) -> None:
    model, hits, areas = load_model(), [], []
    for seed, emotion in product(range(100, 108), EMOTIONS):
        clip, folder = draw_clip(emotion, seed), tmp_path / f"{seed}-{emotion}"
        write_frames(folder, clip.images)
        prediction = model.predict(folder)
        heat = explain(model, prediction).heat
        moved = cv2.warpAffine(clip.moved, prediction.transform, heat.shape[::-1])
        region = moved >= moved.max() / 2
        hits.append(region.flat[heat.argmax()])
        areas.append(region.mean())
    assert np.mean(areas) < 0.1
    assert np.mean(hits) >= 0.8
