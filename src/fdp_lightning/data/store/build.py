"""Build of the clip store: once per dataset and face settings, in parallel, resumable after any clip."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
from rich.filesize import decimal

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.clip_store import FORMAT, FRAMES, INDEX, MANIFEST
from fdp_lightning.data.store.sources import ClipSource, Donors, Parts, parts_of, to_row, whole_fingerprint
from fdp_lightning.errors import UserError, is_full
from fdp_lightning.files import atomic_folder, checksummed
from fdp_lightning.labels import KEY
from fdp_lightning.processes import in_pool

POLICIES = ("strict", "clip", "skip")
Progress = Callable[[int, int], None]
_ATTEMPTS = 5
_MOST_LINES = 20


def build_store(
    folder: Path,
    clips: pd.DataFrame,
    sources: list[ClipSource],
    settings: FaceSettings,
    policy: str = "strict",
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    donors: Sequence[Path] = (),
) -> None:
    """Write the store of `clips` to `folder`, unless it exists, with `sources` from `list_sources(clips)`.

    Each clip is a separate file until all are ready (see `sources`), so that clips prepared before a crash, a full disk
    or an error are not prepared again. The store is the same, byte for byte, however often the build is interrupted.

    Under the policy 'strict', any clip with a problem is an error; 'clip' uses the usable frames of a clip; 'skip'
    leaves out clips with problems. Both list every problem in the manifest. `progress` gets (clips done, all clips),
    including clips that were ready before. `donors` are older or damaged stores of the dataset, whose valid clips are
    copied.

    Raises UserError if clips cannot be used under the policy (the message names them), or the disk is full.
    """
    if policy == "strict" and (listed := [p for s in sources for p in s.problems]):
        _refuse(listed, policy)  # before decoding thousands of images
    parts = parts_of(folder, settings)
    gone: FileNotFoundError | None = None
    with full_disk_explained(folder, parts, sources):
        for _ in range(_ATTEMPTS):
            try:
                # Another process may have finished this store before we began or while we prepared clips.
                if not _is_whole(folder):
                    _prepare_missing(parts, folder, sources, workers, progress, donors)
                if not _is_whole(folder):
                    _join(folder, parts, clips, sources, policy)
                parts.remove()
                return
            except FileNotFoundError as error:
                # Another process may finish a store that shares prepared clips with ours, and remove them.
                gone = error
    raise RuntimeError(
        f"clips prepared in {parts.folder} were missing or damaged in {_ATTEMPTS} attempts to join them"
    ) from gone


def _is_whole(folder: Path) -> bool:
    # A store is moved into place by a single rename: with a manifest it is complete.
    return (folder / MANIFEST).is_file()


def _prepare_missing(
    parts: Parts, folder: Path, sources: list[ClipSource], workers: int, progress: Progress, donors: Sequence[Path]
) -> None:
    """Add the missing clips to `parts`: copy each from a donor, or prepare it from its images."""
    missing = [source for source in sources if parts.read(source) is None]
    if missing and donors:
        old = Donors(donors, parts.settings)
        for source in [*missing]:
            if (prepared := old.clip(source)) is not None:
                parts.write(source, prepared)
                missing.remove(source)
    done = len(sources) - len(missing)
    progress(done, len(sources))
    size = parts.settings.batch
    groups = [missing[first : first + size] for first in range(0, len(missing), size)]
    work = partial(parts.prepare, folder)
    here = workers <= 1 or len(groups) <= 1
    for count in map(work, groups) if here else in_pool(work, groups, workers, wait=False):
        done += count
        progress(done, len(sources))


def _join(folder: Path, parts: Parts, clips: pd.DataFrame, sources: list[ClipSource], policy: str) -> None:
    with atomic_folder(folder, _is_whole) as place:
        records: list[dict[str, Any]] = []
        problems: list[Problem] = []
        start, detections, whole = 0, 0, hashlib.sha256()
        frame_shape: tuple[int, ...] = ()
        with (place / FRAMES).open("wb") as file:
            for (_, row), source in zip(clips.iterrows(), sources, strict=True):
                prepared = parts.read(source)
                if prepared is None:
                    raise FileNotFoundError(source.clip)
                found = [*source.problems, *prepared.problems]
                problems += found
                detections += prepared.detections
                if len(prepared.frames) == 0 or (policy == "skip" and any(p.fatal for p in found)):
                    continue
                content = prepared.frames.tobytes()
                file.write(content)
                whole.update(content)
                place_in_file = {"onset": int(row["onset"]), "start": start, "length": len(prepared.frames)}
                sums = {"checksum": hashlib.sha256(content).hexdigest(), "source": source.fingerprint}
                records.append({**row[KEY[:-1]], **place_in_file, **sums, **to_row(prepared)})
                start += len(prepared.frames)
                frame_shape = prepared.frames.shape[1:]
            file.flush()
            os.fsync(file.fileno())
        _check(problems, records, clips, policy)
        index = pd.DataFrame(records).to_parquet()
        (place / INDEX).write_bytes(index)
        facts = {
            "format": FORMAT,
            "settings": {"faces": parts.settings.facts(), "policy": policy},
            "clips": len(records),
            "frames": start,
            "frame_shape": frame_shape,
            "detections": detections,
            "problems": [asdict(problem) for problem in problems],
            "source": whole_fingerprint(sources),
            # Of clips that were left out too, which the index does not hold.
            "sources": {source.clip: source.fingerprint for source in sources},
            "checksums": {FRAMES: whole.hexdigest(), INDEX: hashlib.sha256(index).hexdigest()},
        }
        (place / MANIFEST).write_text(checksummed(facts), encoding="utf-8")


def _check(problems: list[Problem], records: list[dict[str, Any]], clips: pd.DataFrame, policy: str) -> None:
    fatal = [p for p in problems if p.fatal]
    if policy == "clip" and len(records) < len(clips):
        kept = {clip_id(pd.Series(record)) for record in records}
        _refuse([p for p in fatal if p.clip not in kept], policy)
    if not records or (policy == "strict" and fatal):
        _refuse(fatal, policy)


def _refuse(problems: list[Problem], policy: str) -> None:
    lines = [f"{p.clip}  {p.kind}: {p.detail}" for p in problems[:_MOST_LINES]]
    lines += [f"… and {len(problems) - _MOST_LINES} more"] * (len(problems) > _MOST_LINES)
    ways = {
        "strict": "Correct the files (task=check_data lists all of them), or use data.policy=clip (the usable frames "
        "of each clip) or data.policy=skip (no clip with a problem); each problem is listed in prepare.json",
        "clip": "No frame of these clips can be used: correct the files (task=check_data lists all of them), or use "
        "data.policy=skip, which leaves these clips out and lists them in prepare.json",
        "skip": "No clip can be used: is data.root the right folder? task=check_data reports what is there",
    }
    raise UserError(
        f"{len(problems)} problems with the clips' frames (data.policy={policy}):\n  "
        + "\n  ".join(lines)
        + f"\n  {ways[policy]}."
    )


@contextmanager
def full_disk_explained(folder: Path, parts: Parts, sources: list[ClipSource]) -> Iterator[None]:
    """Turn a disk-full error into a UserError that states how much space is needed and free, and what to do."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        ready = sum(parts.read(source) is not None for source in sources)
        store = prod(parts.settings.frame_shape) * sum(len(source.files) for source in sources)
        kept = f"  The {ready} prepared clips are kept in {parts.folder}; the same command resumes from them.\n"
        raise UserError(
            f"no space left for the clip store in {folder.parent} ({error.strerror})\n"
            f"  The store takes about {decimal(store)}, and as much again while it is built; "
            f"{decimal(shutil.disk_usage(folder.parent).free)} are free.\n"
            + (kept if ready else "")
            + "  Free some space (or raise your quota or `ulimit -f`), or choose another place: data.store=<folder>."
        ) from error
