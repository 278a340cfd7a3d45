"""Splits by subject, as pure functions with hard errors."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Fold:
    """One fold: `test_subject` is left out, all others train. `rows` are row numbers of the clip table."""

    name: str
    train_rows: tuple[int, ...]
    test_rows: tuple[int, ...]


def leave_one_subject_out(clips: pd.DataFrame, untested: Collection[str] = ()) -> list[Fold]:
    """One fold per subject, in the order of their names.

    A subject without a clip under the protocol is no fold.

    Args:
        clips: the protocol's clip table (columns dataset, subject and others).
        untested: subjects that train in every fold and have none of their own; names without a clip change nothing.

    Raises:
        UserError: fewer than two subjects, so that nothing is left to train on, or none that is tested.
    """
    several_datasets = clips["dataset"].nunique() > 1
    owner = clips["dataset"] + "_" + clips["subject"] if several_datasets else clips["subject"]
    names = sorted(owner.unique())
    if len(names) < 2:
        raise UserError(
            f"leave-one-subject-out needs at least two subjects; the clip table has {len(names)} ({', '.join(names)})."
        )
    tested = [name for name in names if name not in untested]
    if not tested:
        raise UserError(f"protocol.untested names every subject ({', '.join(names)}): nobody is left to test.")
    folds = []
    for name in tested:
        held_out = (owner == name).to_numpy()
        folds.append(Fold(name, tuple((~held_out).nonzero()[0]), tuple(held_out.nonzero()[0])))
    _assert_partition(folds, owner.isin(tested).to_numpy().nonzero()[0].tolist())
    return folds


def rows_under_test(folds: Sequence[Fold]) -> list[int]:
    """The rows of the clip table that some fold tests, ascending."""
    return sorted(int(row) for fold in folds for row in fold.test_rows)


def _assert_partition(folds: Sequence[Fold], rows: list[int]) -> None:
    """Each of these clips is tested exactly once and none trains its own fold: a score is worth nothing without this.

    Clips of subjects under test are meant; those of others are never tested.
    """
    if rows_under_test(folds) != rows:
        raise AssertionError("the folds do not test every clip exactly once")
    for fold in folds:
        if set(fold.train_rows) & set(fold.test_rows):
            raise AssertionError(f"fold {fold.name} trains on clips it is tested on")


def choose_fold(folds: list[Fold], name: str | None) -> Fold:
    """The fold of one subject; raises UserError with the names there are."""
    for fold in folds:
        if fold.name == name:
            return fold
    asked = f"there is no fold '{name}'" if name is not None else "no fold was chosen"
    raise UserError(f"{asked} (fold=<subject>). Subjects: {', '.join(fold.name for fold in folds)}")
