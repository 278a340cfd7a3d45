"""Unusual input videos: turned, at a rate that the file does not state, of 12 bits, with long names."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic.film import draw_clip, draw_film, write_film
from fdp_lightning.errors import UserError
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.scan import ScanSettings
from fdp_lightning.tasks.predict import predict

pytestmark = pytest.mark.costly

Pictures = list[np.ndarray]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def drawn() -> Pictures:
    """BGR."""
    return list(draw_clip("surprise").pictures)


def folder_of(folder: Path, pictures: Pictures, name: str = "img{}.png") -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures, start=1):
        cv2.imwrite(str(folder / name.format(number)), picture)
    return folder


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_video_that_lies_on_its_side_is_predicted_upright_with_a_warning(
    model: Model, drawn: Pictures, tmp_path: Path, turn: int
) -> None:
    expected = model.predict(folder_of(tmp_path / "upright", drawn))
    lying = [np.ascontiguousarray(np.rot90(picture, -turn)) for picture in drawn]
    got = model.predict(folder_of(tmp_path / "lying", lying))
    assert got.probabilities == pytest.approx(expected.probabilities, abs=0.05)
    assert np.abs(got.frames.astype(float) - expected.frames).mean() < 1
    assert (expected.facts()["face"]["turned"], got.facts()["face"]["turned"]) == (0, 90 * turn)
    assert expected.warnings == []
    assert len(got.warnings) == 1 and f"{90 * turn}°" in got.warnings[0]


def test_a_scan_of_it_says_so_too(model: Model, drawn: Pictures, tmp_path: Path) -> None:
    lying = [cv2.transpose(picture)[:, ::-1] for picture in drawn]  # as ffmpeg -vf transpose=1
    write_film(tmp_path / "a.mp4", [lying[0]] * 60, 60)
    scan = model.scan(tmp_path / "a.mp4", windows=ScanSettings(step=0.5))
    assert len(scan.windows) == 2 and all(window.label for window in scan.windows)
    assert len(scan.warnings) == 1 and "90°" in scan.warnings[0]
    assert scan.strongest.face.turned == 1


def test_frames_of_12_bits_are_seen_as_of_8(model: Model, drawn: Pictures, tmp_path: Path) -> None:
    grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in drawn]
    expected = model.predict(folder_of(tmp_path / "8", grey))
    got = model.predict(folder_of(tmp_path / "12", [picture.astype(np.uint16) * 16 + 9 for picture in grey]))
    assert got.probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    assert len(got.warnings) == len(expected.warnings) + 1 and any("12 bits" in words for words in got.warnings)


def test_frames_with_a_size_in_their_names_are_a_clip(model: Model, drawn: Pictures, tmp_path: Path) -> None:
    prediction = model.predict(folder_of(tmp_path / "clip", drawn, "{:04d}_crop_224.png"))
    assert prediction.length == len(drawn)
    assert prediction.frame_numbers[[0, -1]].tolist() == [1, len(drawn)]


def test_a_rate_that_is_given_holds_for_a_video(model: Model, drawn: Pictures, tmp_path: Path) -> None:
    draw_film(tmp_path / "a.webm", "surprise")
    prediction = model.predict(tmp_path / "a.webm", fps=200)
    np.testing.assert_allclose(prediction.seconds, prediction.frame_numbers / 200)
    # Three seconds at the file's rate are one clip at that of the camera.
    write_film(tmp_path / "slow.mp4", [drawn[0]] * 75, 25)
    looked = model.look(tmp_path / "slow.mp4", fps=200)
    assert looked.facts()["length"] == 75 and "scan" not in looked.facts()
    assert any("predict.fps=200" in words for words in looked.warnings)


def test_results_of_another_model_or_input_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_film(tmp_path / "clip.mp4", "surprise")
    predict(configuration("predict.input=clip.mp4"))
    result = tmp_path / "predictions" / "clip" / "predict.json"
    first = json.loads(result.read_text())
    predict(configuration("predict.input=clip.mp4"))  # the same again may
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "clip.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes())
    with pytest.raises(UserError, match=r"predict\.output"):
        predict(configuration("predict.input=other/clip.mp4"))
    for change in ({"sha256": "0" * 64}, {"name": "another"}):
        result.write_text(json.dumps({**first, "model": {**first["model"], **change}}))
        before = result.read_bytes()
        with pytest.raises(UserError, match=r"predict\.output"):
            predict(configuration("predict.input=clip.mp4"))
        assert result.read_bytes() == before
    result.write_text("{")
    with pytest.raises(UserError, match=r"predict\.output"):
        predict(configuration("predict.input=clip.mp4"))
    predict(configuration("predict.input=clip.mp4", "predict.output=elsewhere"))
    assert (tmp_path / "elsewhere" / "predict.json").is_file()
