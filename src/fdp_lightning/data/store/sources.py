"""Sources of a clip store: each clip's image files, their problems, and a fingerprint of both."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.faces.frames import FrameFile, frames_between, list_frames
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.clip_store import FORMAT


@dataclass(frozen=True)
class ClipSource:
    """Image files of a clip, and their problems known so far.

    Attributes:
        clip: clip id, see `clips.clip_id`.
        files: frames of the clip, onset first.
        problems: problems found in the annotation and the folder's listing.
        fingerprint: SHA-256 of the files' names, sizes and times, and of what is missing; independent of the folder.
    """

    clip: str
    files: list[FrameFile]
    problems: list[Problem]
    fingerprint: str


def list_sources(clips: pd.DataFrame) -> list[ClipSource]:
    """Return each clip's frames from its folder's listing, compared with onset..offset, one per row of `clips`.

    A clip without a usable onset..offset or a readable folder has a problem and no files.
    """
    sources = []
    listings: dict[str, list[FrameFile]] = {}
    for _, row in clips.iterrows():
        clip, folder, onset, offset = clip_id(row), row["folder"], row["onset"], row["offset"]
        files: list[FrameFile] = []
        if pd.isna(onset) or pd.isna(offset) or offset < onset:
            bounds = ["missing" if pd.isna(bound) else str(int(bound)) for bound in (onset, offset)]
            kind, trouble = "bad_interval", f"onset {bounds[0]}, offset {bounds[1]}"
            detail = f"{trouble} (corrections=corrected fixes known errors)"
        else:
            try:
                if folder not in listings:
                    listings[folder] = list_frames(Path(folder))
                files, trouble = frames_between(listings[folder], int(onset), int(offset))
                kind = "missing_frames"
            except OSError as error:
                kind, trouble = "missing_folder", str(error.strerror)
            detail = f"{folder}: {trouble}"
        problems = [Problem(clip, kind, detail)] if trouble else []
        sources.append(ClipSource(clip, files, problems, _fingerprint(files, trouble)))
    return sources


def _fingerprint(files: list[FrameFile], trouble: str) -> str:
    digest = hashlib.sha256(json.dumps(trouble).encode())
    for file in files:
        # A file name may hold bytes that are not UTF-8; Python keeps them as surrogates.
        digest.update(f"{file.path.name}:{file.state};".encode(errors="surrogateescape"))
    return digest.hexdigest()


def whole_fingerprint(sources: list[ClipSource]) -> str:
    """Return the SHA-256 of all clips' fingerprints."""
    return hashlib.sha256("".join(f"{source.clip}={source.fingerprint};" for source in sources).encode()).hexdigest()


def store_folder(stores: Path, dataset: str, settings: FaceSettings, policy: str, sources: list[ClipSource]) -> Path:
    """Return the folder of the store of these frames under these settings; its name changes with anything relevant.

    Names, sizes and times of the image files stand for their content.
    """
    what = [FORMAT, settings.facts(), policy, whole_fingerprint(sources)]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    return stores / f"{dataset}-{digest.hexdigest()[:12]}"
