"""Time and memory of prediction: `python benchmarks/prediction.py [--json file] [--repeats n] [--quick]`.

The bundled model predicts synthetic clips of 18 to 30 frames, 320×240, as h264 videos and as folders of JPEG frames:
with MTCNN on the first frame, and with the whole image in place of the face (the predictions are then meaningless; only
the time matters). The reference implementation decodes every frame to pixels and searches each for a face. Memory is
the peak of a separate process, for a usual clip, a 4K clip and a scan of 10,000 frames.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from _measuring import Goal, Measurement, Row, alternate, finish, in_child, options_of
from fdp_lightning import load_model
from fdp_lightning.data.input_video.source import as_input_video
from fdp_lightning.data.synthetic.film import draw_clip, write_film, write_frames
from fdp_lightning.inference.clip import read_clip
from fdp_lightning.inference.model import Model

CLIPS, LONG = 20, 10_000
FACES, WHOLE, PLAIN = "with face detection", "without", "reference: faces on every frame"


def predict_all(model: Model, paths: list[Path]) -> None:
    """Predict one clip after the other, as task=predict does."""
    for path in paths:
        model.predict(path)


def predict_plainly(model: Model, paths: list[Path]) -> None:
    """Read every frame and search it for a face; the model gets the same frames as ours."""
    for path in paths:
        for frame in as_input_video(path).frames():
            model.preparation.face(frame.read(), frame.number, (0,))
        next(model.predict_clips([read_clip(as_input_video(path), model.preparation)], path.name))


def look(path: str) -> tuple[int, float]:
    """Return the number of frames of a video and the seconds that a newly loaded model took for it."""
    result = load_model().look(path)
    return result.length, sum(result.timing.values())


def looped(frames: int, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Repeat a clip up to the given number of frames, resized to this width and height."""
    images = draw_clip("surprise").images
    images = images if size is None else [cv2.resize(image, size) for image in images]
    return (images[number % len(images)] for number in range(frames))


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
            images = draw_clip(i % len(model.classes), seed=i).images
            write_film(film, images)
            write_frames(frames, images)
        write_film(folder / "4k.mp4", looped(30, size))
        write_film(folder / "long.mp4", looped(long))
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
        usual, large, scanned = (in_child(look, str(path)) for path in paths)
    row = Row("prediction", f"{clips} synthetic clips of 18 to 30 frames, 320×240, one after the other, fdp_tiny")
    row.measurements = [
        Measurement(name, [clips / value for value in values], "clips/s") for name, values in seconds.items()
    ]
    rate = {one.name: one.median for one in row.measurements}
    row.goals = [
        Goal("h264, ours / reference", rate[f"h264, {FACES}"] / rate[f"h264, {PLAIN}"], 5),
        Goal(f"memory, {long} frames minus a usual clip", scanned.peak_mb - usual.peak_mb, 300, False, "MB"),
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
