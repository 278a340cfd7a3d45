"""Protocols: which clips and labels form which classes. A protocol is data (conf/protocol/*.yaml), not code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.console.option_values import require_settings
from fdp_lightning.data.annotations.action_units import (
    as_meant,
    check_units,
    classes_shown,
    parse,
    unreadable_lines,
)
from fdp_lightning.data.protocols.counts import count_differences
from fdp_lightning.data.protocols.splits import owners
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY, LabelKind, owners_of


@dataclass(frozen=True)
class Protocol:
    """Classification task of one or several datasets.

    Attributes:
        name: protocol name, as in the field and in this project's tables.
        dataset: name of the protocol's dataset.
        classes: class → the labels merged into it, in the order of the predictions' columns.
        labels: annotation release, e.g. '2014'; None for the dataset's default.
        column: column that holds the class: 'emotion', 'objective' or 'action_units'. With action units, a clip may
            belong to several classes or none (multi-label); its target is their names joined by '+'. Units with a
            question mark ('4?') count as shown; alternatives ('4or7') do not, because neither is certain. Sides and
            intensities are ignored. A clip without a unit of the protocol, even with a blank cell, is kept as showing
            none. A notation that `action_units.parse` cannot read is reported as a difference.
        include: unlabelled clip on disk ('subject/clip') → the label it is given.
        exclude: clips ('subject/clip') to leave out.
        read_as: with action units, clip ('subject/clip') → meaning of its cell ('R12+R15'), which is used only if the
            clip's own cell is ambiguous or unreadable.
        untested: subjects that are trained on but never held out, as in FDP's released code. For reproduction only: a
            score over fewer subjects is not comparable with one over all.
        split: split of the clips into folds, see `splits.make_folds`.
        folds: number of folds of the split 'kfold'.
        parts: dataset → the fields of its protocol, for a protocol over several datasets.
        expected: published counts, any of 'clips', 'subjects', 'classes' (class → clips), 'datasets' (dataset → clips),
            'splits' (the owners' part → its 'clips', 'subjects' and 'classes') and 'labels', the annotation release
            counted; empty if nothing is published.
        shuffled: seed for shuffling the labels within each subject (see `shuffle`), as a control; None for labels as
            annotated. `last` must fall to chance, and the excess of `oracle` over chance measures the gain from
            choosing the epoch on the test subject.
        strict: True to treat counts that differ from the expected ones as an error.
        source: source of the counts.
    """

    name: str
    dataset: str
    classes: Mapping[str, Sequence[str]]
    labels: str | None = None
    column: str = "emotion"
    include: Mapping[str, str] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    read_as: Mapping[str, str] = field(default_factory=dict)
    untested: Sequence[str] = ()
    split: str = "loso"
    folds: int = 5
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    shuffled: int | None = None
    strict: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        require_settings("protocol", self)
        merged = [str(label).lower() for labels in self.classes.values() for label in labels]
        if doubled := sorted({label for label in merged if merged.count(label) > 1}):
            raise UserError(f"protocol.classes of {self.name}: {', '.join(doubled)} belongs to more than one class")
        if self.label_kind.is_multi:
            check_units(self.classes, self.read_as, self.name)
        elif self.read_as:
            raise UserError(f"protocol.read_as of {self.name} needs protocol.column=action_units, not {self.column}")
        for option in ("labels", "include", "exclude", "read_as") if self.parts else ():
            if value := getattr(self, option):
                raise UserError(
                    f"protocol.{option} of {self.name} is {value!r}, but a protocol over several datasets sets it for "
                    f"each of them: protocol.parts.<dataset>.{option}"
                )
        for part in self.part_protocols().values():
            if part.untested:
                raise UserError(
                    f"protocol.parts of {self.name} names untested subjects of {part.dataset}; expected in "
                    f"protocol.untested, as {part.dataset}_{part.untested[0]}"
                )
            if self.class_names != part.class_names:
                raise UserError(
                    f"protocol.parts of {self.name}: {part.name} has the classes {', '.join(part.class_names)}, "
                    f"expected {', '.join(self.class_names)}"
                )
        for counts in (self.expected, *self.expected.get("splits", {}).values()):
            if unknown := sorted(map(str, set(counts.get("classes", {})) - set(self.class_names))):
                raise UserError(
                    f"protocol.expected of {self.name} counts {', '.join(unknown)}; expected classes of "
                    f"{', '.join(self.class_names)}"
                )

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of the predictions' columns."""
        return list(self.classes)

    @property
    def published(self) -> Mapping[str, object]:
        """Published counts of the labels in use; empty if they are of another release."""
        parts = self.part_protocols().values()
        counted = self.expected.get("labels", self.labels)
        if counted != self.labels or any(part.expected and not part.published for part in parts):
            return {}
        return self.expected

    @property
    def label_kind(self) -> LabelKind:
        return LabelKind.of_column(self.column)

    def part_protocols(self) -> dict[str, "Protocol"]:
        """Return dataset → its protocol, empty for a single dataset; parts inherit the fields they do not set."""
        if not self.parts:
            return {}
        shared = replace(self, parts={}, expected={}, source="", untested=())
        try:
            return {
                dataset: replace(shared, **{**fields, "dataset": dataset, "strict": self.strict})
                for dataset, fields in self.parts.items()
            }
        except TypeError as error:  # an unknown field
            raise UserError(f"protocol.parts of {self.name}: {error}") from error

    def of(self, dataset: str) -> "Protocol":
        """Return the protocol of one dataset: this one, or its part."""
        if not self.parts:
            return self
        if dataset not in self.parts:
            raise UserError(f"protocol {self.name} has no part for {dataset}; its parts: {', '.join(self.parts)}")
        return self.part_protocols()[dataset]

    def choose(self, clips: pd.DataFrame) -> pd.DataFrame:
        """Return the clips of this protocol, with their class in a new column `target`; counts are not checked."""
        if self.parts:
            chosen = [part.choose(own) for part, own in self._by_part(clips)]
            return pd.concat(chosen).sort_values(KEY, ignore_index=True)
        if self.label_kind.is_multi:
            target = as_meant(clips, self.read_as).map(lambda cell: classes_shown(cell, self.classes))
        else:
            class_of = {str(label).lower(): name for name, labels in self.classes.items() for label in labels}
            target = clips[self.column].str.lower().map(class_of)
        named = _names(clips).isin(list(self.exclude))
        return clips.assign(target=target)[target.notna() & ~named].reset_index(drop=True)

    def apply(self, clips: pd.DataFrame) -> pd.DataFrame:
        """Return the clips of this protocol after checking their counts, with their class in a new column `target`.

        Unless `strict`, clips with unreadable action units are left out: unknown does not mean "not shown". Raises
        UserError if no clip is left or, if `strict`, counts are not as published, or `exclude` or `untested` names an
        unknown clip or subject.
        """
        if self.strict:
            self._require_named(clips)
        chosen = self.choose(clips)
        if chosen.empty:
            found = ", ".join(sorted(set(clips[self.column]))) or "none"
            raise UserError(
                f"protocol {self.name} finds no clip of its classes {', '.join(self.class_names)}.\n"
                f"  Values of '{self.column}' in the annotation: {found}. Is this the protocol of your dataset?"
            )
        if self.strict and (differences := "\n  ".join(self.differences(chosen, clips))):
            raise UserError(
                f"protocol {self.name} and your copy of {self.dataset} do not agree:\n  {differences}\n"
                f"  Published counts: {self.source or 'conf/protocol'}.\n"
                "  Correct the copy (task=check_data names the clips whose frames it lacks), or accept it with "
                "protocol.strict=false (and state this with your scores)."
            )
        return chosen[self._unreadable(chosen) == ""].reset_index(drop=True)

    def shuffle(self, clips: pd.DataFrame) -> pd.Series:
        """Return the classes in `target`, permuted among each subject's clips if `shuffled` is set.

        After permuting over all clips, a fold's training classes would reveal the held-out ones by their absence: such
        runs end below chance. Subjects with a single clip are permuted among themselves.
        """
        targets = clips["target"].copy()
        if self.shuffled is None:
            return targets
        generator = np.random.default_rng(self.shuffled)
        subject = owners_of(clips)
        groups = subject.where(subject.map(subject.value_counts()) > 1, "")
        for _, rows in targets.groupby(groups):
            targets[rows.index] = generator.permutation(rows.to_numpy())
        return targets

    def differences(self, chosen: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
        """Return each count of `chosen` clips that differs from the published one, and each unreadable cell."""
        lines = []
        for part, own in self._by_part(clips):
            found = part.differences(chosen[chosen["dataset"] == part.dataset], own)
            lines += [f"{part.dataset}: {line}" for line in found]
        if self.label_kind.is_multi and not self.parts:
            lines += unreadable_lines(chosen, self._unreadable(chosen))
        counts = count_differences(self.published, chosen, clips, self.column)
        absent = sorted(set(self.include) - set(_names(clips)))
        if absent and (counts or not self.published):
            lines.append(f"to be included but not in this copy: {', '.join(absent)}")
        return lines + counts

    def left_out(self, clips: pd.DataFrame) -> pd.DataFrame:
        """Return the clips without a class or with an unreadable cell, with the reason in `why`; none if the published
        counts are right.
        """
        if self.parts:
            return pd.concat([part.left_out(own) for part, own in self._by_part(clips)], ignore_index=True)
        chosen = self.choose(clips)
        words = self._unreadable(clips)
        rest = clips[(words != "") | ~pd.MultiIndex.from_frame(clips[KEY]).isin(pd.MultiIndex.from_frame(chosen[KEY]))]
        if self.published and not self.differences(chosen, clips):
            rest = rest.iloc[:0]
        named = _names(rest).isin(list(self.exclude))
        label = rest[self.column].map(lambda cell: f"'{cell}' is not a label of protocol {self.name}" if cell else "")
        why = label.mask(label == "", f"no label: '{self.column}' is blank").mask(named, "protocol.exclude")
        unread = words[rest.index]
        why = why.mask(unread != "", "not an action unit: " + unread + " (protocol.read_as)")
        return rest.assign(why=why).reset_index(drop=True)

    def _unreadable(self, clips: pd.DataFrame) -> pd.Series:
        """Return the unreadable words of each clip's action-unit cell, '' for none or with another label column."""
        if not self.label_kind.is_multi:
            return pd.Series("", index=clips.index, dtype=object)
        if self.parts:
            return pd.concat([part._unreadable(own) for part, own in self._by_part(clips)]).reindex(clips.index)
        return as_meant(clips, self.read_as).map(lambda cell: ", ".join(parse(cell).unreadable))

    def _by_part(self, clips: pd.DataFrame) -> "list[tuple[Protocol, pd.DataFrame]]":
        return [(part, clips[clips["dataset"] == name]) for name, part in self.part_protocols().items()]

    def _require_named(self, clips: pd.DataFrame) -> None:
        for part, own in self._by_part(clips):
            part._require_named(own)
        if absent := sorted(set(self.exclude) - set(_names(clips))):
            raise UserError(
                f"protocol.exclude of {self.name} names clips that are not annotated: {', '.join(absent)}.\n"
                "  Expected 'subject/clip' as annotated; correct protocol.exclude, or set protocol.strict=false."
            )
        annotated = set(owners(clips))
        if unknown := sorted(set(self.untested) - annotated):
            raise UserError(
                f"protocol.untested of {self.name} names subjects that are not annotated: {', '.join(unknown)}.\n"
                f"  Annotated: {', '.join(sorted(annotated))}. "
                "Correct protocol.untested, or set protocol.strict=false."
            )


def _names(clips: pd.DataFrame) -> pd.Series:
    """Return each clip as 'subject/clip'."""
    return clips["subject"] + "/" + clips["clip"]
