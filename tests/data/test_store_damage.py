"""Damaged stores and bad inputs are reported by file and clip according to the policy, never ignored silently."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from store_builds import SETTINGS, build, content, count_prepared, image, manifest, refused
from tests.command import Done

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.clip_store import FRAMES, INDEX, MANIFEST, DamagedStoreError, open_store
from fdp_lightning.engine.ready_store import ReadyStore, ready_store

pytestmark = pytest.mark.costly


def ready(stores: Path, clips: pd.DataFrame, settings: FaceSettings = SETTINGS, policy: str = "strict") -> ReadyStore:
    return ready_store(stores, "casme2", clips, settings, policy, workers=1)


def flip(path: Path, place: int, cut_off: int = 0) -> None:
    """Change a byte, and remove some from the end."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content[: len(content) - cut_off])


@pytest.fixture
def damaged(store_folder_path: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be damaged."""
    return Path(shutil.copytree(store_folder_path, tmp_path / "damaged"))


@pytest.mark.parametrize("file", [FRAMES, INDEX, MANIFEST])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_bit_is_reported(damaged: Path, casme2_clips: pd.DataFrame, file: str, place: float | int) -> None:
    flip(damaged / file, -1 if place == -1 else int(place * (damaged / file).stat().st_size))
    with pytest.raises(DamagedStoreError) as caught:
        open_store(damaged)
    assert str(damaged) in str(caught.value) and file in str(caught.value)
    lengths = (casme2_clips["offset"] - casme2_clips["onset"] + 1).cumsum()
    number = {0: 0, -1: 14}.get(place, int((lengths <= lengths.iloc[-1] // 2).sum()))
    assert caught.value.clips == ([clip_id(casme2_clips.iloc[number])] if file == FRAMES else [])


def test_every_damaged_or_truncated_clip_is_named(damaged: Path, casme2_clips: pd.DataFrame) -> None:
    flip(damaged / FRAMES, 5, cut_off=1)
    with pytest.raises(DamagedStoreError, match="in 2 of 15 clips") as caught:
        open_store(damaged)
    assert caught.value.clips == [clip_id(casme2_clips.iloc[0]), clip_id(casme2_clips.iloc[14])]
    with pytest.raises(DamagedStoreError, match="holds"):
        open_store(damaged, verify=False)


def test_a_truncated_or_missing_file_and_a_manifest_that_does_not_fit_are_refused(damaged: Path) -> None:
    facts = manifest(damaged)
    wrong: dict[str, Any] = {"settings": {}, "checksums": None, "frame_shape": [32, 128], "detections": 0}
    changed = [json.dumps(one).encode() for one in ([], *(facts | {name: value} for name, value in wrong.items()))]
    for file, more in ((FRAMES, []), (INDEX, []), (MANIFEST, changed)):
        whole = (damaged / file).read_bytes()
        for kept in (whole[: len(whole) * 9 // 10], b"", *more, None):
            (damaged / file).unlink() if kept is None else (damaged / file).write_bytes(kept)
            with pytest.raises(DamagedStoreError, match="damaged"):
                open_store(damaged)
        (damaged / file).write_bytes(whole)


def test_the_command_line_names_a_damaged_store_and_rebuilds_it(
    small_copy: Path, clips: pd.DataFrame, run_cli: Callable[..., Done], tmp_path: Path
) -> None:
    stores = tmp_path / "stores"
    folder = build(stores, clips)
    flip(folder / FRAMES, 0)
    prepare = ["task=prepare", "data=casme2", "protocol=casme2_5c_249", "++protocol.strict=false", "data.workers=1"]
    answer = run_cli(*prepare, "data.faces.method=none", f"data.root={small_copy}", f"data.store={stores}")
    assert answer.returncode == 0, answer.stderr
    assert str(folder / FRAMES) in answer.stderr and "it is rebuilt" in answer.stderr
    summary = json.loads((folder / "prepare.json").read_text())
    assert (summary["reused"], summary["n_clips"], summary["detections"]) == (False, 3, 0)
    assert clip_id(clips.iloc[0]) in summary["rebuilt_because"]
    assert (folder / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("file", "anew"), [(FRAMES, [1]), (INDEX, [0, 1, 2]), (MANIFEST, [0, 1, 2])])
def test_only_damaged_clips_are_prepared_again(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    file: str, anew: list[int],
) -> None:  # fmt: skip
    folder = build(tmp_path, clips)
    whole = content(folder)
    second = open_store(folder).length(0) * SETTINGS.size**2
    flip(folder / file, second if file == FRAMES else 100)
    prepared = count_prepared(monkeypatch)
    found = ready(tmp_path, clips)
    assert prepared == [clip_id(clips.iloc[number]) for number in anew]
    assert content(folder) == whole
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(folder) in record.message and file in record.message
    named = [clip_id(clip) in record.message for _, clip in clips[:2].iterrows()]
    assert named == [False, file == FRAMES]
    assert not found.reused and found.rebuilt_because in record.message
    assert ready(tmp_path, clips).rebuilt_because is None


def test_a_killed_repair_is_resumed(clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(tmp_path, clips)
    whole = content(folder)
    flip(folder / FRAMES, 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            "fdp_lightning.engine.ready_store.build_store", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            ready(tmp_path, clips)
    assert not folder.exists()
    prepared = count_prepared(monkeypatch)
    ready(tmp_path, clips)
    assert prepared == [clip_id(clips.iloc[0])]
    assert content(folder) == whole
    assert [path.name for path in tmp_path.glob("*casme2*")] == [folder.name]


def test_changed_added_and_removed_clips_are_reported_and_the_others_reused(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = build(tmp_path, clips[:2])
    os.utime(image(clips, 1, 4), ns=(0, 0))
    undisturbed = content(build(tmp_path / "undisturbed", clips[1:]))
    prepared = count_prepared(monkeypatch)
    found = ready(tmp_path, clips[1:])
    first_id, second, third = (clip_id(row) for _, row in clips.iterrows())
    assert prepared == [second, third]
    assert content(found.store.folder) == undisturbed
    assert f"1 clip whose files changed ({second})" in found.rebuilt_because
    assert f"1 clip added ({third})" in found.rebuilt_because
    assert f"1 clip removed ({first_id})" in found.rebuilt_because
    assert found.rebuilt_because in caplog.text
    prepared.clear()
    assert ready(tmp_path, clips).store.holds(clips).all()
    assert prepared == []  # the first store still contains what the last one lacks
    assert first.exists()
    assert len(list(tmp_path.glob("*casme2*"))) == 3


def test_a_store_with_other_settings_reuses_nothing(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build(tmp_path, clips[:1])
    before = content(old)
    prepared = count_prepared(monkeypatch)
    found = ready(tmp_path, clips[:1], replace(SETTINGS, size=48), "skip")
    assert len(prepared) == 1
    assert found.store.frame_shape == (48, 48)
    assert "data.faces.size 64 → 48" in found.rebuilt_because
    assert "data.policy strict → skip" in found.rebuilt_because
    assert "clip" not in found.rebuilt_because.removeprefix(f"compared with {old.name}")
    assert content(old) == before


@pytest.mark.parametrize("policy", ["strict", "clip"])
def test_a_clip_without_a_face_is_refused_by_name(clips: pd.DataFrame, tmp_path: Path, policy: str) -> None:
    rng = np.random.default_rng(2)
    for path in Path(clips["folder"].iloc[2]).iterdir():
        cv2.imwrite(str(path), rng.integers(100, 156, (180, 240), dtype=np.uint8))
    image(clips, 1, 3).write_bytes(b"")
    message = refused(tmp_path / "stores", clips[1:], policy, FaceSettings())
    assert f"{clip_id(clips.iloc[2])}  no_face" in message and clips["folder"][2] in message
    assert (str(image(clips, 1, 3)) in message) == (policy == "strict")
    assert "data.policy=skip" in message


BROKEN_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "no image": (lambda path: path.write_bytes(b"<html>no such file</html>"), "cannot be decoded"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), ""),
}
BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (shutil.rmtree, "No such file"),
    "a file": (lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"text")), "Not a directory"),
}


def is_refused_or_skipped(two: pd.DataFrame, stores: Path, kind: str, *words: str, policies: tuple[str, ...]) -> None:
    """Check that the second of two clips stops a build under these policies and that `skip` omits it with a reason."""
    bad = f"{clip_id(two.iloc[1])}  {kind}: "
    for policy in policies:
        message = refused(stores, two, policy)
        assert bad in message and all(word in message for word in words)
        assert "data.policy=skip" in message and clip_id(two.iloc[0]) not in message
    folder = build(stores, two, "skip")
    assert open_store(folder).holds(two).tolist() == [True, False]
    (problem,) = manifest(folder)["problems"]
    assert f"{problem['clip']}  {problem['kind']}: " == bad and problem["fatal"]
    assert all(word in problem["detail"] for word in words)


@pytest.mark.parametrize("broken", BROKEN_FILES)
def test_a_clip_with_one_broken_file_is_refused_or_skipped_or_kept_without_it(
    clips: pd.DataFrame, tmp_path: Path, broken: str
) -> None:
    change, words = BROKEN_FILES[broken]
    two, stores, path = clips[:2], tmp_path / "stores", image(clips, 1, 3)
    change(path)
    number = clips["onset"][1] + 3
    kind, named = ("missing_frames", f"({number})") if broken == "folder" else ("unreadable_frame", str(path))
    is_refused_or_skipped(two, stores, kind, named, words, policies=("strict",))
    store = open_store(build(stores, two, "clip"))
    expected = [n for n in range(two["onset"][1], two["offset"][1] + 1) if n != number]
    assert store.frame_numbers(store.rows(two)[1]).tolist() == expected
    assert [problem["kind"] for problem in manifest(store.folder)["problems"]] == [kind]


@pytest.mark.parametrize("broken", [*BROKEN_FOLDERS, "interval", "no offset"])
def test_an_unreadable_clip_is_refused_or_skipped(clips: pd.DataFrame, tmp_path: Path, broken: str) -> None:
    two, folder, both = clips[:2].copy(), Path(clips["folder"][1]), ("strict", "clip")
    if broken in BROKEN_FOLDERS:
        change, words = BROKEN_FOLDERS[broken]
        change(folder)
        is_refused_or_skipped(two, tmp_path / "stores", "missing_folder", str(folder), words, policies=both)
    else:
        two["offset"] = pd.array([two["offset"][0], 0 if broken == "interval" else None], dtype="Int64")
        words = "offset 0" if broken == "interval" else "offset missing"
        is_refused_or_skipped(two, tmp_path / "stores", "bad_interval", words, policies=both)


def test_a_refused_build_keeps_prepared_clips(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(clips, 1, 3)
    whole, state = path.read_bytes(), path.stat()
    path.write_bytes(whole[:1000])
    prepared = count_prepared(monkeypatch)
    refused(tmp_path / "stores", clips, "strict")
    assert len(prepared) == 3
    path.write_bytes(whole)  # repaired
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    build(tmp_path / "stores", clips)
    assert prepared[3:] == [clip_id(clips.iloc[1])]
    assert len(list((tmp_path / "stores").iterdir())) == 1
