"""The clip store of a run: reused if intact, else built, reusing clips of older and damaged stores."""

import contextlib
import logging
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fdp_lightning.console.progress import meter
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import ClipStore, DamagedStoreError, open_store
from fdp_lightning.data.store.sources import list_sources, other_stores, store_folder, why_another

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class ReadyStore:
    """A verified store, and whether it existed already.

    `rebuilt_because` is how it differs from the previous store, or how that one was damaged; None if it is reused or
    the first of its dataset.
    """

    store: ClipStore
    reused: bool
    rebuilt_because: str | None


def ready_store(
    stores: Path,
    dataset: str,
    clips: pd.DataFrame,
    faces: FaceSettings,
    policy: str,
    workers: int,
    before_work: Callable[[], object] = lambda: None,
) -> ReadyStore:
    """Find the store of these clips in their present state, or build it; older stores of the dataset are kept.

    `before_work` is called before it is built. UserError if frames of the clips are missing, or the disk is full.
    """
    sources = list_sources(clips)
    folder = store_folder(stores, dataset, faces, policy, sources)
    damage = _move_if_damaged(folder)
    reused, reason = folder.exists(), damage
    if not reused:
        before_work()
        # A rebuild that was killed has left the damaged store behind.
        aside, others = sorted(folder.parent.glob(f"{_aside_prefix(folder)}*")), other_stores(folder)
        if damage:
            log.warning("%s; it is rebuilt.", damage)
        elif others and not aside:
            reason = why_another(others[0], sources, faces, policy)
            log.info("The clip store is rebuilt: %s", reason)
        with meter(f"Aligning faces of {dataset}", "clips") as progress:
            build_store(folder, clips, sources, faces, policy, workers, progress, [*aside, *others])
        for place in aside:
            shutil.rmtree(place, ignore_errors=True)
    return ReadyStore(open_store(folder, verify=not reused), reused, reason)


def _move_if_damaged(folder: Path) -> str | None:
    """Rename a damaged store so that it is no longer found, and return what is damaged; None if nothing is."""
    if not folder.exists():
        return None
    before = folder.stat().st_ino
    try:
        open_store(folder)
    except DamagedStoreError as error:
        with contextlib.suppress(FileNotFoundError):
            # Another process may have found the same and rebuilt the store in the meantime: that one is kept.
            if folder.stat().st_ino == before:
                folder.rename(folder.with_name(f"{_aside_prefix(folder)}{secrets.token_hex(4)}"))
        return str(error)
    return None


def _aside_prefix(folder: Path) -> str:
    return f".{folder.name}.damaged-"
