"""Building the clip store: once per dataset and face settings, in parallel, whole or not at all."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from fdp_lightning.data.clips import KEY, clip_id
from fdp_lightning.data.frames import FrameFile, frames_between, list_frames
from fdp_lightning.data.prepare_clip import FaceSettings, PreparedClip, Problem, prepare_clip
from fdp_lightning.data.store import FORMAT, FRAMES, INDEX, MANIFEST
from fdp_lightning.errors import UserError
from fdp_lightning.files import atomic_folder, sha256
from fdp_lightning.processes import forkserver

POLICIES = ("strict", "clip", "skip")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClipSource:
    """A clip's image files, and what is already wrong with them."""

    clip: str
    files: list[FrameFile]
    problems: list[Problem]


def list_sources(clips: pd.DataFrame) -> list[ClipSource]:
    """Each clip's frames from its folder's listing, compared with onset..offset; shape: one per row of `clips`."""
    sources = []
    listings: dict[str, list[FrameFile]] = {}
    for _, row in clips.iterrows():
        clip, folder = clip_id(row), row["folder"]
        try:
            if folder not in listings:
                listings[folder] = list_frames(Path(folder))
            files, trouble = frames_between(listings[folder], int(row["onset"]), int(row["offset"]))
            kind = "missing_frames"
        except OSError as error:
            files, kind, trouble = [], "missing_folder", f"{folder}: {error.strerror}"
        problems = [Problem(clip, kind, trouble if kind == "missing_folder" else f"{folder}: {trouble}")]
        sources.append(ClipSource(clip, files, problems if trouble else []))
    return sources


def store_folder(stores: Path, dataset: str, settings: FaceSettings, policy: str, sources: list[ClipSource]) -> Path:
    """Where the store of these frames under these settings lies: its name changes when anything relevant does.

    Names, sizes and times of the image files stand for their content.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, asdict(settings), policy], sort_keys=True).encode())
    for source in sources:
        digest.update(source.clip.encode())
        for file in source.files:
            digest.update(f"{file.path.name}:{_state(file.path)};".encode())
    return stores / f"{dataset}-{digest.hexdigest()[:12]}"


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:  # a link to nowhere: reading it will say so under the clip's name
        return "gone"
    return f"{state.st_size}:{state.st_mtime_ns}"


def build_store(
    folder: Path,
    clips: pd.DataFrame,
    sources: list[ClipSource],
    settings: FaceSettings,
    policy: str = "strict",
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the store of `clips` to `folder`; nothing is left there if it fails.

    Args:
        folder: from `store_folder`.
        clips: the clip table.
        sources: from `list_sources(clips)`.
        settings: of the faces.
        policy: 'strict': any clip with a problem is an error; 'clip': what there is of a clip is used; 'skip': a clip
            with a problem is left out. Under `clip` and `skip` every problem is listed in the manifest.
        workers: processes; the result does not depend on it.
        progress: called with (clips done, clips).

    Raises:
        UserError: naming every clip that cannot be used under the policy.
    """
    if policy not in POLICIES:
        raise UserError(f"data.policy is '{policy}'; expected one of {', '.join(POLICIES)}")
    if policy == "strict" and (listed := [p for s in sources for p in s.problems]):
        _refuse(listed, policy)  # no need to decode thousands of images to say so
    with atomic_folder(folder, lambda place: (place / MANIFEST).is_file()) as partial:
        records: list[dict[str, Any]] = []
        problems: list[Problem] = []
        start = 0
        with (partial / FRAMES).open("wb") as frames:
            prepared_clips = _prepare_all(sources, settings, workers)
            rows = zip(clips.iterrows(), sources, prepared_clips, strict=True)
            for done, ((_, row), source, prepared) in enumerate(rows, start=1):
                found = [*source.problems, *prepared.problems]
                problems += found
                progress(done, len(clips))
                if len(prepared.frames) == 0 or (policy == "skip" and any(p.fatal for p in found)):
                    continue
                frames.write(np.ascontiguousarray(prepared.frames).tobytes())
                records.append(_record(row, start, prepared))
                start += len(prepared.frames)
            frames.flush()
            os.fsync(frames.fileno())
        _check(problems, records, clips, policy)
        pd.DataFrame(records).to_parquet(partial / INDEX)
        manifest = {
            "format": FORMAT,
            "settings": {"faces": asdict(settings), "policy": policy},
            "clips": len(records),
            "frames": start,
            "detections": sum(record["detections"] for record in records),
            "problems": [asdict(problem) for problem in problems],
            "checksums": {name: sha256(partial / name) for name in (FRAMES, INDEX)},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))


def _prepare_all(sources: list[ClipSource], settings: FaceSettings, workers: int) -> Iterator[PreparedClip]:
    """The prepared clips in the order of the sources."""
    arguments = [(source.clip, source.files, settings) for source in sources]
    if workers <= 1:
        yield from (prepare_clip(*argument) for argument in arguments)
        return
    with ProcessPoolExecutor(workers, mp_context=forkserver(), initializer=_one_thread) as pool:
        try:
            yield from pool.map(prepare_clip, *zip(*arguments, strict=True), chunksize=2)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    """Several processes with a thread per core each would only wait for one another."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _record(row: pd.Series, start: int, prepared: PreparedClip) -> dict[str, Any]:
    return {
        **{name: row[name] for name in KEY[:-1]},
        "onset": int(row["onset"]),
        "start": start,
        "length": len(prepared.frames),
        "frame_numbers": prepared.numbers,
        "detected_on": prepared.detected_on,
        "detections": prepared.detections,
        "box": list(prepared.box),
        "matrix": prepared.matrix,
    }


def _check(problems: list[Problem], records: list[dict[str, Any]], clips: pd.DataFrame, policy: str) -> None:
    fatal = [p for p in problems if p.fatal]
    if policy == "strict" and fatal:
        _refuse(fatal, policy)
    if policy == "clip" and len(records) < len(clips):
        kept = {f"{r['dataset']}/{r['subject']}/{r['clip']}@{r['onset']}" for r in records}
        _refuse([p for p in fatal if p.clip not in kept], policy)
    if not records:
        _refuse(fatal, policy)


def _refuse(problems: list[Problem], policy: str, most: int = 20) -> None:
    lines = [f"{p.clip}  {p.kind}: {p.detail}" for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"… and {len(problems) - most} more")
    ways = {
        "strict": "data.policy=clip uses what there is of each clip, data.policy=skip leaves such clips out",
        "clip": "nothing of these clips can be used; data.policy=skip leaves them out",
        "skip": "not one clip can be used: is data.root the right folder?",
    }
    raise UserError(
        f"{len(problems)} problems with the clips' frames (data.policy={policy}):\n  "
        + "\n  ".join(lines)
        + f"\n  Mend the files, or: {ways[policy]}. Either way each problem is listed in prepare.json."
    )
