"""A full or read-only disk and unusable paths are reported without a traceback; files are written atomically."""

import errno
import json
import os
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from fdp_lightning import files, tasks
from fdp_lightning.config import configuration
from fdp_lightning.engine.process import logged
from fdp_lightning.errors import DiskError, UserError, disk_trouble, require_writable
from fdp_lightning.files import remove_leftovers, scratch_folder, write_atomic

pytestmark = pytest.mark.costly

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def wrapped(error: Exception) -> Exception:
    """Return the error that a library raises after an error of the disk."""
    wrapper = RuntimeError("the file cannot be written")
    wrapper.__context__ = error
    return wrapper


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "tmp/a", None, "runs/last.ckpt"), "for runs/last.ckpt"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), "/mnt/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "Permission denied"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed"), "no space left"),
        (wrapped(FULL), "no space left"),
        (ValueError("a bug"), ""),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), ""),
    ],
)
def test_disk_errors_are_reported_with_path_and_reason_and_others_are_not(error: Exception, named: str) -> None:
    trouble = disk_trouble(error)
    assert named in (trouble or "") and (trouble is None) == (named == "")


def test_every_task_reports_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(hydra=True)
    module = type("Module", (), {"__getattr__": lambda self, name: Mock(side_effect=FULL)})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: config.hydra))
    monkeypatch.setattr(tasks, "import_module", lambda name: module())
    for config.task in tasks.TASKS:
        with pytest.raises(UserError, match=f"task={config.task}"):
            tasks.run_task(config)
        assert not GlobalHydra.instance().is_initialized()


def test_invalid_text_in_a_file_name_is_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xd6\xd0.mp4")  # from a system with another encoding
    write_atomic(tmp_path / "a.json", json.dumps({"clip": name, "kind": "ü"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"clip": name, "kind": "ü"}


def test_a_fold_without_space_for_its_log_still_reports_the_full_disk() -> None:
    receive, send = Pipe(duplex=False)
    with pytest.raises(SystemExit) as ended, logged(Path("/dev/full"), send):
        print("something to log", flush=True)
    assert ended.value.code == 1
    told = receive.recv()
    assert isinstance(told, DiskError)
    assert "no space left" in str(told)


def test_an_unusable_folder_for_runs_is_rejected_with_path_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable(Path("runs/x"))
    Path("file").touch()
    with pytest.raises(NotADirectoryError) as not_a_folder:
        require_writable(Path("file/x"))
    assert str(tmp_path / "file") in (disk_trouble(not_a_folder.value) or "")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for flag, number in ((os.ST_RDONLY, errno.EROFS), (0, errno.EACCES)):
        monkeypatch.setattr(os, "statvfs", lambda _, flag=flag: SimpleNamespace(f_flag=flag))
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            require_writable(Path("runs/x"))
        assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path))


def test_files_of_killed_processes_are_removed_and_those_of_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = (
        "import sys, os; from pathlib import Path; from unittest import mock; from fdp_lightning import files\n"
        "with mock.patch('os.fsync', lambda number: os._exit(9)): files.write_atomic(Path(sys.argv[1]) / 'a.json', 'x')"
    )
    subprocess.run([sys.executable, "-c", leave, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    dead = left.name.split(".")[-2].partition("-")[0]
    other = tmp_path / left.name.replace(f".{dead}-", f".{os.getppid()}-")
    other.touch()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [other]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for pid in (dead, str(os.getppid())):
        (tmp_path / f"fdp_lightning-x-{pid}-abc").mkdir()
    with scratch_folder("fdp_lightning-x-") as folder:
        assert {path.name.split("-")[2] for path in tmp_path.glob("fdp_*")} == {str(os.getppid()), str(os.getpid())}
    assert not folder.exists()


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("one\n", "zwölf\r\n"):
        write_atomic(path, text)
        assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_write_keeps_the_old_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(files.os, failing, broken)
    with pytest.raises(OSError, match="disk full") as raised:
        write_atomic(path, "new")
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
