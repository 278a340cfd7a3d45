"""The dataset of a run: written if synthetic, read, filtered by the protocol, aligned and stored."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from fdp_lightning.console.progress import meter
from fdp_lightning.data.annotations.clips import apex_numbers, name_clips, names_of
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.composite import Composite
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.inputs.flow import InputSettings
from fdp_lightning.data.inputs.stage import input_maps
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.protocols.clip_tables import members, read_clips
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.data.protocols.splits import Fold, make_folds, owners, rows_under_test
from fdp_lightning.data.store.clip_store import ClipStore
from fdp_lightning.engine.ready_store import ready_store
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import build, settings
from fdp_lightning.labels import KEY
from fdp_lightning.processes import cpu_count
from fdp_lightning.runs.claims import gpu_names
from fdp_lightning.runs.fingerprint import content_of
from fdp_lightning.runs.pooling import EXPECTED

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class ReadyData:
    """Everything a fold needs from its dataset.

    Attributes:
        protocol: protocol of the run.
        clips: clips of the protocol that are in the store, with their class in `target`.
        left_out: annotated clips that are neither trained on nor tested, with the reason in `why`: they belong to no
            class (see `Protocol.left_out`), are not in the store (policy `skip`), or are too short for the sampling
            rule.
        without_clips: annotated subjects without a clip under the protocol, who have no fold.
        store: folder of the clip store.
        reused: see `ReadyStore`.
        rebuilt_because: see `ReadyStore`.
        caveats: a sentence on each setting that makes the scores of the run incomparable with others.
    """

    protocol: Protocol
    clips: pd.DataFrame
    left_out: pd.DataFrame
    without_clips: list[str]
    store: Path
    reused: bool
    rebuilt_because: str | None
    caveats: list[str]

    @property
    def n_subjects(self) -> int:
        return int(owners(self.clips).nunique())

    @cached_property
    def content(self) -> str:
        """Digest of the clips and of their aligned frames, for the fingerprint."""
        return content_of(self.store, self.clips)

    def folds(self) -> list[Fold]:
        protocol = self.protocol
        return make_folds(self.clips, protocol.split, protocol.untested, protocol.folds, protocol.label_kind)

    def unlearnable(self, folds: Sequence[Fold]) -> str:
        """Return a sentence on clips whose class is absent from their fold's training clips, or ''."""
        names = names_of(self.clips["target"].reset_index(drop=True), self.protocol.label_kind)
        names = names[names != ""]
        parts = []
        for fold in folds:
            learnt, tested = (names[names.index.isin(rows)] for rows in (fold.train_rows, fold.test_rows))
            parts.append(tested[~tested.isin(set(learnt))])
        found = pd.concat(parts)
        if found.empty:
            return ""
        named = "; ".join(f"{name}: {name_clips(self.clips.iloc[rows.index])}" for name, rows in found.groupby(found))
        return (
            f"These clips cannot be predicted correctly, since no training clip of their fold has their class: {named}."
        )


def build_protocol(config: DictConfig) -> Protocol:
    """Return the protocol; UserError if it is made for a dataset other than the chosen one."""
    protocol: Protocol = settings(Protocol, config.protocol)
    if protocol.dataset != config.data.name:
        raise UserError(
            f"protocol={protocol.name} is made for {protocol.dataset}, but data={config.data.name} was chosen.\n"
            f"  Choose both, for example: data={protocol.dataset} protocol={protocol.name}"
        )
    return protocol


def ready_data(config: DictConfig, before_work: Callable[[], object] = lambda: None) -> ReadyData:
    """Prepare the dataset for the folds; steps already done are skipped.

    `before_work` is called before clips are drawn or aligned, which takes minutes: the last moment to check options.
    UserError if the folder, the workbook, the protocol's counts or the frames are not as expected.
    """
    sampling: Sampling = settings(Sampling, config.data.sampling)
    protocol = build_protocol(config)
    faces: FaceSettings = settings(FaceSettings, config.data.faces)
    place, workers = Path(config.data.store), config.data.workers or cpu_count()

    def begin_work() -> None:
        check_device(faces)  # not earlier: an existing store needs no device
        before_work()

    dataset = open_dataset(config, begin_work)
    annotated = read_clips(dataset, protocol, config.corrections)
    chosen = protocol.apply(annotated)
    differences = protocol.differences(chosen, annotated)
    for difference in differences:
        log.warning("protocol.strict=false, accepted though not as published: %s", difference)
    for member in members(dataset):
        member.require_frames()
        if deeper := member.found_deeper():
            log.warning("the frames of %s are read from %s, inside %s", member.table_name, deeper, member.root_key)
    ready = ready_store(place, config.data.name, annotated, faces, config.data.policy, workers, begin_work)
    why = _why_left_out(chosen, ready.store, sampling)
    left_out = pd.concat([protocol.left_out(annotated), chosen.assign(why=why)[why != ""]], ignore_index=True)
    for reason, part in left_out.groupby("why"):
        log.warning("%d clips are left out (%s): %s", len(part), reason, name_clips(part))
    clips = chosen[why == ""].reset_index(drop=True)
    if clips.empty:
        raise UserError(f"no clip of protocol {protocol.name} is left ({', '.join(sorted(set(why)))})")
    clips["onset"] = clips["onset"].astype("int64")
    clips["target"] = protocol.shuffle(clips)
    if sampling.by_apex and len(without := clips[np.isnan(apex_numbers(clips))]):
        log.warning(
            "%d clips without a usable apex are sampled uniformly (data.sampling.rule=%s): %s",
            len(without), sampling.rule, name_clips(without),
        )  # fmt: skip
    _make_inputs(config, ready.store, clips, sampling, workers)
    return ReadyData(
        protocol=protocol,
        clips=clips,
        left_out=left_out,
        without_clips=sorted(set(owners(annotated)) - set(owners(clips))) if protocol.split == "loso" else [],
        store=ready.store.folder,
        reused=ready.reused,
        rebuilt_because=ready.rebuilt_because,
        caveats=_caveats(config, protocol, differences),
    )


def check_device(faces: FaceSettings) -> None:
    """Raise UserError if faces are to be detected on a GPU and there is none."""
    if faces.device != "cpu" and not gpu_names():
        raise UserError(
            f"data.faces.device is {faces.device}, but PyTorch sees no GPU here; data.faces.device=cpu needs none"
        )


def _make_inputs(config: DictConfig, store: ClipStore, clips: pd.DataFrame, sampling: Sampling, workers: int) -> None:
    """Compute the recogniser's input maps of all clips, once for all folds."""
    taken: InputSettings = settings(InputSettings, config.input)
    if taken.of_frames:
        return
    apexes = apex_numbers(clips)
    if taken.kind == "apex_flow" and (unknown := clips[np.isnan(apexes)]).shape[0]:
        log.warning(
            "%d clips have no usable apex; the frame that differs most from the onset is used instead: %s",
            len(unknown), name_clips(unknown),
        )  # fmt: skip
    with meter("Computing optical flow", "clips") as progress:
        input_maps(store, store.rows(clips), apexes, sampling, taken, workers, progress)


def _caveats(config: DictConfig, protocol: Protocol, differences: Sequence[str]) -> list[str]:
    found = []
    if differences:
        counts = "; ".join(difference.split(" (")[0] for difference in differences)  # the log names the clips
        found.append(f"The annotation is not as published (protocol.strict=false): {counts}.")
    if config.data.normalisation == "each_set":
        found.append(
            "The clips under test are normalised by their own mean and maximum (data.normalisation=each_set), as in "
            "the released code: the normalisation is fitted to the subject under test."
        )
    if protocol.expected and not protocol.published:
        found.append(
            f"The published counts of protocol {protocol.name} are for labels other than those read here "
            "(protocol.labels), so it is unknown whether this copy is complete."
        )
    if protocol.shuffled is not None:
        found.append("The labels are shuffled (protocol.shuffled): a control, in which nothing can be learnt.")
    return found


def open_dataset(config: DictConfig, before_work: Callable[[], object] = lambda: None) -> FaceDataset | Composite:
    """Return the dataset of `data.root`; a synthetic one is written first, unless it exists."""
    root = _synthetic_root(config, before_work) if config.data.generate is not None else Path(config.data.root)
    dataset: FaceDataset | Composite = build(config.data.adapter, root=root, name=config.data.name)
    if config.data.faces.method == "official_crops":
        for member in members(dataset):
            member.use_crops()
    return dataset


def _why_left_out(clips: pd.DataFrame, store: ClipStore, sampling: Sampling) -> pd.Series:
    """Return, for each clip, the setting that excludes it from the run, or ''."""
    held = store.holds(clips)
    why = pd.Series("", index=clips.index, dtype=object).mask(~held, "data.policy=skip")
    for label, row in zip(clips.index[held], store.rows(clips[held]), strict=True):
        if not len(sampling.positions(store.length(row))):
            why[label] = f"data.sampling.rule={sampling.rule}, fewer than {sampling.frames} frames"
    return why


def _synthetic_root(config: DictConfig, before_work: Callable[[], object]) -> Path:
    """Return the folder of the synthetic dataset, named after its settings; write the dataset unless it exists."""
    generator = build(config.data.generate)
    root = Path(config.data.root) / generator.digest()
    if not root.exists():
        before_work()
    with meter("Drawing synthetic faces", "clips") as progress:
        generator.write(root, workers=config.data.workers or cpu_count(), progress=progress)
    return root


def write_expected(run: Path, data: ReadyData, folds: Sequence[Fold]) -> None:
    write_atomic(run / EXPECTED, json.dumps(expected_clips(data, folds), indent=0) + "\n")


def expected_clips(data: ReadyData, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return the clips that the pooled predictions must contain, and the dataset's others, as plain data."""
    clips = data.clips.iloc[rows_under_test(folds)]
    if unlearnable := data.unlearnable(folds):
        log.warning(unlearnable)
    return {
        "split": data.protocol.split,
        "skipped_folds": data.without_clips,
        "caveats": [*data.caveats, *([unlearnable] if unlearnable else [])],
        "untested": sorted(set(owners(data.clips)) & set(data.protocol.untested)),
        "left_out": {
            str(why): [f"{subject}/{clip}" for subject, clip in zip(part["subject"], part["clip"], strict=True)]
            for why, part in data.left_out.groupby("why")
        },
        "clips": clips[[*KEY, "target"]].to_dict("records"),
    }
