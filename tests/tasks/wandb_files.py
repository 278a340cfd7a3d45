"""A run with several loggers including W&B, and a reader for .wandb files, which are LevelDB logs of W&B's messages."""

import json
import os
import signal
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

from tests.command import new_process
from tests.tasks.conftest import SMALL, begin, end_group, run_of, wait_for

BLOCK, HEAD = 32768, 7
FULL, FIRST, MIDDLE, LAST = range(1, 5)


@dataclass
class OfflineRun:
    """One offline-run-* folder; `artifacts` are files by type, and without an exit code the process was killed."""

    folder: Path
    id: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    exit_code: int | None = None

    def table(self, key: str) -> dict[str, Any]:
        """Return columns and data of a table."""
        return json.loads((self.folder / "files" / self.summary[f"{key}/path"]).read_text())

    def column(self, key: str, name: str) -> list[Any]:
        table = self.table(key)
        return [row[table["columns"].index(name)] for row in table["data"]]


def offline_runs(run: Path) -> list[OfflineRun]:
    """Return the offline runs of a run folder in the order of their start."""
    return [read(folder) for folder in sorted((run / "wandb").glob("offline-run-*"))]


def read(folder: Path) -> OfflineRun:
    """Read one offline-run-* folder; a truncated file is read as far as possible."""
    run = OfflineRun(folder, id=folder.name.split("-")[-1])  # the file of a killed run may be empty
    (path,) = folder.glob("run-*.wandb")
    for content in _contents(path.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            of = record.run
            run.id, run.group, run.job_type = of.run_id, of.run_group, of.job_type
            run.name, run.project, run.tags = of.display_name, of.project, list(of.tags)
            run.config |= _values(of.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.rows.append(_values(record.history.item))
            run.summary |= run.rows[-1]
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "artifact" or (kind == "request" and record.request.HasField("log_artifact")):
            artifact = record.artifact if kind == "artifact" else record.request.log_artifact.artifact
            run.artifacts[artifact.type] = {e.path: Path(e.local_path) for e in artifact.manifest.contents}
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _contents(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    place, content = HEAD, b""
    while place + HEAD <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + HEAD])
        part = data[place + HEAD : place + HEAD + length]
        if len(part) < length or kind == 0:
            return
        assert zlib.crc32(bytes([kind]) + part) == checksum
        place += HEAD + length
        content += part
        if kind in (FULL, LAST):
            yield content
            content = b""


ARGUMENTS = ["trainer.max_epochs=4", "loso.checkpoint_seconds=0", "loso.workers=2"]
LOGGERS = ["logger=[csv,wandb,tensorboard]", "logger.wandb.tags=[mine]"]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment without an account that requests online mode and seems to be in a Slurm job."""
    wandb = {"HOME": str(folder / "home"), "WANDB_API_KEY": "", "WANDB_MODE": "online"}
    return {**os.environ, **wandb, "SLURM_PROCID": "1"}


def go_on(folder: Path, *arguments: str) -> None:
    new_process(*SMALL, *ARGUMENTS, *arguments, cwd=folder, env=environment(folder), code=0)


def kill_and_go_on(folder: Path) -> None:
    """Kill a run with three loggers while two folds train, resume it, and write their W&B ids to cut.json."""
    process = begin(folder, *ARGUMENTS, *LOGGERS, env=environment(folder))
    wait_for(lambda: list(folder.glob("runs/*/*/seed-0/unfinished/*/*.ckpt")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end_group(process.pid)  # including W&B's helper processes
    (folder / "cut.json").write_text(json.dumps(sorted(of.id for of in offline_runs(run_of(folder)))))
    go_on(folder, *LOGGERS)
