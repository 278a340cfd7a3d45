"""What predicting costs: `python benchmarks/prediction.py [--json file] [--repeats n] [--quick]`.

Synthetic clips of 18 to 30 frames, 320×240, as h264 and as folders of JPEG frames, by the bundled model: with
MTCNN on the first frame, and with the whole image in place of the face (whose predictions are worth nothing; only the
time counts). Beside them a reference implementation: every frame decoded to pixels, and a face looked for on each.
Memory is the most that a process of its own held, for a usual clip, for a 4K clip and for a scan of 10,000 frames.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from fdp_lightning import load_model
from fdp_lightning.data.input_video.source import as_input_video
from fdp_lightning.data.synthetic.film import draw_clip, write_film, write_frames
from fdp_lightning.inference.clip import read_clip
from fdp_lightning.inference.model import Model
from fdp_lightning.measuring import Goal, Measurement, Row, alternate, finish, in_child, options_of

CLIPS, LONG = 20, 10_000
FACES, WHOLE, PLAIN = "with face detection", "without", "plain: a face on every frame"


def predict_all(model: Model, paths: list[Path]) -> None:
    """One clip after the other, as task=predict does."""
    for path in paths:
        model.predict(path)


def predict_plainly(model: Model, paths: list[Path]) -> None:
    """Every frame read and searched; the model sees the same frames of it."""
    for path in paths:
        for frame in as_input_video(path).frames():
            model.preparation.face(frame.read(), (0,))
        next(model.predict_clips([read_clip(as_input_video(path), model.preparation)], [path.name]))


def look(path: str) -> tuple[int, float]:
    """Frames of a video and the seconds it took, by a model of its own."""
    result = load_model().look(path)
    return result.length, sum(result.timing.values())


def pictures_again(frames: int, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """A clip over and over, as many frames as are asked for, of this width and height."""
    pictures = draw_clip("surprise").pictures
    pictures = pictures if size is None else [cv2.resize(picture, size) for picture in pictures]
    return (pictures[number % len(pictures)] for number in range(frames))


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=5)
    clips, long, size = (2, 200, (640, 360)) if options.quick else (CLIPS, LONG, (3840, 2160))
    model = load_model()
    blind = load_model()
    blind.preparation = replace(blind.preparation, faces=replace(blind.preparation.faces, method="none"))
    with TemporaryDirectory(prefix="prediction-") as place:
        folder = Path(place)
        films, folders = [folder / f"{i}.mp4" for i in range(clips)], [folder / f"{i}" for i in range(clips)]
        for i, (film, frames) in enumerate(zip(films, folders, strict=True)):
            pictures = draw_clip(i % len(model.classes), seed=i).pictures
            write_film(film, pictures)
            write_frames(frames, pictures)
        write_film(folder / "4k.mp4", pictures_again(30, size))
        write_film(folder / "long.mp4", pictures_again(long))
        seconds = alternate(
            {
                f"h264, {FACES}": lambda: predict_all(model, films),
                f"h264, {WHOLE}": lambda: predict_all(blind, films),
                f"JPEG frames, {FACES}": lambda: predict_all(model, folders),
                f"JPEG frames, {WHOLE}": lambda: predict_all(blind, folders),
                f"h264, {PLAIN}": lambda: predict_plainly(model, films),
            },
            1 if options.quick else options.repeats,
        )
        paths = (films[0], folder / "4k.mp4", folder / "long.mp4")
        paths = (films[0], folder / "4k.mp4", folder / "long.mp4")
        usual, large, scanned = (in_child(look, str(path)) for path in paths)
    row = Row("prediction", f"{clips} synthetic clips of 18 to 30 frames, 320×240, one after the other, fdp_tiny")
    row.measurements = [
        Measurement(name, [clips / value for value in values], "clips/s") for name, values in seconds.items()
    ]
    rate = {one.name: one.median for one in row.measurements}
    row.goals = [
        Goal("h264, ours / plain", rate[f"h264, {FACES}"] / rate[f"h264, {PLAIN}"], 5),
        Goal(f"memory, {long} frames less a usual clip", scanned.peak_mb - usual.peak_mb, 300, False, "MB"),
    ]
    frames, took = scanned.result
    row.facts = {
        "peak, a usual clip": f"{usual.peak_mb:.0f} MB",
        f"peak, a clip of {size[0]}×{size[1]}": f"{large.peak_mb:.0f} MB, {large.result[1]:.1f} s",
        f"peak, a scan of {frames} frames": f"{scanned.peak_mb:.0f} MB, {took:.1f} s, {frames / took:.0f} frames/s",
    }
    finish(row, options)


if __name__ == "__main__":
    main()
