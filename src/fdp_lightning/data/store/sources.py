"""Sources of a clip store: image files of each clip, clips prepared by an interrupted build, and older stores.

Each prepared clip is a file next to the stores, in `.<dataset>-<digest of the face settings>.building`, named after the
clip and the state of its images, so that a build can be resumed, even under another policy.
"""

import contextlib
import functools
import glob
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.problems import Problem, some
from fdp_lightning.data.faces.frames import FrameFile, frames_between, list_frames
from fdp_lightning.data.faces.prepare_clip import FaceSettings, PreparedClip, prepare_clips
from fdp_lightning.data.store.clip_store import (
    FORMAT,
    MANIFEST,
    ClipStore,
    DamagedStoreError,
    open_index,
    read_manifest,
)
from fdp_lightning.files import write_atomic

_SUFFIX = ".building"
_FORGOTTEN_S = 24 * 3600.0


@dataclass(frozen=True)
class ClipSource:
    """Image files of a clip, and its problems known so far."""

    clip: str  # clip id, see `clips.clip_id`
    files: list[FrameFile]  # frames of the clip, onset first
    problems: list[Problem]  # problems found in the annotation and the folder listing
    fingerprint: str  # SHA-256 of the files' names, sizes and times, and of what is missing; independent of the folder


def list_sources(clips: pd.DataFrame) -> list[ClipSource]:
    """Return one source per row of `clips`, with the files of onset..offset in the clip's folder; a clip without a
    usable onset and offset, or without a readable folder, has a problem and no files.
    """
    sources = []
    listed = functools.cache(lambda folder: list_frames(Path(folder)))
    for _, row in clips.iterrows():
        clip, folder, onset, offset = clip_id(row), row["folder"], row["onset"], row["offset"]
        files: list[FrameFile] = []
        if pd.isna(onset) or pd.isna(offset) or offset < onset:
            bounds = ["missing" if pd.isna(bound) else str(int(bound)) for bound in (onset, offset)]
            kind, trouble = "bad_interval", f"onset {bounds[0]}, offset {bounds[1]}"
            detail = f"{trouble} (corrections=corrected fixes known errors)"
        else:
            try:
                files, trouble = frames_between(listed(folder), int(onset), int(offset))
                kind = "missing_frames"
            except OSError as error:
                kind, trouble = "missing_folder", str(error.strerror)
            detail = f"{folder}: {trouble}"
        problems = [Problem(clip, kind, detail)] if trouble else []
        sources.append(ClipSource(clip, files, problems, _fingerprint(files, trouble)))
    return sources


def _fingerprint(files: list[FrameFile], trouble: str) -> str:
    states = "".join(f"{file.path.name}:{file.state};" for file in files)
    # A file name may contain bytes that are not UTF-8; Python keeps them as surrogates.
    return hashlib.sha256((json.dumps(trouble) + states).encode(errors="surrogateescape")).hexdigest()


def whole_fingerprint(sources: list[ClipSource]) -> str:
    """Return the SHA-256 of all clips' fingerprints."""
    return hashlib.sha256("".join(f"{source.clip}={source.fingerprint};" for source in sources).encode()).hexdigest()


def store_folder(stores: Path, dataset: str, settings: FaceSettings, policy: str, sources: list[ClipSource]) -> Path:
    """Return the folder of the store of these frames under these settings; its name depends on everything relevant."""
    return stores / f"{dataset}-{_digest([FORMAT, settings.facts(), policy, whole_fingerprint(sources)])}"


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Parts:
    """Prepared clips of a dataset under some face settings, one file each; the folder is created with the first."""

    folder: Path
    settings: FaceSettings

    def path(self, source: ClipSource) -> Path:
        """Return the file of a clip in the current state of its images, including their paths, which problems name."""
        place = str(source.files[0].path.parent) if source.files else ""
        key = hashlib.sha256(json.dumps([source.clip, source.fingerprint, place]).encode()).hexdigest()
        return self.folder / key[:32]

    def read(self, source: ClipSource) -> PreparedClip | None:
        """Return a prepared clip, or None if its file is missing or damaged."""
        try:
            checksum, body = self.path(source).read_bytes().split(b"\n", 1)
        except (FileNotFoundError, ValueError):
            return None
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            return None
        header, pixels = body.split(b"\n", 1)
        row = json.loads(header)
        return _from_row(np.frombuffer(pixels, np.uint8).reshape(row["shape"]), row)

    def write(self, source: ClipSource, prepared: PreparedClip) -> None:
        header = json.dumps({"shape": prepared.frames.shape, **to_row(prepared)})
        body = header.encode() + b"\n" + np.ascontiguousarray(prepared.frames, np.uint8).tobytes()
        write_atomic(self.path(source), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def prepare(self, store: Path, sources: Sequence[ClipSource]) -> int:
        """Prepare and write up to `settings.batch` clips, except those that another process has written in the
        meantime, by themselves or in the finished store; return the number of all.
        """
        is_finished = (store / MANIFEST).is_file()
        missing = [] if is_finished else [source for source in sources if self.read(source) is None]
        each = prepare_clips([(source.clip, source.files) for source in missing], self.settings)
        for source, prepared in zip(missing, each, strict=True):
            self.write(source, prepared)
        return len(sources)

    def remove(self) -> None:
        """Remove this folder, and those that abandoned builds of the dataset left (not written to for a day)."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in _of_dataset(self.folder, _SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # another process may remove it first
                if time.time() - folder.stat().st_mtime > _FORGOTTEN_S:
                    shutil.rmtree(folder, ignore_errors=True)


def parts_of(store: Path, settings: FaceSettings) -> Parts:
    """Return the parts of a store (from `store_folder`)."""
    dataset, _ = store.name.rsplit("-", 1)
    return Parts(store.with_name(f".{dataset}-{_digest([FORMAT, settings.facts()])}{_SUFFIX}"), settings)


def to_row(prepared: PreparedClip) -> dict[str, Any]:
    """Return all fields of a prepared clip except its frames, as columns of the store's index."""
    row = {**vars(prepared), "problems": json.dumps([asdict(problem) for problem in prepared.problems])}
    del row["frames"]
    return row


def _from_row(frames: np.ndarray, row: Mapping[str, Any] | pd.Series) -> PreparedClip:
    """Invert `to_row`."""
    names = [field.name for field in fields(PreparedClip) if field.name not in ("frames", "problems")]
    # Parquet's arrays and numpy's numbers become lists and plain numbers.
    facts = {name: np.asarray(row[name]).tolist() for name in names}
    return PreparedClip(frames, **facts, problems=[Problem(**problem) for problem in json.loads(row["problems"])])


def other_stores(folder: Path) -> list[Path]:
    """Return the dataset's stores other than `folder` (from `store_folder`), newest first."""
    whole = [place for place in _of_dataset(folder) if place != folder and (place / MANIFEST).is_file()]
    return sorted(whole, key=lambda place: (-(place / MANIFEST).stat().st_mtime_ns, place.name))


def _of_dataset(folder: Path, suffix: str = "") -> list[Path]:
    """Return the folders next to this one whose names consist of the same dataset and a digest."""
    dataset = glob.escape(folder.name.rsplit("-", 1)[0])
    return list(folder.parent.glob(f"{dataset}-{'[0-9a-f]' * 12}{suffix}"))


def why_another(old: Path, sources: list[ClipSource], settings: FaceSettings, policy: str) -> str:
    """Return, in one line, how an older store differs from the requested one."""
    try:
        manifest = read_manifest(old)
    except DamagedStoreError as error:
        return str(error)
    if manifest["format"] != FORMAT:
        return f"{old.name} has format {manifest['format']}, this version writes {FORMAT}"
    before, now = manifest["settings"]["faces"], settings.facts()
    reasons = [
        f"data.faces.{name} {before.get(name)} → {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if manifest["settings"]["policy"] != policy:
        reasons.append(f"data.policy {manifest['settings']['policy']} → {policy}")
    known, here = manifest["sources"], {source.clip: source.fingerprint for source in sources}
    changed = [clip for clip in here if clip in known and known[clip] != here[clip]]
    reasons += _count(changed, "whose files changed")
    reasons += _count([clip for clip in here if clip not in known], "added")
    reasons += _count([clip for clip in known if clip not in here], "removed")
    return f"compared with {old.name}: " + ("; ".join(reasons) or "the order of the clips differs")


def _count(clips: list[str], what: str) -> list[str]:
    return [f"{len(clips)} clip{'s' if len(clips) > 1 else ''} {what} ({some(clips)})"] if clips else []


class Donors:
    """Valid clips of older or damaged stores with the same face settings, which can be copied."""

    def __init__(self, folders: Iterable[Path], settings: FaceSettings) -> None:
        self._rows: dict[tuple[str, str], list[tuple[ClipStore, int]]] = {}
        for folder in folders:
            try:
                store, manifest = open_index(folder), read_manifest(folder)
            except DamagedStoreError:
                continue
            if manifest["settings"]["faces"] != settings.facts():
                continue
            for number, (_, row) in enumerate(store.index.iterrows()):
                self._rows.setdefault((clip_id(row), row["source"]), []).append((store, number))

    def clip(self, source: ClipSource) -> PreparedClip | None:
        """Return the clip as `prepare_clip` would, from the first store that holds it intact, or None."""
        for store, number in self._rows.get((source.clip, source.fingerprint), ()):
            row = store.index.iloc[number]
            try:
                frames = store.read(number, np.arange(row["length"]))
            except (OSError, ValueError):  # the file is missing or shorter than the index states
                continue
            if hashlib.sha256(frames.tobytes()).hexdigest() == row["checksum"]:
                return _from_row(frames, row)
        return None
