"""Builds that are killed, lack space or run concurrently yield an undisturbed build's bytes and repeat no work."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.filesize import decimal
from store_builds import SETTINGS, build, content, count_prepared, place_of

from fdp_lightning.data.store.clip_store import FRAMES
from fdp_lightning.data.store.sources import list_sources, parts_of

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def clips(casme2_clips: pd.DataFrame) -> pd.DataFrame:
    """Three clips of three subjects; never changed here."""
    return casme2_clips.iloc[::5].reset_index(drop=True)


@pytest.fixture(scope="module")
def undisturbed(clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `clips`, built in one go."""
    return build(tmp_path_factory.mktemp("undisturbed"), clips)


@pytest.fixture(scope="module")
def disturbed(clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders left by the builds of forked_builds.py."""
    place = tmp_path_factory.mktemp("disturbed")
    clips.to_parquet(place / "clips.parquet")
    for most in (30_000, 100_000):  # next to an older store
        build(place / f"space {most}", clips[:1])
    here = Path(__file__).parent
    command = [sys.executable, str(here / "forked_builds.py"), str(place / "clips.parquet"), str(place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize(
    ("case", "left_to_do"),
    [("clip 0", 3), ("clip 1", 2), ("clip 3", 0), ("writing", 2), ("joining", 0), ("rename", 0), ("cleaning", None)],
)
def test_a_killed_build_resumes_and_yields_the_same_store(
    disturbed: Path, undisturbed: Path, clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch,
    case: str, left_to_do: int | None,
) -> None:  # fmt: skip
    stores = disturbed / case
    whole = left_to_do is None  # killed after the store was in place
    assert content(place_of(stores, clips)) == content(undisturbed) if whole else not place_of(stores, clips).exists()
    prepared, seen = count_prepared(monkeypatch), []
    folder = build(stores, clips, progress=lambda done, total: seen.append((done, total)))
    assert len(prepared) == (left_to_do or 0)
    assert seen == ([] if whole else [(done, 3) for done in range(3 - left_to_do, 4)])
    assert content(folder) == content(undisturbed)
    assert [path.name for path in stores.iterdir()] == [undisturbed.name]


def test_concurrent_builds_do_not_disturb_each_other(
    disturbed: Path, undisturbed: Path, clips: pd.DataFrame, tmp_path: Path
) -> None:
    folder = disturbed / "at once" / undisturbed.name
    assert content(folder) == content(undisturbed)
    skipping = build(tmp_path, clips, "skip")
    assert content(folder.with_name(skipping.name)) == content(skipping)
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, skipping.name}


@pytest.mark.parametrize(("most", "kept"), [(30_000, 0), (100_000, 3)])
def test_a_full_disk_is_reported_and_loses_neither_the_old_store_nor_a_prepared_clip(
    disturbed: Path, undisturbed: Path, clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    most: int, kept: int,
) -> None:  # fmt: skip
    stores = disturbed / f"space {most}"
    message = (disturbed / f"message {most}.txt").read_text()
    assert f"no space left for the clip store in {stores}" in message
    assert "data.store=<folder>" in message
    assert f"about {decimal((undisturbed / FRAMES).stat().st_size)}" in message
    assert (f"The {kept} prepared clips are kept in {stores}" in message) == (kept > 0)
    assert content(place_of(stores, clips[:1])) == content(build(tmp_path, clips[:1]))
    prepared = count_prepared(monkeypatch)
    assert content(build(stores, clips)) == content(undisturbed)
    assert len(prepared) == 3 - kept


def test_a_damaged_clip_left_by_an_interrupted_build_is_prepared_again(
    clips: pd.DataFrame, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    source = list_sources(clips)[1]
    for place in (0, 80, -1):
        stores = tmp_path / str(place)
        with pytest.raises(KeyboardInterrupt):
            build(stores, clips, progress=stop)
        (left,) = stores.iterdir()
        assert left.name.startswith(".casme2-") and left.suffix == ".building" and len(list(left.iterdir())) == 3
        path = parts_of(place_of(stores, clips), SETTINGS).path(source)
        damaged = bytearray(path.read_bytes())
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with monkeypatch.context() as patch:
            prepared = count_prepared(patch)
            assert content(build(stores, clips)) == content(undisturbed)
        assert prepared == [source.clip]
