"""Problems of a dataset copy: in its annotation, its folder listings and its images."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.action_units import parse
from fdp_lightning.data.annotations.clips import clip_id, has_interval
from fdp_lightning.data.annotations.corrections import as_published, correction_problems
from fdp_lightning.data.checks.problems import Problem, remark, some
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.faces.frames import (
    IMAGE_SUFFIXES,
    FrameFile,
    UnreadableImageError,
    decoded,
    image_size,
    list_frames,
    read_image,
    unreadable,
)
from fdp_lightning.labels import KEY

_LONG = 10  # clips this many times longer than the median are reported: their annotation is probably wrong
_Clip = tuple[str, list[Path]]


@dataclass(frozen=True)
class Listing:
    """Frames found in one folder, or the reason why there are none."""

    files: list[FrameFile]
    trouble: str = ""


def annotation_remarks(table: pd.DataFrame) -> Iterator[Problem]:
    """Yield the problems of a table read with `corrections=none`; rows known to be published broken are not fatal."""
    known = correction_problems(table)
    published = {problem.clip for problem in known}
    yield from known
    yield from (replace(p, fatal=p.fatal and p.clip not in published) for p in annotation_problems(table))
    for problems_of in (_without_apex, _unit_problems, _lengths, _overlaps):
        yield from problems_of(table)


def annotation_problems(table: pd.DataFrame) -> Iterator[Problem]:
    doubled, usable = table.duplicated(KEY, keep=False), has_interval(table)
    for (_, row), is_doubled, is_usable in zip(table.iterrows(), doubled, usable, strict=True):
        clip, onset, apex, offset = clip_id(row), row["onset"], row["apex"], row["offset"]
        if not row["subject"] or not row["clip"]:
            yield Problem(clip, "no_name", "a row without subject or clip name")
        if is_doubled:
            yield Problem(clip, "listed_twice", "more than one row has this subject, clip and onset")
        if not is_usable:
            yield Problem(clip, "bad_interval", f"onset {onset}, offset {offset}")
        elif not pd.isna(apex) and not onset <= apex <= offset:
            yield remark(clip, "apex_outside", f"apex {apex} lies outside {onset}..{offset}")
        elif not pd.isna(apex) and apex in (onset, offset) and onset != offset:
            where = "onset" if apex == onset else "offset"
            yield remark(clip, f"apex_at_{where}", f"apex and {where} are both {apex}")
        if row["remark"]:
            yield remark(clip, "read_otherwise", row["remark"])


def list_folders(folders: Iterable[str]) -> dict[str, Listing]:
    """Return the frames of each folder; every folder is listed once."""
    listings = {}
    for folder in dict.fromkeys(folders):
        try:
            listings[folder] = Listing(list_frames(Path(folder)))
        except OSError as error:
            listings[folder] = Listing([], f"{folder}: {error.strerror}")
    return listings


def folder_problems(dataset: FaceDataset, clips: pd.DataFrame, listings: Mapping[str, Listing]) -> Iterator[Problem]:
    """Yield differences between frames and annotation, unlabelled folders, and clips that look like copies."""
    if not dataset.has_frames():
        detail = f"{dataset.frame_root()} is missing or holds no subject: the frames could not be checked"
        yield Problem(dataset.table_name, "missing_folder", detail)
        return
    if deeper := dataset.found_deeper():
        yield remark(dataset.table_name, "found_deeper", f"the frames are read from {deeper}")
    published = as_published(clips, "frames")
    for (_, row), is_usable in zip(clips.iterrows(), has_interval(clips), strict=True):
        clip, folder = clip_id(row), row["folder"]
        excused = clip in published
        if listings[folder].trouble:
            yield Problem(clip, "missing_folder", listings[folder].trouble, fatal=not excused)
        elif is_usable:
            onset, offset = int(row["onset"]), int(row["offset"])
            files = [file for file in listings[folder].files if onset <= file.number <= offset]
            excused = excused or (dataset.gaps_are_normal and bool(files))
            yield from _frame_problems(clip, folder, files, onset, offset, excused)
    if dataset.frames not in dataset.recordings:
        yield from _extra(clips[has_interval(clips)], listings)
        yield from _unlabelled(dataset, set(clips["folder"]))
    yield from _copies(clips, listings)


def images_of(clips: pd.DataFrame, listings: Mapping[str, Listing]) -> list[_Clip]:
    """Return each clip that has images, with the paths of those in its interval."""
    found = []
    for usable, (_, row) in zip(has_interval(clips), clips.iterrows(), strict=True):
        files = listings[row["folder"]].files if usable else []
        if paths := [file.path for file in files if row["onset"] <= file.number <= row["offset"]]:
            found.append((clip_id(row), paths))
    return found


def size_problems(clips: Sequence[_Clip], workers: int = 1) -> Iterator[Problem]:
    """Yield clips whose first image has an unusual size or an unreadable header; only headers are read."""
    with ThreadPoolExecutor(workers) as pool:
        sizes = list(pool.map(partial(_size, image_size), [paths[0] for _, paths in clips]))
    counts = Counter(size for size in sizes if not isinstance(size, str))
    usual = next((size for size, _ in counts.most_common(1)), (0, 0))
    for (clip, paths), size in zip(clips, sizes, strict=True):
        if isinstance(size, str):
            yield Problem(clip, "unreadable_frame", size)
        elif size != usual:
            yield remark(clip, "odd_size", f"{paths[0]} is {size[0]}x{size[1]}, most clips are {usual[0]}x{usual[1]}")


def decode_problems(clips: Sequence[_Clip], workers: int, progress: Callable[[int, int], None]) -> Iterator[Problem]:
    """Yield every image that cannot be decoded or differs in size from the first one of its clip, see `decoded`."""
    jobs = [(clip, path) for clip, paths in clips for path in paths]
    first_of: dict[str, tuple[int, int]] = {}
    sizes = decoded(partial(_size, _decoded_size), [path for _, path in jobs], workers, progress)
    for (clip, path), size in zip(jobs, sizes, strict=True):
        if isinstance(size, str):
            yield Problem(clip, "unreadable_frame", size)
        elif size != (first := first_of.setdefault(clip, size)):
            detail = f"{path} is {size[0]}x{size[1]}, the clip began with {first[0]}x{first[1]}"
            yield Problem(clip, "odd_size", detail)


def _size(read: Callable[[Path], tuple[int, int]], path: Path) -> tuple[int, int] | str:
    """Return width and height, or a description of what is wrong with the file."""
    try:
        return read(path)
    except UnreadableImageError as error:
        return str(error)


def _decoded_size(path: Path) -> tuple[int, int]:
    height, width = read_image(path).shape[:2]
    return width, height


def _frame_problems(
    clip: str, folder: str, inside: list[FrameFile], onset: int, offset: int, excused: bool
) -> Iterator[Problem]:
    counts = Counter(file.number for file in inside)
    first, last = (min(counts), max(counts)) if counts else (offset + 1, offset)
    # Counted, not listed: an offset with a digit too many would produce lists of millions.
    gaps = last - first + 1 - len(counts)
    at_the_ends = offset - onset + 1 - len(counts) - gaps
    for kind, lacking, places in (
        ("missing_frames", at_the_ends, chain(range(onset, first), range(last + 1, offset + 1))),
        ("gap", gaps, (number for number in range(first, last) if number not in counts)),
    ):
        if lacking:
            verb = "is" if lacking == 1 else "are"
            detail = f"{folder}: {lacking} of the frames {onset}..{offset} {verb} missing ({some(places)})"
            yield Problem(clip, kind, detail, fatal=not excused)
    if len(counts) < len(inside):
        twice = some(number for number, files_of_it in sorted(counts.items()) if files_of_it > 1)
        yield Problem(clip, "doubled_frames", f"{folder}: frame {twice} occurs more than once")
    for file in inside:
        if trouble := unreadable(file.path):
            yield Problem(clip, "unreadable_frame", trouble)
    # Frames of one recording have similar sizes: a much smaller file may be truncated.
    usual = sorted(file.size for file in inside)[len(inside) // 2] if inside else 0
    for file in inside:
        if 0 < file.size < usual / 2:
            about = f"the clip's other files about {usual}; check_data.deep=true decodes it"
            yield remark(clip, "small_file", f"{file.path} has {file.size} bytes, {about}")


def _extra(clips: pd.DataFrame, listings: Mapping[str, Listing]) -> Iterator[Problem]:
    """Yield frames that no clip of their folder covers, under the name of the folder's first clip."""
    for folder, rows in clips.groupby("folder", sort=False):
        covered = list(zip(rows["onset"], rows["offset"], strict=True))
        numbers = (file.number for file in listings[str(folder)].files)
        if extra := [number for number in numbers if not any(first <= number <= last for first, last in covered)]:
            detail = f"{folder}: frames {some(extra)} lie outside the annotation ({len(extra)})"
            yield remark(clip_id(rows.iloc[0]), "extra_frames", detail)


def _unlabelled(dataset: FaceDataset, labelled: set[str]) -> Iterator[Problem]:
    """Yield folders with images that contain no annotated clip."""
    root = dataset.frame_root()
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name.lower() not in dataset.other_folders)
        is_known = place in labelled or place == str(root)
        if not is_known and any(os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES for name in files):  # noqa: PTH122
            detail = f"{place}: images that do not belong to an annotated clip"
            yield remark(str(Path(place).relative_to(root)), "unlabelled_folder", detail)


def _copies(clips: pd.DataFrame, listings: Mapping[str, Listing]) -> Iterator[Problem]:
    """Yield folders whose files have the same sizes in the same order: probably one clip under two names."""
    first_with: dict[tuple[int, ...], str] = {}
    for folder, rows in clips.groupby("folder", sort=False):
        sizes = tuple(file.size for file in listings[str(folder)].files)
        # Two files of the same size may be chance, and uncompressed images all have the same size.
        if len(sizes) < 3 or len(set(sizes)) == 1:
            continue
        twin = first_with.setdefault(sizes, str(folder))
        if twin != folder:
            detail = f"{folder}: its files have the same sizes, one by one, as those in {twin}"
            yield remark(clip_id(rows.iloc[0]), "same_frames", detail)


def _unit_problems(table: pd.DataFrame) -> Iterator[Problem]:
    if table["action_units"].eq("").all():  # no remark on every clip of a dataset without units (SMIC)
        return
    for _, row in table.iterrows():
        cell, units = row["action_units"], parse(row["action_units"])
        if units.unreadable:
            detail = f"'{cell}': {', '.join(units.unreadable)} is not an action unit"
            yield remark(clip_id(row), "unreadable_action_units", detail)
        elif units.uncertain:
            yield remark(clip_id(row), "uncertain_action_units", f"'{cell}'")
        elif not cell:
            yield remark(clip_id(row), "no_action_units", "the cell is blank")


def _without_apex(table: pd.DataFrame) -> Iterator[Problem]:
    """Yield clips without an apex, if the annotation has apexes at all."""
    if table["apex"].notna().any():
        for _, row in table[table["apex"].isna()].iterrows():
            yield remark(clip_id(row), "apex_unknown", "no apex is annotated")


def _lengths(table: pd.DataFrame) -> Iterator[Problem]:
    lengths = (table["offset"] - table["onset"] + 1)[has_interval(table)]
    usual = lengths.median() if len(lengths) else 0
    for place, frames in lengths[lengths > usual * _LONG].items():
        yield remark(clip_id(table.loc[place]), "odd_length", f"{frames} frames, the median clip has {usual:g}")


def _overlaps(table: pd.DataFrame) -> Iterator[Problem]:
    """Yield each clip that begins before the end of an earlier one of its folder."""
    for _, rows in table[has_interval(table)].groupby(["dataset", "folder"], sort=False):
        ordered = rows.drop_duplicates(KEY).sort_values("onset")
        latest = ordered.iloc[0]
        for _, row in ordered.iloc[1:].iterrows():
            if latest["offset"] >= row["onset"]:
                detail = f"{row['onset']}..{row['offset']} overlaps {latest['onset']}..{latest['offset']}"
                yield remark(clip_id(row), "overlap", f"{detail} of the same folder")
            latest = row if row["offset"] > latest["offset"] else latest
