"""The store holds exactly what the clips show, whoever builds it, and is whole, rebuilt or absent."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fdp_lightning.data.build_store import build_store
from fdp_lightning.data.casme2 import CASME2
from fdp_lightning.data.clips import clip_id
from fdp_lightning.data.prepare_clip import FaceSettings, prepare_clip
from fdp_lightning.data.sources import list_sources, store_folder
from fdp_lightning.data.store import FRAMES, INDEX, MANIFEST, DamagedStoreError, open_store
from fdp_lightning.errors import UserError

SETTINGS = FaceSettings()


@pytest.fixture
def clips(small_copy) -> pd.DataFrame:
    """Three clips of three subjects, which a test may damage."""
    return CASME2(small_copy).clips()


def image(clips: pd.DataFrame, clip: int, frame: int) -> Path:
    row = clips.iloc[clip]
    return Path(row["folder"]) / f"img{row['onset'] + frame}.jpg"


def build(stores: Path, clips: pd.DataFrame, policy: str = "strict", settings=SETTINGS, **options) -> Path:
    sources = list_sources(clips)
    folder = store_folder(stores, "casme2", settings, policy, sources)
    build_store(folder, clips, sources, settings, policy, **options)
    return folder


def name(stores: Path, clips: pd.DataFrame, policy: str = "strict", settings=SETTINGS) -> str:
    return store_folder(stores, "casme2", settings, policy, list_sources(clips)).name


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def no_face(clips: pd.DataFrame, clip: int) -> None:
    """Replace a clip's pictures by grey noise."""
    rng = np.random.default_rng(clip)
    for path in Path(clips["folder"].iloc[clip]).iterdir():
        cv2.imwrite(str(path), rng.integers(100, 156, (180, 240), dtype=np.uint8))


def test_the_store_reads_back_exactly_what_the_clips_show(store, casme2_clips):
    rows = store.rows(casme2_clips)
    assert store.holds(casme2_clips).all()
    sources = list_sources(casme2_clips)
    for number in (0, 7, 14):
        prepared = prepare_clip(sources[number].clip, sources[number].files, SETTINGS)
        row = rows[number]
        assert store.length(row) == len(prepared.frames)
        assert np.array_equal(store.read(row, np.arange(store.length(row))), prepared.frames)
        assert np.array_equal(store.read(row, np.array([3, 3, 0])), prepared.frames[[3, 3, 0]])
        annotated = range(casme2_clips["onset"][number], casme2_clips["offset"][number] + 1)
        assert store.frame_numbers(row).tolist() == list(annotated) == prepared.numbers


def test_clips_are_found_by_their_key_in_any_order(store, casme2_clips):
    shuffled = casme2_clips.sample(frac=1, random_state=0)
    assert np.array_equal(store.rows(shuffled), store.rows(casme2_clips)[shuffled.index])
    other = casme2_clips.assign(onset=casme2_clips["onset"] + 1)
    assert not store.holds(other).any()


def test_one_detection_per_clip_is_counted(store_folder_path, store, casme2_clips):
    facts = manifest(store_folder_path)
    assert (facts["detections"], facts["clips"]) == (15, 15)
    assert facts["frames"] == (casme2_clips["offset"] - casme2_clips["onset"] + 1).sum()
    assert facts["problems"] == []
    assert (store.index["detected_on"] == store.index["onset"]).all()


def test_the_store_does_not_depend_on_the_number_of_workers(store_folder_path, casme2_clips, tmp_path):
    other = build(tmp_path, casme2_clips, workers=2)
    assert other.name == store_folder_path.name
    for file in (FRAMES, INDEX):
        assert (other / file).read_bytes() == (store_folder_path / file).read_bytes(), file
    assert manifest(other) == manifest(store_folder_path)


def test_the_stores_name_follows_from_files_and_settings_and_not_from_their_place(clips, small_copy, tmp_path):
    before = name(tmp_path, clips)
    assert name(tmp_path / "elsewhere", clips) == before
    moved = small_copy.rename(tmp_path / "moved")
    clips = CASME2(moved).clips()
    assert name(tmp_path, clips) == before
    (Path(clips["folder"][0]) / "Thumbs.db").write_bytes(b"stray")
    assert name(tmp_path, clips) == before


def test_the_stores_name_changes_with_size_and_time_of_a_file_and_with_each_setting(clips, tmp_path):
    names = [name(tmp_path, clips)]
    changed = [FaceSettings(size=48), FaceSettings(margin=0.1), FaceSettings(least_confidence=0.8)]
    changed.append(FaceSettings(per_frame=True))
    names += [name(tmp_path, clips, settings=settings) for settings in changed]
    names += [name(tmp_path, clips, policy="skip"), name(tmp_path, clips[:2])]
    path = image(clips, 1, 4)
    state = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    names.append(name(tmp_path, clips))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    names.append(name(tmp_path, clips))
    path.unlink()
    names.append(name(tmp_path, clips))
    path.symlink_to(tmp_path / "gone.jpg")
    names.append(name(tmp_path, clips))
    assert len(set(names)) == len(names)


@pytest.fixture
def damaged(store_folder_path, tmp_path) -> Path:
    """A copy of the store to damage."""
    return Path(shutil.copytree(store_folder_path, tmp_path / "damaged"))


@pytest.mark.parametrize("file", [FRAMES, INDEX])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_bit_anywhere_is_refused_by_file(damaged, file, place):
    content = bytearray((damaged / file).read_bytes())
    content[place if place == -1 else int(place * len(content))] ^= 1
    (damaged / file).write_bytes(content)
    with pytest.raises(DamagedStoreError) as caught:
        open_store(damaged)
    assert str(damaged / file) in str(caught.value)


@pytest.mark.parametrize("file", [FRAMES, INDEX, MANIFEST])
@pytest.mark.parametrize("keep", [0.9, 0.0, None], ids=["truncated", "empty", "missing"])
def test_a_truncated_or_missing_file_is_refused_by_folder(damaged, file, keep):
    content = (damaged / file).read_bytes()
    (damaged / file).unlink()
    if keep is not None:
        (damaged / file).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DamagedStoreError, match="damaged"):
        open_store(damaged)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: [],
        lambda facts: facts | {"settings": {}},
        lambda facts: facts | {"checksums": None},
        lambda facts: facts | {"settings": {"faces": {**facts["settings"]["faces"], "size": 96}}},
    ],
    ids=["a list", "no settings", "no checksums", "another size"],
)
def test_a_manifest_that_does_not_fit_is_refused(damaged, change):
    (damaged / MANIFEST).write_text(json.dumps(change(manifest(damaged))))
    with pytest.raises(DamagedStoreError, match="damaged"):
        open_store(damaged)


def test_the_command_line_names_a_damaged_store_and_builds_it_anew(small_copy, clips, run_cli, tmp_path):
    stores = tmp_path / "stores"
    folder = build(stores, clips)
    whole = (folder / FRAMES).read_bytes()
    (folder / FRAMES).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    command = ["task=prepare", "data=casme2", "protocol=casme2_5c_249", "++protocol.strict=false", "data.workers=1"]
    command += [f"data.root={small_copy}", f"data.store={stores}"]
    answer = run_cli(*command)
    assert answer.returncode == 0, answer.stderr
    assert str(folder / FRAMES) in answer.stderr
    assert "checksum differs" in answer.stderr
    assert "built anew" in answer.stderr
    assert (folder / FRAMES).read_bytes() == whole
    summary = json.loads((folder / "prepare.json").read_text())
    assert (summary["reused"], summary["n_clips"], summary["detections"]) == (False, 3, 3)
    again = run_cli(*command)
    assert again.returncode == 0, again.stderr
    assert "found whole" in again.stdout
    assert "anew" not in again.stderr
    assert [path.name for path in stores.iterdir()] == [folder.name]


def refused(stores: Path, clips: pd.DataFrame, policy: str) -> str:
    """The message of a build that is refused; nothing of it may stay."""
    with pytest.raises(UserError) as caught:
        build(stores, clips, policy)
    assert not stores.exists() or list(stores.iterdir()) == []
    return str(caught.value)


def test_strict_refuses_an_unreadable_image_by_name_and_leaves_nothing(clips, tmp_path):
    path = image(clips, 1, 3)
    path.write_bytes(path.read_bytes()[:1000])
    message = refused(tmp_path / "stores", clips, "strict")
    assert clip_id(clips.iloc[1]) in message
    assert str(path) in message
    assert clip_id(clips.iloc[0]) not in message
    assert "data.policy=clip" in message


def test_strict_refuses_missing_frames_and_folders_without_reading_an_image(clips, tmp_path):
    image(clips, 0, 2).unlink()
    shutil.rmtree(clips["folder"][1])
    message = refused(tmp_path / "stores", clips, "strict")
    assert "missing_frames" in message
    assert str(clips["onset"][0] + 2) in message
    assert f"missing_folder: {clips['folder'][1]}" in message


@pytest.mark.parametrize("broken", ["missing", "empty", "link"])
def test_clip_uses_the_rest_of_a_clip_and_lists_the_problem(clips, tmp_path, broken):
    path = image(clips, 1, 3)
    if broken == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    if broken == "link":
        path.symlink_to(tmp_path / "gone.jpg")
    folder = build(tmp_path / "stores", clips, "clip")
    store = open_store(folder)
    expected = [n for n in range(clips["onset"][1], clips["offset"][1] + 1) if n != clips["onset"][1] + 3]
    assert store.frame_numbers(store.rows(clips)[1]).tolist() == expected
    (problem,) = manifest(folder)["problems"]
    assert problem["clip"] == clip_id(clips.iloc[1])
    assert problem["kind"] == ("missing_frames" if broken == "missing" else "unreadable_image")


def test_skip_leaves_the_clip_out_and_keeps_the_others_in_their_place(clips, tmp_path):
    image(clips, 1, 0).write_bytes(b"")
    folder = build(tmp_path / "stores", clips, "skip")
    store = open_store(folder)
    assert store.holds(clips).tolist() == [True, False, True]
    source = list_sources(clips)[2]
    row = store.rows(clips[2:])[0]
    frames = prepare_clip(source.clip, source.files, SETTINGS).frames
    assert np.array_equal(store.read(row, np.arange(store.length(row))), frames)
    assert [problem["kind"] for problem in manifest(folder)["problems"]] == ["unreadable_image"]


@pytest.mark.parametrize("policy", ["strict", "clip"])
def test_a_clip_without_a_face_is_refused_by_name(clips, tmp_path, policy):
    no_face(clips, 2)
    message = refused(tmp_path / "stores", clips[1:], policy)
    assert f"{clip_id(clips.iloc[2])}  no_face" in message
    assert clips["folder"][2] in message
    assert "data.policy=skip" in message


def test_skip_leaves_a_clip_without_a_face_out_unless_it_is_the_only_one(clips, tmp_path):
    no_face(clips, 2)
    folder = build(tmp_path / "stores", clips[1:], "skip")
    assert open_store(folder).holds(clips).tolist() == [False, True, False]
    assert "not one clip can be used" in refused(tmp_path / "others", clips[2:], "skip")


@pytest.mark.parametrize(
    "setting",
    [
        *({"size": size} for size in (0, 64.0, "big", True)),
        *({"margin": margin} for margin in (-0.5, None)),
        *({"least_confidence": confidence} for confidence in (2, float("nan"))),
        *({"per_frame": per_frame} for per_frame in ("yes", 1, None)),
    ],
)
def test_a_face_setting_that_cannot_be_meant_is_refused_by_key(setting):
    with pytest.raises(UserError, match=f"data.faces.{next(iter(setting))} is .*; expected "):
        FaceSettings(**setting)


def test_an_unknown_policy_is_refused_with_the_choices(clips, tmp_path):
    assert "strict, clip, skip" in refused(tmp_path / "stores", clips, "lenient")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError("disk full")])
def test_an_interrupted_build_leaves_nothing(clips, tmp_path, interruption):
    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise interruption

    with pytest.raises((KeyboardInterrupt, OSError)):
        build(tmp_path / "stores", clips, progress=stop)
    assert list((tmp_path / "stores").iterdir()) == []


def test_what_a_killed_build_left_behind_is_removed_and_a_running_one_is_not(clips, tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    folder = tmp_path / name(tmp_path, clips)
    prefix = f".{folder.name}.{socket.gethostname()}"
    left, alive = tmp_path / f"{prefix}.{int(dead.stdout)}.partial", tmp_path / f"{prefix}.{os.getppid()}.partial"
    for place in (left, alive):
        place.mkdir()
        (place / FRAMES).write_bytes(b"half")
    build(tmp_path, clips)
    assert not left.exists()
    assert (alive / FRAMES).read_bytes() == b"half"
    assert open_store(folder).holds(clips).all()


def test_two_clips_of_one_folder_are_told_apart_by_their_onset(clips, tmp_path):
    one = clips.iloc[[0]]
    both = pd.concat([one.assign(offset=one["onset"] + 4), one.assign(onset=one["onset"] + 5)], ignore_index=True)
    store = open_store(build(tmp_path / "stores", both))
    lengths = [store.length(row) for row in store.rows(both)]
    assert lengths == [5, one["offset"].iloc[0] - one["onset"].iloc[0] - 4]
