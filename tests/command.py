"""The command line, in this process or a new one, and folders shared by all test processes."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig

from fdp_lightning.command_line import run

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def command(*arguments: object, cwd: Path, code: int | None = None) -> Done:
    """Run `python -m fdp_lightning <arguments>` in this process, which spares slow imports, and check the exit code.

    All tests share the workers of one forkserver. Tests of signals, limits, or environment variables that workers read
    use `new_process`.
    """
    out, err = io.StringIO(), io.StringIO()
    with _as_new(cwd, list(map(str, arguments))), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
            ended = 0
        except SystemExit as end:
            ended = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            ended = 1
    assert code in (None, ended), err.getvalue()
    return subprocess.CompletedProcess(sys.argv, ended, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_new(cwd: Path, arguments: list[str]) -> Iterator[None]:
    """Make this process look newly started, and restore it afterwards."""
    root, hydra = logging.getLogger(), HydraConfig.instance()
    kept = os.environ.copy(), sys.argv, root.handlers[:], root.level, hydra.cfg
    sys.argv = ["fdp_lightning", *arguments]
    try:
        with contextlib.chdir(cwd):
            yield
    finally:
        environment, sys.argv, root.handlers[:], root.level, hydra.cfg = kept
        os.environ.clear()
        os.environ.update(environment)


def new_process(*arguments: object, cwd: Path, code: int | None = None, **options: object) -> Done:
    """Run the command in a new process; `options` are those of `subprocess.run`."""
    line = [sys.executable, "-m", "fdp_lightning", *map(str, arguments)]
    given = {"capture_output": True, "text": True, "timeout": 600, "check": False, **options}
    done = subprocess.run(line, cwd=cwd, **given)
    assert code in (None, done.returncode), done.stderr
    return done


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder once for all processes of a test run. Copy it before changing it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with FileLock(f"{folder}.lock"):
        if not Path(f"{folder}.done").exists():
            folder.mkdir()
            make(folder)
            Path(f"{folder}.done").touch()
    return folder
