"""The store contains exactly the clips' frames, however it is built, and is named by its sources; contact sheets."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from store_builds import SETTINGS, build, image, lay_out, made_of, manifest, place_of

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.faces.frames import list_frames
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip, prepare_clips
from fdp_lightning.data.store.clip_store import FRAMES, INDEX, ClipStore, open_store
from fdp_lightning.data.store.contact_sheet import contact_sheet
from fdp_lightning.data.store.sources import list_sources

pytestmark = pytest.mark.costly


def test_the_store_returns_exactly_the_frames_of_the_clips(store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    rows = store.rows(casme2_clips)
    assert store.holds(casme2_clips).all()
    sources = list_sources(casme2_clips)
    for number in (0, 7, 14):
        prepared = prepare_clip(sources[number].clip, sources[number].files, FaceSettings())
        row = rows[number]
        assert store.length(row) == len(prepared.frames)
        assert np.array_equal(store.read(row, np.arange(store.length(row))), prepared.frames)
        assert np.array_equal(store.read(row, np.array([3, 3, 0])), prepared.frames[[3, 3, 0]])
        annotated = range(casme2_clips["onset"][number], casme2_clips["offset"][number] + 1)
        assert store.frame_numbers(row).tolist() == list(annotated) == prepared.frame_numbers
    shuffled = casme2_clips.sample(frac=1, random_state=0)
    assert np.array_equal(store.rows(shuffled), rows[shuffled.index])
    assert not store.holds(casme2_clips.assign(onset=casme2_clips["onset"] + 1)).any()


def test_workers_do_not_change_the_store(store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path) -> None:
    other = build(tmp_path, casme2_clips, settings=FaceSettings(), workers=2)
    assert other.name == store_folder_path.name
    for file in (FRAMES, INDEX):
        assert (other / file).read_bytes() == (store_folder_path / file).read_bytes(), file
    assert manifest(other) == manifest(store_folder_path)


def test_a_stores_name_depends_on_files_and_settings(clips: pd.DataFrame, small_copy: Path, tmp_path: Path) -> None:
    def name(settings: FaceSettings = SETTINGS, **options: str) -> str:
        return place_of(tmp_path, clips, settings=settings, **options).name

    before = name()
    assert place_of(tmp_path / "elsewhere", clips).name == before
    clips = CASME2(small_copy.rename(tmp_path / "moved")).clips()
    (Path(clips["folder"][0]) / "Thumbs.db").write_bytes(b"stray")
    assert name() == before
    changed: list[dict] = [{}, {"size": 48}, {"margin": 0.1}, {"least_confidence": 0.8}, {"per_frame": True}]
    names = [before, *(name(FaceSettings(**one)) for one in changed), name(policy="skip")]
    names.append(place_of(tmp_path, clips[:2]).name)
    path = image(clips, 1, 4)
    state = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    for later in (0, 1_000_000):
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + later))
        names.append(name())
    path.unlink()
    names.append(name())
    clips.loc[1, "offset"] += 1
    names.append(name())
    assert len(set(names)) == len(names)


def test_clips_of_one_folder_are_distinguished_by_their_onset(clips: pd.DataFrame, tmp_path: Path) -> None:
    one = clips.iloc[[0]]
    both = pd.concat([one.assign(offset=one["onset"] + 4), one.assign(onset=one["onset"] + 5)], ignore_index=True)
    store = open_store(build(tmp_path / "stores", both))
    assert [store.length(row) for row in store.rows(both)] == [5, one["offset"].iloc[0] - one["onset"].iloc[0] - 4]


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Return True if the sheet contains the image, pixel for pixel."""
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    # The sums of squares are rounded, so they only locate the candidate.
    _, _, (left, top), _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, picture, cv2.TM_SQDIFF))
    return np.array_equal(sheet[top : top + picture.shape[0], left : left + picture.shape[1]], picture)


def test_onset_and_apex_of_each_clip_are_shown_and_a_wrong_apex_is_marked(tmp_path: Path) -> None:
    for name, colour in (("grey", ()), ("colour", (3,))):
        folder, clips, frames = lay_out(tmp_path / name, [(5, 32, 32, *colour), (7, 32, 32, *colour)], 32)
        store = made_of(folder, clips, 32)
        clips["apex"] = pd.array([4, pd.NA], dtype="Int64")
        sheet = contact_sheet(store, clips, side=32)
        for of_clip, second in ((frames[0], 3), (frames[1], 3)):  # without an apex: the middle frame
            assert [number for number, frame in enumerate(of_clip) if holds(sheet, frame)] == [0, second]
    sheets = [contact_sheet(store, clips.assign(apex=apex)) for apex in (2, 9)]
    assert [(sheet == (200, 90, 20)).all(axis=2).any() for sheet in sheets] == [False, True]


CLOSE = 0.05
"""Tolerance in pixels of the image or of the aligned image."""


def test_a_clip_without_a_readable_or_usable_first_frame_keeps_its_own_face(clips: pd.DataFrame) -> None:
    image(clips, 0, 0).write_bytes(b"")  # the next frame is the first
    for file in list_frames(Path(clips["folder"][1])):
        file.path.write_bytes(b"")
    sources = [(str(n), list_frames(Path(folder))) for n, folder in enumerate(clips["folder"])]
    single = [prepare_clip(*source, FaceSettings()) for source in sources]
    together = list(prepare_clips(sources, FaceSettings(batch=8)))
    assert [len(clip.frames) for clip in together] == [len(clip.frames) for clip in single]
    assert len(single[1].frames) == 0 < len(single[0].frames) < len(sources[0][1])
    for one, other in zip(single, together, strict=True):
        for name in ("problems", "frame_numbers", "detected_on", "detections"):
            assert getattr(other, name) == getattr(one, name), name
        np.testing.assert_allclose(other.box, one.box, atol=CLOSE)
