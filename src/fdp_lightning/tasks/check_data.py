"""`task=check_data`: is a copy complete, which clips does each protocol hold, and what is wrong with the annotation?"""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.console.progress import clock, meter
from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.annotations.corrections import VERSION, correct
from fdp_lightning.data.checks.clips import annotation_remarks, folder_problems, list_folders
from fdp_lightning.data.checks.near_copies import copy_problems
from fdp_lightning.data.checks.pictures import decode_problems, pictures, size_problems
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.checks.tables import print_problems, print_protocols
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import MissingTableError
from fdp_lightning.data.protocols.clip_tables import Releases, members
from fdp_lightning.data.protocols.counts import count
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.engine.dataset import build_protocol, open_dataset
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import settings
from fdp_lightning.labels import KEY
from fdp_lightning.processes import cpu_count


def check_data(config: DictConfig) -> None:
    """Print the table of protocols and problems, and write check.json.

    Raises:
        UserError: the copy is not as published, after everything was printed and written.
    """
    start = time.monotonic()
    protocol = build_protocol(config)
    dataset = open_dataset(config)
    releases = Releases(dataset)
    others = {name: other for name, other in _protocols_of(config.data.name).items() if name != protocol.name}
    counted = {name: _count_other(other, releases, config.corrections) for name, other in others.items()}
    instead = [name for name, table in counted.items() if "not_in_this_copy" not in table]
    clips = None
    try:
        clips = releases.table(protocol)  # a mistake in the copy's own labels is said here
        chosen = _counted(protocol, correct(clips, config.corrections))
    except MissingTableError as error:
        if not instead:
            raise
        alike = [name for name in instead if others[name].class_names == protocol.class_names]
        chosen = _without_labels(protocol, error, alike or instead)
    tables = {protocol.name: chosen, **counted}
    problems: list[Problem] = []
    shown: list[tuple[str, list[Path]]] = []
    looked_at = 0
    for member in (parts := members(dataset)):
        # A dataset alone may name the sets its clips are of.
        own = [] if clips is None else [clips if len(parts) == 1 else clips[clips["dataset"] == member.table_name]]
        # What another release of the labels holds is no folder without a label, and its errors are worth knowing too.
        every = [*own, *releases.every_release(member, others.values())]
        problems += [problem for table in every for problem in annotation_remarks(table)]
        corrected = pd.concat([correct(table, config.corrections) for table in every]).drop_duplicates(KEY)
        looked, pictured = _looked_at(member, corrected.sort_values(KEY, ignore_index=True), config.check_data.deep)
        problems += looked
        shown += pictured
        looked_at += len(corrected)
    with meter("Comparing subjects", "clips") as progress:
        problems += copy_problems(shown, cpu_count(), progress)
    problems = list(dict.fromkeys(problems))
    if clips is not None and chosen["n_clips"] == 0:
        detail = f"protocol {protocol.name} finds no clip of its classes in {config.data.root}"
        problems.append(Problem(config.data.name, "no_clips", detail))
    output = Path(config.check_data.output or Path("checks") / protocol.name / "check.json").expanduser()
    result = {
        "dataset": config.data.name,
        "protocol": protocol.name,
        **{key: chosen[key] for key in ("n_clips", "n_subjects", "classes", "expected", "differences", "left_out")},
        "corrections": config.corrections,
        "corrections_version": VERSION,
        "deep": config.check_data.deep,
        "problems": [{"clip": p.clip, "kind": p.kind, "detail": p.detail, "fatal": p.fatal} for p in problems],
        "protocols": tables,
    }
    print_protocols(config.data.name, tables, chosen["differences"], chosen["left_out"])
    print_problems(problems, [member.root for member in members(dataset)])
    took = clock(time.monotonic() - start)
    fatal = sum(problem.fatal for problem in problems)
    print(f"\n{looked_at} clips looked at in {took}: {len(problems)} problems, {fatal} not as published")
    if not config.check_data.deep:
        print("Of each clip a few pictures were decoded; check_data.deep=true decodes every picture.")
    if config.data.generate is not None:
        print("This is the set that is drawn here, not your copy of a dataset: for that add data=casme2 or the like.")
    _write(output, result)
    print(f"All by clip: {output}")
    if protocol.expected and not protocol.published:
        print(f"The counts of {protocol.name} are published for other labels than these (protocol.labels).")
    if clips is None:
        raise UserError(
            f"the copy of {config.data.name} in {config.data.root} is not as published: {chosen['differences'][0]}"
        )
    accepted = chosen["differences"] and not protocol.strict
    if accepted:
        print("Counts that differ are accepted: protocol.strict=false.")
    if fatal or (chosen["differences"] and not accepted):
        ways_out = ["data.policy"] * bool(fatal) + ["protocol.strict=false"] * bool(
            chosen["differences"] and not accepted
        )
        raise UserError(
            f"the copy of {config.data.name} in {config.data.root} is not as published: "
            f"{len(chosen['differences'])} counts differ, {fatal} problems are of this copy alone.\n"
            f"  All of them by clip: {output}. Correct the copy, or see {' and '.join(ways_out)}."
        )


def _write(output: Path, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    try:
        # A file's name may be no valid text; what replaces its bytes is an escape that JSON knows.
        write_atomic(output, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}).\n"
            "  Expected a file in a folder that you may write to: set check_data.output, or start in another folder."
        ) from error


def _looked_at(
    member: FaceDataset, clips: pd.DataFrame, deep: bool
) -> tuple[list[Problem], list[tuple[str, list[Path]]]]:
    """The problems of one dataset's folders and pictures, and the pictures of each clip."""
    listings = list_folders(clips["folder"])
    found = folder_problems(member, clips, listings)
    shown = pictures(clips, listings)
    found += size_problems(shown, cpu_count())
    if deep:
        # Decoding looks at all that the listing and the headers did, and says more.
        found = [problem for problem in found if problem.kind not in ("unreadable_frame", "small_file")]
        with meter(f"Decoding {member.table_name}", "pictures") as progress:
            found += decode_problems(shown, cpu_count(), progress)
    return found, shown


def _protocols_of(dataset: str) -> dict[str, Protocol]:
    """All protocols of the project that are made for a dataset, by name."""
    files = sorted((CONF_DIR / "protocol").glob("[!_]*.yaml"))
    # Each file says its dataset itself: composing all of them would take seconds.
    names = [path.stem for path in files if OmegaConf.select(OmegaConf.load(path), "dataset") == dataset]
    return {name: settings(Protocol, configuration(f"protocol={name}").protocol) for name in names}


def _count_other(protocol: Protocol, releases: Releases, corrections: str) -> dict[str, Any]:
    """The counts of a protocol that was not asked for; its labels may not be in this copy."""
    try:
        clips = correct(releases.table(protocol), corrections)
    except UserError as error:
        return {"not_in_this_copy": str(error).splitlines()[0], "expected": protocol.published}
    if not protocol.parts and clips[protocol.column].eq("").all():
        return {"not_in_this_copy": f"no clip has a value of '{protocol.column}'", "expected": protocol.published}
    return _counted(protocol, clips)


def _without_labels(protocol: Protocol, error: MissingTableError, instead: list[str]) -> dict[str, Any]:
    """What to say of the chosen protocol where its labels are not in the copy, but those of others are."""
    missing = str(error).splitlines()[0]
    difference = f"{missing} The labels that are there suit other protocols: protocol={' or protocol='.join(instead)}"
    return {
        "not_in_this_copy": missing,
        "n_clips": 0,
        "n_subjects": 0,
        "classes": dict.fromkeys(protocol.class_names, 0),
        "expected": protocol.published,
        "differences": [difference],
        "left_out": {},
    }


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
