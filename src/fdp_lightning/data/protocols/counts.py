"""Published counts of a protocol, and differences of a copy from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fdp_lightning.data.annotations.clips import name_clips, names_of
from fdp_lightning.labels import KEY, OWNER, LabelKind

# Subjects of the datasets whose annotation is known to list every subject.
_SUBJECTS = {
    "casme2": [f"{n:02d}" for n in range(1, 27)],
    "samm": [f"{n:03d}" for n in (6, 7, *range(9, 27), 28, *range(30, 38))],
    "smic": [f"{n:02d}" for n in (*range(1, 7), 8, 9, *range(11, 16), *range(18, 21))],
}


def count(chosen: pd.DataFrame, class_names: Sequence[str], kind: LabelKind = LabelKind.SINGLE) -> dict[str, Any]:
    """Count clips, subjects (separately by dataset) and clips per class of a table with the column `target`."""
    found = names_of(chosen["target"], kind).value_counts()
    return {
        "clips": len(chosen),
        "subjects": len(chosen[OWNER].drop_duplicates()),
        "classes": {name: int(found.get(name, 0)) for name in class_names},
    }


def count_differences(
    counts: Mapping[str, Any], chosen: pd.DataFrame, clips: pd.DataFrame, column: str = "emotion"
) -> list[str]:
    """Return each count that differs from the published one, with the clips found or what is known about missing ones.
    `chosen` are the clips of the protocol among all `clips`, with their class in `target`.
    """
    classes, kind = counts.get("classes", {}), LabelKind.of_column(column)
    found = count(chosen, list(classes), kind)
    lines = [
        f"{name}: {counts[name]} expected, {found[name]} found"
        for name in ("clips", "subjects")
        if counts.get(name, found[name]) != found[name]
    ]
    names = names_of(chosen["target"], kind)
    missing = {name: expected - found["classes"][name] for name, expected in classes.items()}
    for name, lacking in missing.items():
        if lacking:
            there = name_clips(chosen.loc[names.index[names == name]], most=400)
            named = f"{lacking} missing" if lacking > 0 else there
            lines.append(f"{name}: {classes[name]} expected, {found['classes'][name]} found ({named})")
    by_dataset = chosen["dataset"].value_counts()
    for name, expected in counts.get("datasets", {}).items():
        if by_dataset.get(name, 0) != expected:
            lines.append(f"{name}: {expected} clips expected, {by_dataset.get(name, 0)} found")
    for name, part in counts.get("splits", {}).items():
        own, all_own = (table[table["split"] == name] for table in (chosen, clips))
        lines += [f"{name}: {line}" for line in count_differences(part, own, all_own, column)]
    if any(lacking > 0 for lacking in missing.values()) or len(chosen) < counts.get("clips", 0):
        lines += [*_absent_subjects(clips), *_left_out(chosen, clips, column)]
    return lines


def _absent_subjects(clips: pd.DataFrame) -> list[str]:
    lines = []
    for dataset, part in clips.groupby("dataset"):
        if absent := [name for name in _SUBJECTS.get(str(dataset), []) if name not in set(part["subject"])]:
            lines.append(f"subjects of {dataset} without an annotated clip: {', '.join(absent)} ({len(absent)})")
    return lines


def _left_out(chosen: pd.DataFrame, clips: pd.DataFrame, column: str) -> list[str]:
    """Return the annotated clips that are in no class, by label; missing clips may be among them."""
    taken = pd.MultiIndex.from_frame(chosen[KEY])
    rest = clips[~pd.MultiIndex.from_frame(clips[KEY]).isin(taken)]
    return [
        f"annotated but in no class, '{label}': {len(part)} ({name_clips(part, most=400)})"
        for label, part in rest.groupby(column)
    ]
