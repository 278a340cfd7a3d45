"""A protocol: which clips of which labels form which classes. It is data (conf/protocol/*.yaml), not code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from fdp_lightning.data.clips import name_clips
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Protocol:
    """The classification task of a dataset.

    Args:
        name: as in the field and in this project's tables.
        dataset: the name of the dataset it is made for.
        labels: the annotation release, e.g. '2014'; None: the dataset's default.
        column: 'emotion' or 'objective', the column that names the class.
        classes: class → the labels merged into it, in the order of the predictions' columns.
        exclude: clips ('subject/clip') left out by name.
        untested: subjects that train and are never held out, as in the released code of FDP. Only to reproduce:
            a score over fewer subjects is not comparable with one over all.
        expected: 'clips', 'subjects' and 'classes' (class → clips) as published; empty when nothing is.
        strict: counts that differ from the expected are an error.
        source: where the counts come from.
    """

    name: str
    dataset: str
    classes: Mapping[str, Sequence[str]]
    labels: str | None = None
    column: str = "emotion"
    exclude: Sequence[str] = ()
    untested: Sequence[str] = ()
    expected: Mapping[str, object] = field(default_factory=dict)
    strict: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        if self.column not in ("emotion", "objective"):
            raise UserError(f"protocol.column is '{self.column}'; expected emotion or objective (protocol {self.name})")
        if not isinstance(self.classes, Mapping) or any(isinstance(labels, str) for labels in self.classes.values()):
            raise UserError(f"protocol.classes of {self.name}: expected class: [label, …], found {self.classes!r}")
        merged = [str(label).lower() for labels in self.classes.values() for label in labels]
        if doubled := sorted({label for label in merged if merged.count(label) > 1}):
            raise UserError(f"protocol.classes of {self.name}: {', '.join(doubled)} belongs to more than one class")
        # A name must be text: YAML reads 036 as the number 30.
        listed = isinstance(self.untested, Sequence) and not isinstance(self.untested, str)
        if not listed or not all(isinstance(name, str) for name in self.untested):
            raise UserError(
                f'protocol.untested of {self.name}: expected subjects\' names in quotes, as in ["036"], '
                f"found {self.untested!r}"
            )
        counted = self.expected.get("classes", {}) if isinstance(self.expected, Mapping) else None
        if not isinstance(self.expected, Mapping) or not isinstance(counted, Mapping):
            raise UserError(f"protocol.expected of {self.name}: expected counts by name, found {self.expected!r}")
        unknown = [*(set(self.expected) - {"clips", "subjects", "classes"}), *(set(counted) - set(self.classes))]
        if unknown:
            raise UserError(
                f"protocol.expected of {self.name} counts {', '.join(sorted(map(str, unknown)))}; "
                f"expected clips, subjects, and classes of {', '.join(self.classes)}"
            )

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of the predictions' columns."""
        return list(self.classes)

    def apply(self, clips: pd.DataFrame) -> pd.DataFrame:
        """The clips of this protocol, with their class in a new column `target`.

        Raises:
            UserError: no clip is left, the counts differ from the published ones, or `exclude` or `untested` names
                what is not annotated.
        """
        class_of = {str(label).lower(): name for name, labels in self.classes.items() for label in labels}
        target = clips[self.column].str.lower().map(class_of)
        named = (clips["subject"] + "/" + clips["clip"]).isin(list(self.exclude))
        absent = sorted(set(self.exclude) - set(clips["subject"] + "/" + clips["clip"]))
        if absent and self.strict:
            raise UserError(
                f"protocol {self.name} leaves out clips that are not annotated: {', '.join(absent)}.\n"
                "  Expected 'subject/clip' as in the annotation; mend protocol.exclude, or set protocol.strict=false."
            )
        unknown = sorted(set(self.untested) - set(clips["subject"]))
        if unknown and self.strict:
            raise UserError(
                f"protocol {self.name} does not test subjects that are not annotated: {', '.join(unknown)}.\n"
                f"  Annotated: {', '.join(sorted(set(clips['subject'])))}. "
                "Mend protocol.untested, or set protocol.strict=false."
            )
        chosen = clips.assign(target=target)[target.notna() & ~named].reset_index(drop=True)
        if chosen.empty:
            found = ", ".join(sorted(set(clips[self.column]))) or "none"
            raise UserError(
                f"protocol {self.name} finds no clip of its classes {', '.join(class_of)}.\n"
                f"  Values of '{self.column}' in the annotation: {found}. Is this the protocol of your dataset?"
            )
        differences = self.differences(chosen)
        if differences and self.strict:
            raise UserError(
                f"protocol {self.name} expects other counts than your copy of {self.dataset} has:\n  "
                + "\n  ".join(differences)
                + f"\n  Published counts: {self.source or 'conf/protocol'}."
                + "\n  Mend the copy, or accept it as it is with protocol.strict=false (say so beside your scores)."
            )
        return chosen

    def differences(self, chosen: pd.DataFrame) -> list[str]:
        """Each count of a table of this protocol that is not as published, with the clips of the class it concerns."""
        found: dict[str, object] = {
            "clips": len(chosen),
            "subjects": len(chosen[["dataset", "subject"]].drop_duplicates()),
        }
        lines = [
            f"{name}: {self.expected[name]} expected, {found[name]} found"
            for name in found
            if name in self.expected and self.expected[name] != found[name]
        ]
        expected_classes = self.expected.get("classes", {})
        assert isinstance(expected_classes, Mapping)
        for name, expected in expected_classes.items():
            members = chosen[chosen["target"] == name]
            if len(members) != expected:
                lines.append(f"{name}: {expected} expected, {len(members)} found ({name_clips(members)})")
        return lines
