import errno
import os
from pathlib import Path

import pytest

from fdp_lightning import files


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    files.write_atomic(path, "one\n")
    files.write_atomic(path, "zwölf\r\n")
    assert path.read_bytes() == "zwölf\r\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_old_file_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(files.os, failing, broken)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_written_files_are_as_readable_as_others(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write_atomic(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
