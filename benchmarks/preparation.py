"""Time of preparing a dataset: `python benchmarks/preparation.py [--json file] [--repeats n] [--quick]`.

Our build of the store of the synthetic set, with one detection per clip for all folds, is compared with a reference
implementation that searches every frame for a face, for every fold, and keeps nothing (as FDP's released code does with
its landmarks). The reference would take hours, so it is measured on clips spread over the set, with the same number of
processes. Its time is that of the sample × frames of the set / frames of the sample × folds, and its detections are
counted in the same way. Ours includes starting its processes and writing the store, the reference includes neither.
"""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import pandas as pd
import torch

from _measuring import Goal, Measurement, Row, alternate, finish, in_child, options_of
from fdp_lightning.config import configuration
from fdp_lightning.data.faces.alignment import find_face
from fdp_lightning.data.faces.frames import read_image
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip
from fdp_lightning.data.protocols.clip_tables import read_clips
from fdp_lightning.data.protocols.splits import owners
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import open_store, read_manifest
from fdp_lightning.data.store.sources import ClipSource, list_sources
from fdp_lightning.engine.dataset import build_protocol, open_dataset
from fdp_lightning.processes import cpu_count, forkserver

FEWER, FASTER = 25.0, 8.0
SAMPLE = 12
QUICK = ["data.generate.subjects=2", "data.generate.clips_per_emotion=1", "data.generate.height=120"]
QUICK += ["data.generate.width=160"]
OURS, PLAIN, ONE_FOLD = "ours: the store", "plain: every frame, every fold (scaled)", "plain, one fold (scaled)"


def clips_of(folder: str, quick: bool) -> pd.DataFrame:
    """Return the clips of the synthetic set, which is generated if it does not exist."""
    config = configuration(f"data.root={folder}/synthetic", "protocol.strict=false", *(QUICK if quick else []))
    protocol = build_protocol(config)
    return protocol.apply(read_clips(open_dataset(config), protocol, config.corrections))


def one_thread() -> None:
    """Use one thread, like the processes of a build."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def detections(settings: FaceSettings, source: ClipSource) -> tuple[int, int]:
    """Prepare a clip, and return its number of frames and of MTCNN calls."""
    prepared = prepare_clip(source.clip, source.files, settings)
    return len(prepared.frames), prepared.detections


def stages(sources: Sequence[ClipSource]) -> dict[str, float]:
    """Return the seconds of one process for some clips: in total, for decoding, and for finding faces."""
    one_thread()
    settings = FaceSettings()
    prepare_clip(sources[0].clip, sources[0].files, settings)  # warm-up: imports, and builds the detector
    seconds = dict.fromkeys(("decoding", "faces", "all"), 0.0)
    for source in sources:
        times = [time.perf_counter()]
        images = [read_image(file.path) for file in source.files]
        times.append(time.perf_counter())
        find_face(images[0])
        times.append(time.perf_counter())
        prepare_clip(source.clip, source.files, settings)
        times.append(time.perf_counter())
        for name, begin, end in zip(seconds, times[:-1], times[1:], strict=True):
            seconds[name] += end - begin
    return seconds


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=2)
    workers = cpu_count()
    with TemporaryDirectory(prefix="preparation-") as folder, _pool(workers) as pool:
        clips = clips_of(folder, options.quick)
        sources = list_sources(clips)
        size = 2 if options.quick else SAMPLE
        # Evenly spaced, so that the sample covers subjects and emotions.
        sample = [sources[(2 * i + 1) * len(sources) // (2 * size)] for i in range(size)]
        store, counts = Path(folder) / "stores" / "synthetic-0", [(0, 0)]

        def ours() -> None:
            shutil.rmtree(store.parent, ignore_errors=True)
            build_store(store, clips, list_sources(clips), FaceSettings(), workers=workers)
            open_store(store)

        def plain() -> None:
            counts[:] = pool.map(partial(detections, FaceSettings(per_frame=True)), sample)

        plain()  # warm-up: the processes start and import
        seconds = alternate({OURS: ours, PLAIN: plain}, 1 if options.quick else options.repeats, warm_up=0)
        child = in_child(stages, sample)
        manifest, stored = read_manifest(store), sum(path.stat().st_size for path in store.iterdir())
        folds = int(owners(clips).nunique())
    frames, ours_count = int(manifest["frames"]), int(manifest["detections"])
    of_sample, plain_count = (sum(column) for column in zip(*counts, strict=True))
    one_fold = [value * frames / of_sample for value in seconds[PLAIN]]
    row = Row("preparation", f"the synthetic set: {len(clips)} clips, {frames} frames, {folds} folds")
    row.measurements = [
        Measurement(OURS, seconds[OURS], peak_mb=child.peak_mb),
        Measurement(ONE_FOLD, one_fold),
        Measurement(PLAIN, [value * folds for value in one_fold]),
    ]
    fast, once, slow = (one.median for one in row.measurements)
    theirs = round(plain_count * frames / of_sample) * folds
    row.goals = [
        Goal("detections, plain / ours, all folds", theirs / ours_count, FEWER),
        Goal("time, plain / ours, all folds", slow / fast, FASTER),
    ]
    parts = child.result
    row.facts = {
        "detections, ours": ours_count,
        "detections, plain": f"{theirs} (scaled from {plain_count} on the {of_sample} frames of {size} clips)",
        "a single fold, plain / ours": f"detections {theirs / folds / ours_count:.1f} ×, time {once / fast:.1f} ×",
        "processes": workers,
        "share of decoding in the time of a clip": f"{parts['decoding'] / parts['all']:.0%}",
        "share of face detection in the time of a clip": f"{parts['faces'] / parts['all']:.0%}",
        "share of the clips in the time of the build": f"{parts['all'] / size * len(clips) / workers / fast:.0%}",
        "size of the store": f"{stored / 1e6:.1f} MB",
    }
    finish(row, options)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=forkserver(), initializer=one_thread)


if __name__ == "__main__":
    main()
