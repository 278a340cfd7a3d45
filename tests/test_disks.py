"""A full or forbidden disk is said in words by every task, with exit code 2, and so are other places of no use."""

import errno
import json
import os
import resource
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fdp_lightning import files, tasks
from fdp_lightning.config import configuration
from fdp_lightning.engine.process import logged
from fdp_lightning.errors import DiskError, UserError, disk_trouble, require_writable
from fdp_lightning.files import remove_leftovers, scratch_folder, write_atomic
from tests.command import Run, new_process

pytestmark = pytest.mark.costly

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
OF_TORCH = RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/0")


def caused(error: Exception) -> Exception:
    """What a library makes of an error of the disk."""
    try:
        try:
            raise error
        except Exception:
            raise RuntimeError("the file cannot be written")  # noqa: B904 — its context tells
    except RuntimeError as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x.csv"), "runs/x.csv"),
        (OSError(errno.ENOSPC, "No space left on device", "tmp/a", None, "runs/last.ckpt"), "for runs/last.ckpt"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EFBIG, "File too large"), "ulimit"),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), "/mnt/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "Permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b"),
        (OF_TORCH, "no space left"),
        (caused(FULL), "no space left"),
    ],
)
def test_errors_of_the_disk_are_told_by_place_and_reason(error: Exception, named: str) -> None:
    assert named in (disk_trouble(error) or "")
    for other in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "No such file", "x"), None):
        assert disk_trouble(other) is None


@pytest.fixture(scope="module")
def configured() -> DictConfig:
    return configuration(hydra=True)


@pytest.mark.parametrize(
    ("task", "error"),
    [*((task, FULL) for task in tasks.TASKS), ("fit", PermissionError(errno.EACCES, "", "/x")), ("loso", OF_TORCH)],
)
def test_every_task_says_it_in_words(
    task: str, error: Exception, configured: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured.copy()
    config.task = task
    module = type("Module", (), {"__getattr__": lambda self, name: Mock(side_effect=error)})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: config.hydra))
    monkeypatch.setattr(tasks, "import_module", lambda name: module())
    with pytest.raises(UserError, match=f"task={task}"):
        tasks.run_task(config)
    assert not GlobalHydra.instance().is_initialized()


def test_an_atomic_write_names_its_file(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="too large") as raised:
            write_atomic(tmp_path / "large.bin", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert str(tmp_path / "large.bin") in (disk_trouble(raised.value) or "")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_valid_text_is_written_with_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xd6\xd0.mp4")  # of a file from a system with another encoding
    write_atomic(tmp_path / "a.json", json.dumps({"clip": name, "kind": "ü"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"clip": name, "kind": "ü"}


def test_a_fold_tells_of_a_full_disk_even_where_there_is_no_room_for_its_log() -> None:
    receive, send = Pipe(duplex=False)
    with pytest.raises(SystemExit) as ended, logged(Path("/dev/full"), send):
        print("something to log", flush=True)
    assert ended.value.code == 1
    told = receive.recv()
    assert isinstance(told, DiskError)
    assert "no space left" in str(told)


def test_a_place_for_runs_is_refused_by_its_path_and_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable(Path("runs/x"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    for flag, number in ((os.ST_RDONLY, errno.EROFS), (0, errno.EACCES)):
        monkeypatch.setattr(os, "statvfs", lambda _, flag=flag: SimpleNamespace(f_flag=flag))
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            require_writable(Path("runs/x"))
        assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path))


ON_DATA = ["data=casme2", "protocol.strict=false", "data.workers=1", "data.root={root}"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["task=loso", *ON_DATA, "runs={place}"], ["task=check_data", *ON_DATA, "check_data.output={place}/x.json"],
        ["task=prepare", *ON_DATA, "data.store={place}/x"],
        ["task=benchmark", "benchmark.rows=[start_up]", "benchmark.output={place}/x"],
        ["task=predict", "predict.input=synthetic", "predict.explain=false", "predict.output={place}/x"],
        ["task=export", "export.checkpoint=synthetic", "export.output={place}/x"],
        ["-m", "+experiment=synthetic_loso", "model.pooling=mean,arp", "runs={place}"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_a_place_that_is_no_folder_is_said_without_a_traceback(
    arguments: list[str], casme2_root: Path, tmp_path: Path, run_cli: Run
) -> None:
    place = tmp_path / "file"
    place.touch()
    answer = run_cli(*(argument.format(place=place, root=casme2_root) for argument in arguments), code=2)
    assert "Traceback" not in answer.stderr and str(place) in answer.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_standard_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        answer = new_process("task=compare", "runs=nowhere", "--cfg", "job", cwd=Path(), capture_output=False,
                             stdout=full, stderr=subprocess.PIPE)  # fmt: skip
    assert answer.returncode in (1, 2)
    assert "Traceback" not in answer.stderr


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    files.write_atomic(path, "one\n")
    files.write_atomic(path, "zwölf\r\n")
    assert path.read_bytes() == "zwölf\r\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


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
