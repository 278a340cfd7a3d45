"""The dataset of a run, ready to train on: written if synthetic, read, cut down to the protocol, aligned, stored."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from fdp_lightning.data.apex import apex_numbers
from fdp_lightning.data.build_store import build_store, list_sources, store_folder
from fdp_lightning.data.clips import name_clips
from fdp_lightning.data.normalisation import check_normalisation
from fdp_lightning.data.prepare_clip import FaceSettings
from fdp_lightning.data.protocol import Protocol
from fdp_lightning.data.sampling import Sampling
from fdp_lightning.data.splits import Fold, leave_one_subject_out
from fdp_lightning.data.store import MANIFEST, ClipStore, DamagedStoreError, open_store
from fdp_lightning.errors import UserError
from fdp_lightning.processes import cpu_count
from fdp_lightning.tasks.build import build, build_protocol, settings
from fdp_lightning.tasks.progress import meter

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class ReadyData:
    """Everything a fold needs of its dataset.

    Attributes:
        protocol: the classes.
        clips: the protocol's clips that are in the store, with their class in `target`.
        left_out: clips of the protocol that are neither trained on nor tested, with the setting that leaves them out
            in `why`: the store does not hold them (policy `skip`), or the sampling rule has no frames of them.
        without_clips: annotated subjects that have no clip under the protocol: a fold each that does not exist.
        store: the folder of the verified store.
        manifest: its manifest.
        reused: whether the store was there already.
    """

    protocol: Protocol
    clips: pd.DataFrame
    left_out: pd.DataFrame
    without_clips: list[str]
    store: Path
    manifest: Mapping[str, Any]
    reused: bool

    def folds(self) -> list[Fold]:
        """One fold for each subject that is tested under the protocol."""
        return leave_one_subject_out(self.clips, self.protocol.untested)


def ready_data(config: DictConfig) -> ReadyData:
    """Bring the dataset to where folds can read it; each step that was done before is found and skipped.

    Raises:
        UserError: of the folder, the workbook, the protocol's counts or the clips' frames.
    """
    sampling: Sampling = settings(Sampling, config.data.sampling)
    check_normalisation(config.data.normalisation)
    protocol = build_protocol(config)
    root = _synthetic_root(config) if config.data.generate is not None else Path(config.data.root)
    annotated = build(config.data.adapter, root=root, name=config.data.name).clips(protocol.labels)
    chosen = protocol.apply(annotated)
    for difference in protocol.differences(chosen):
        log.warning("protocol.strict=false, counts are not as published: %s", difference)
    faces: FaceSettings = settings(FaceSettings, config.data.faces)
    sources = list_sources(annotated)
    folder = store_folder(Path(config.data.store), config.data.name, faces, config.data.policy, sources)
    reused = _usable(folder)
    if not reused:
        workers = config.data.workers or cpu_count()
        with meter(f"Aligning faces of {config.data.name}", "clips") as progress:
            build_store(folder, annotated, sources, faces, config.data.policy, workers, progress)
    store = open_store(folder, verify=not reused)
    why = _why_left_out(chosen, store, sampling)
    left_out = chosen.assign(why=why)[why != ""]
    for reason, part in left_out.groupby("why"):
        log.warning("%d clips are left out (%s): %s", len(part), reason, name_clips(part))
    clips = chosen[why == ""].reset_index(drop=True)
    if clips.empty:
        raise UserError(f"no clip of protocol {protocol.name} is left ({', '.join(sorted(set(why)))})")
    clips["onset"] = clips["onset"].astype("int64")
    if sampling.by_apex and len(without := clips[np.isnan(apex_numbers(clips))]):
        log.warning(
            "%d clips without a usable apex are sampled uniformly (data.sampling.rule=%s): %s",
            len(without),
            sampling.rule,
            name_clips(without),
        )
    return ReadyData(
        protocol=protocol,
        clips=clips,
        left_out=left_out,
        without_clips=sorted(set(annotated["subject"]) - set(clips["subject"])),
        store=folder,
        manifest=json.loads((folder / MANIFEST).read_text()),
        reused=reused,
    )


def _why_left_out(clips: pd.DataFrame, store: ClipStore, sampling: Sampling) -> pd.Series:
    """The setting that leaves a clip out of the run, and '' for the others; one per row of `clips`."""
    held = store.holds(clips)
    why = pd.Series("", index=clips.index, dtype=object).mask(~held, "data.policy=skip")
    for label, row in zip(clips.index[held], store.rows(clips[held]), strict=True):
        if not len(sampling.positions(store.length(row))):
            why[label] = f"data.sampling.rule={sampling.rule}, fewer than {sampling.frames} frames"
    return why


def _usable(folder: Path) -> bool:
    """Whether the store is there and whole; a damaged one is named and removed, to be built anew."""
    if not folder.exists():
        return False
    try:
        open_store(folder)
    except DamagedStoreError as error:
        log.warning("%s; it is built anew.", error)
        shutil.rmtree(folder)
        return False
    return True


def _synthetic_root(config: DictConfig) -> Path:
    """Write the synthetic dataset of these settings, unless it is there; settings that differ lie side by side."""
    generator = build(config.data.generate)
    root = Path(config.data.root) / generator.digest()
    with meter("Drawing synthetic faces", "clips") as progress:
        generator.write(root, workers=config.data.workers or cpu_count(), progress=progress)
    return root
