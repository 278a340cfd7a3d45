"""The store contains exactly the clips' frames, however it is built, and is named by its sources; contact sheets."""

import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from store_builds import SETTINGS, build, image, manifest, place_of

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip
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


def test_reading_a_store_larger_than_memory_takes_only_the_memory_of_what_is_read(tmp_path: Path) -> None:
    size = 64 * 64
    last = 4 * 10**9 // size
    clip = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)
    with (tmp_path / FRAMES).open("wb") as file:  # a sparse file of 4 GB, which takes no disk space
        file.seek(last * size)
        file.write(clip.tobytes())
    index = pd.DataFrame({"start": [0, last], "length": [last, 5], "frame_numbers": [[1], [1, 2, 3, 4, 5]]})
    store = ClipStore(tmp_path, index, (64, 64))
    tracemalloc.start()
    try:
        assert np.array_equal(store.read(1, np.array([4, 0, 2])), clip[[4, 0, 2]])
        assert not store.read(0, np.array([0, last // 2, last - 1])).any()
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_the_contact_sheet_shows_onset_and_apex_and_marks_a_wrong_apex(
    store: ClipStore, casme2_clips: pd.DataFrame
) -> None:
    clips, side = casme2_clips[:2].copy(), store.frame_shape[0]
    clips["apex"] = pd.array([clips["onset"][0] + 3, pd.NA], dtype="Int64")
    sheet = contact_sheet(store, clips, side=side)
    for row, second in zip(store.rows(clips), (3, store.length(store.rows(clips)[1]) // 2), strict=True):
        for frame in store.read(row, np.array([0, second])):  # without an apex: the middle frame
            picture = np.repeat(frame[..., None], 3, axis=2)
            _, _, (left, top), _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, picture, cv2.TM_SQDIFF))
            assert np.array_equal(sheet[top : top + side, left : left + side], picture)
    sheets = [contact_sheet(store, clips.assign(apex=clips["onset"] + after)) for after in (2, 1_000)]
    assert [(sheet == (200, 90, 20)).all(axis=2).any() for sheet in sheets] == [False, True]
