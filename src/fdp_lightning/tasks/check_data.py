"""`task=check_data`: completeness of a copy, clips of each protocol, and problems of the annotation."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.console.progress import clock, meter
from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.annotations.corrections import VERSION, correct
from fdp_lightning.data.checks.clips import (
    annotation_remarks,
    decode_problems,
    folder_problems,
    images_of,
    list_folders,
    size_problems,
)
from fdp_lightning.data.checks.near_copies import copy_problems
from fdp_lightning.data.checks.problems import Problem, refused
from fdp_lightning.data.checks.tables import print_problems, print_protocols, print_without_frames
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import MissingTableError
from fdp_lightning.data.protocols.clip_tables import Releases, members
from fdp_lightning.data.protocols.counts import count
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.data.store.build import POLICIES
from fdp_lightning.engine.dataset import build_protocol, open_dataset
from fdp_lightning.errors import UserError, first_line
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import settings
from fdp_lightning.labels import KEY
from fdp_lightning.processes import cpu_count

_OF_CHOSEN = ("n_clips", "n_subjects", "classes", "without_frames", "expected", "differences", "left_out")


def check_data(config: DictConfig) -> None:
    """Print protocols and problems, write check.json, and raise UserError if the copy is not as published."""
    start = time.monotonic()
    protocol = build_protocol(config)
    dataset = open_dataset(config)
    releases = Releases(dataset)
    others = {name: other for name, other in _protocols_of(config.data.name).items() if name != protocol.name}
    unpublished = protocol.expected and not protocol.published
    if unpublished:  # labels of another release were requested: other protocols with the usual ones use them too
        usual = protocol.expected.get("labels")
        others = {
            name: replace(other, labels=protocol.labels) if other.labels == usual else other
            for name, other in others.items()
        }
    counted = {name: _count_other(other, releases, config.corrections) for name, other in others.items()}
    instead = [name for name, table in counted.items() if "not_in_this_copy" not in table]
    clips = None
    try:
        clips = releases.table(protocol)  # raises if the copy's own labels are invalid
        chosen = _counted(protocol, correct(clips, config.corrections))
    except MissingTableError as error:
        if not instead:
            raise
        missing = first_line(error)
        alike = [name for name in instead if others[name].class_names == protocol.class_names] or instead
        suited = f"The labels in the copy suit other protocols: protocol={' or protocol='.join(alike)}"
        no_clips = releases.table(others[alike[0]]).iloc[:0]
        chosen = _counted(protocol, no_clips)
        chosen |= {"not_in_this_copy": missing, "differences": [f"{missing} {suited}"]}
    tables = {protocol.name: chosen, **counted}
    problems: list[Problem] = []
    shown: list[tuple[str, list[Path]]] = []
    checked = 0
    for member in (parts := members(dataset)):
        # A single dataset may name the sets that its clips come from.
        own = [] if clips is None else [clips if len(parts) == 1 else clips[clips["dataset"] == member.table_name]]
        # A clip that only another release labels is not an unlabelled folder, and its errors matter too.
        every = [*own, *releases.every_release(member, others.values())]
        problems += [problem for table in every for problem in annotation_remarks(table)]
        corrected = pd.concat([correct(table, config.corrections) for table in every]).drop_duplicates(KEY)
        found, images = _check_folders(member, corrected.sort_values(KEY, ignore_index=True), config.check_data.deep)
        problems += found
        shown += images
        checked += len(corrected)
    with_frames = {clip for clip, _ in shown}
    for table in tables.values():
        if "clips" in table:
            table["without_frames"] = [clip for clip in table["clips"] if clip not in with_frames]
    with meter("Comparing subjects", "clips") as progress:
        problems += copy_problems(shown, cpu_count(), progress)
    problems = list(dict.fromkeys(problems))
    if clips is not None and chosen["n_clips"] == 0:
        detail = f"protocol {protocol.name} finds no clip of its classes in {config.data.root}"
        problems.append(Problem(config.data.name, "no_clips", detail))
    differences, copy = chosen["differences"], f"the copy of {config.data.name} in {config.data.root}"
    output = Path(config.check_data.output or f"checks/{protocol.name}/check.json").expanduser()
    result = {
        "dataset": config.data.name,
        "protocol": protocol.name,
        **{key: chosen[key] for key in _OF_CHOSEN},
        "corrections": config.corrections,
        "corrections_version": VERSION,
        "deep": config.check_data.deep,
        "problems": [asdict(problem) for problem in problems],
        "protocols": tables,
    }
    print_protocols(config.data.name, tables, differences, chosen["left_out"])
    without = chosen["without_frames"]
    if without and with_frames:
        print_without_frames(protocol.name, chosen["clips"], without)
    print_problems(problems, [member.root for member in parts])
    took = clock(time.monotonic() - start)
    fatal = sum(problem.fatal for problem in problems)
    print(f"\n{checked} clips checked in {took}: {len(problems)} problems, {fatal} not as published")
    if not config.check_data.deep:
        print("A few images of each clip were decoded; check_data.deep=true decodes all of them.")
    if config.data.generate is not None:
        print("This is the synthetic set, not your copy of a dataset; to check one add data=casme2 (for example).")
    write_atomic(output, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"All problems by clip: {output}")
    if unpublished:
        print(
            f"The published counts of {protocol.name} are for labels other than these (protocol.labels="
            f"{protocol.labels}): the table shows what this copy contains; whether it is complete is unknown."
        )
    if clips is None:
        raise UserError(f"{copy} is not as published: {differences[0]}")
    if differences and not protocol.strict:
        print("Counts that differ are accepted: protocol.strict=false.")
    stopping = refused(problems, policy := config.data.policy, chosen["clips"], with_frames)
    if fatal > stopping:
        print(f"{fatal - stopping} problems with frames are accepted: data.policy={policy}.")
    ways = [way for way in POLICIES if not refused(problems, way, chosen["clips"], with_frames)] if stopping else []
    options = [f"data.policy={way}" for way in ways] + ["protocol.strict=false"] * bool(differences and protocol.strict)
    if stopping or options:
        see = f", or see {' and '.join(options)}" if options else ""
        frameless = f"{len(without)} of the {chosen['n_clips']} clips have no frames, " if without else ""
        raise UserError(
            f"{copy} is not as published: {frameless}{len(differences)} counts differ, "
            f"{stopping} problems are only in this copy.\n"
            f"  All of them by clip: {output}. Correct the copy{see}."
        )


def _check_folders(
    member: FaceDataset, clips: pd.DataFrame, deep: bool
) -> tuple[list[Problem], list[tuple[str, list[Path]]]]:
    """Return the problems of one dataset's folders and images, and the image files of each clip."""
    listings = list_folders(clips["folder"])
    shown = images_of(clips, listings)
    found = [*folder_problems(member, clips, listings), *size_problems(shown, cpu_count())]
    if deep:
        # Decoding repeats these checks of the listing and the headers, and reports more.
        found = [problem for problem in found if problem.kind not in ("unreadable_frame", "small_file")]
        with meter(f"Decoding {member.table_name}", "images") as progress:
            found += decode_problems(shown, cpu_count(), progress)
    return found, shown


def _protocols_of(dataset: str) -> dict[str, Protocol]:
    files = sorted((CONF_DIR / "protocol").glob("[!_]*.yaml"))
    # Each file states its dataset; composing all of them would take seconds.
    names = [path.stem for path in files if OmegaConf.select(OmegaConf.load(path), "dataset") == dataset]
    return {name: settings(Protocol, configuration(f"protocol={name}").protocol) for name in names}


def _count_other(protocol: Protocol, releases: Releases, corrections: str) -> dict[str, Any]:
    """Return the counts of a protocol other than the chosen one; its labels may not be in this copy."""
    try:
        clips = correct(releases.table(protocol), corrections)
    except UserError as error:
        return {"not_in_this_copy": first_line(error), "expected": protocol.published}
    if not protocol.parts and clips[protocol.column].eq("").all():
        return {"not_in_this_copy": f"no clip has a value of '{protocol.column}'", "expected": protocol.published}
    return _counted(protocol, clips)


def _counted(protocol: Protocol, clips: pd.DataFrame) -> dict[str, Any]:
    chosen = protocol.choose(clips)
    found = count(chosen, protocol.class_names, protocol.label_kind)
    return {
        "n_clips": found["clips"],
        "n_subjects": found["subjects"],
        "classes": found["classes"],
        "expected": protocol.published,
        "differences": protocol.differences(chosen, clips),
        "left_out": {
            str(why): [clip_id(row) for _, row in part.iterrows()]
            for why, part in protocol.left_out(clips).groupby("why")
        },
        "clips": [clip_id(row) for _, row in chosen.iterrows()],
    }
