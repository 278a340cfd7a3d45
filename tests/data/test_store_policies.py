"""Bad input is refused or listed as the policy says, by clip and file, and never passed over in silence."""

import ctypes
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from store_builds import SETTINGS, build, content, count_prepared, image, manifest, refused
from tests.command import Done

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.store.clip_store import FRAMES, INDEX, MANIFEST, open_store
from fdp_lightning.engine.ready_store import ready_store

pytestmark = pytest.mark.costly


@pytest.fixture
def clips(small_copy: Path) -> pd.DataFrame:
    """Three clips of three subjects, which a test may damage."""
    return CASME2(small_copy).clips()


def no_face(clips: pd.DataFrame, clip: int) -> None:
    """Replace a clip's pictures by grey noise."""
    rng = np.random.default_rng(clip)
    for path in Path(clips["folder"].iloc[clip]).iterdir():
        cv2.imwrite(str(path), rng.integers(100, 156, (180, 240), dtype=np.uint8))


@pytest.mark.parametrize("policy", ["strict", "clip"])
def test_a_clip_without_a_face_is_refused_by_name(clips: pd.DataFrame, tmp_path: Path, policy: str) -> None:
    no_face(clips, 2)
    message = refused(tmp_path / "stores", clips[1:], policy)
    assert f"{clip_id(clips.iloc[2])}  no_face" in message
    assert clips["folder"][2] in message
    assert "data.policy=skip" in message


@pytest.fixture
def permissions_bind() -> Iterator[None]:
    """Take from root, for one test, the privilege to read what its permission bits forbid."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the capability interface, this thread
    before, after = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before) != 0:
        pytest.skip("runs as root, and capabilities cannot be read")
    after[:] = before[:]
    after[0] &= ~(1 << 1 | 1 << 2)  # effective: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, after) != 0:
        pytest.skip("runs as root, and capabilities cannot be set")
    yield
    libc.capset(header, before)


def _folder_of(path: Path) -> Path:
    shutil.rmtree(path.parent)
    return path.parent


BROKEN_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "no image": (lambda path: path.write_bytes(b"<html>no such file</html>"), "cannot be decoded"),
    "forbidden": (lambda path: path.chmod(0), "Permission denied"),
    "link to nowhere": (lambda path: (path.unlink(), path.symlink_to("gone.jpg")), "No such file"),
    "link to itself": (lambda path: (path.unlink(), path.symlink_to(path.name)), "symbolic links"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), ""),
}
BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda path: _folder_of(path), "No such file"),
    "a file": (lambda path: _folder_of(path).write_bytes(b"text"), "Not a directory"),
    "forbidden": (lambda path: path.parent.chmod(0), "Permission denied"),
    "a link to itself": (lambda path: _folder_of(path).symlink_to(path.parent.name), "symbolic links"),
    "a link into itself": (lambda path: _folder_of(path).symlink_to(path.parent / "deeper"), "symbolic links"),
}


def break_clip(clips: pd.DataFrame, change: Callable[[Path], object]) -> Path:
    path = image(clips, 1, 3)
    change(path)
    return path


@pytest.mark.parametrize("broken", BROKEN_FILES)
def test_one_broken_file(clips: pd.DataFrame, tmp_path: Path, permissions_bind: None, broken: str) -> None:
    change, words = BROKEN_FILES[broken]
    path = break_clip(clips, change)
    number, bad = clips["onset"][1] + 3, clip_id(clips.iloc[1])
    kind = "missing_frames" if broken == "folder" else "unreadable_frame"
    named = f"are missing ({number})" if broken == "folder" else str(path)
    two, stores = clips[:2], tmp_path / "stores"
    message = refused(stores, two, "strict")
    for part in (f"{bad}  {kind}: ", named, words, "data.policy=skip"):
        assert part in message
    skipped, cut = build(stores, two, "skip"), build(stores, two, "clip")
    assert open_store(skipped).holds(two).tolist() == [True, False]
    store = open_store(cut)
    expected = [n for n in range(two["onset"][1], two["offset"][1] + 1) if n != number]
    assert store.frame_numbers(store.rows(two)[1]).tolist() == expected
    for folder in (skipped, cut):
        (problem,) = manifest(folder)["problems"]
        assert (problem["clip"], problem["kind"], problem["fatal"]) == (bad, kind, True)
        assert named in problem["detail"]


@pytest.mark.parametrize("broken", [*BROKEN_FOLDERS, "interval", "no offset"])
def test_a_clip_of_which_nothing_can_be_read(
    clips: pd.DataFrame, tmp_path: Path, permissions_bind: None, broken: str
) -> None:
    two, stores, bad = clips[:2].copy(), tmp_path / "stores", clip_id(clips.iloc[1])
    if broken in BROKEN_FOLDERS:
        change, words = BROKEN_FOLDERS[broken]
        break_clip(clips, change)
        expected = f"missing_folder: {clips['folder'][1]}: "
    else:
        two["offset"] = [two["offset"][0], 0 if broken == "interval" else pd.NA]
        two["offset"] = two["offset"].astype("Int64")
        words = "offset 0" if broken == "interval" else "offset missing"
        expected = f"bad_interval: onset {clips['onset'][1]}, "
    for policy in ("strict", "clip"):
        message = refused(stores, two, policy)
        assert f"{bad}  {expected}" in message
        assert words in message
        assert clip_id(clips.iloc[0]) not in message
    folder = build(stores, two, "skip")
    assert open_store(folder).holds(two).tolist() == [True, False]
    (problem,) = manifest(folder)["problems"]
    assert f"{problem['clip']}  {problem['kind']}: {problem['detail']}".startswith(f"{bad}  {expected}")
    if broken == "forbidden":
        Path(clips["folder"][1]).chmod(0o700)


def test_places_with_spaces_brackets_and_other_scripts(
    clips: pd.DataFrame, small_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = build(tmp_path / "stores", clips)
    odd = tmp_path / "Überprüfung [1] (x) {y} 表情 %s"
    moved = CASME2(shutil.copytree(small_copy, odd / "data *?")).clips()
    image(moved, 0, 0).rename(image(moved, 0, 0).with_name(f"bild é [{'a' * 9}] {moved['onset'][0]}.jpg"))
    found = ready_store(odd / "stores #1", "set [ä]", moved, SETTINGS, "strict", workers=1)
    assert found.store.holds(moved).all()
    assert content(found.store.folder)["frames.bin"] == content(plain)["frames.bin"]
    assert ready_store(odd / "stores #1", "set [ä]", moved, SETTINGS, "strict", workers=1).reused
    prepared = count_prepared(monkeypatch)
    again = ready_store(odd / "stores #1", "set [ä]", moved, SETTINGS, "skip", workers=1)
    assert "data.policy strict → skip" in again.rebuilt_because
    assert prepared == []
    assert len(list((odd / "stores #1").iterdir())) == 2


def test_what_was_prepared_before_a_refusal_is_not_prepared_again(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(clips, 1, 3)
    whole, state = path.read_bytes(), path.stat()
    path.write_bytes(whole[:1000])
    prepared = count_prepared(monkeypatch)
    refused(tmp_path / "stores", clips, "strict")
    assert len(prepared) == 3
    path.write_bytes(whole)  # mended
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    build(tmp_path / "stores", clips)
    assert prepared[3:] == [clip_id(clips.iloc[1])]
    assert len(list((tmp_path / "stores").iterdir())) == 1


def test_the_command_line_tells_a_file_whose_name_is_no_text_and_a_disk_full_after_the_build(
    clips: pd.DataFrame, small_copy: Path, run_cli: Callable[..., Done], tmp_path: Path
) -> None:
    path = image(clips, 1, 3)
    path.unlink()
    path.with_name(os.fsdecode(b"img\xff" + path.name.encode())).write_bytes(b"")
    command = ["task=prepare", "data=casme2", "protocol=casme2_5c_249", "++protocol.strict=false", "data.workers=1"]
    command += [
        f"data.root={small_copy}",
        f"data.store={tmp_path / 'stores'}",
        "data.policy=clip",
        "data.faces.size=16",
    ]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, limit[1]))  # the store's files are smaller, the sheet is larger
    try:
        answer = run_cli(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert f"{clip_id(clips.iloc[1])}  unreadable_frame: " in answer.stdout
    assert "\\udcff" in answer.stdout
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    assert f"no space left for prepare.json and the contact sheet in {tmp_path / 'stores'}" in answer.stderr
    (folder,) = (tmp_path / "stores").iterdir()
    assert open_store(folder).holds(clips).all()
    assert {path.name for path in folder.iterdir()} == {FRAMES, INDEX, MANIFEST, "prepare.json"}
