"""Subject-wise splits, as pure functions."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import names_of
from fdp_lightning.errors import UserError
from fdp_lightning.labels import LabelKind

ALL = "all"  # name of the split that trains on all subjects


@dataclass(frozen=True)
class Fold:
    """One fold of a split, as row numbers of the clip table.

    Attributes:
        name: held-out subject, dataset or part, or number of the fold.
        train_rows: rows to train on.
        test_rows: rows to test on.
        inner_rows: rows of the inner validation subjects, on which an epoch is chosen.
    """

    name: str
    train_rows: tuple[int, ...]
    test_rows: tuple[int, ...]
    inner_rows: tuple[int, ...] = ()


def make_folds(
    clips: pd.DataFrame,
    split: str = "loso",
    untested: Collection[str] = (),
    folds: int = 5,
    kind: LabelKind = LabelKind.SINGLE,
) -> list[Fold]:
    """Return the folds of a table with the class in `target`: leave-one-subject-out ('loso'), k folds of whole subjects
    ('kfold'), leave-one-dataset-out ('lodo'), or the dataset owners' split ('fixed'); raises UserError if the split is
    impossible.
    """
    if untested and split != "loso":
        raise UserError(f"protocol.untested needs protocol.split=loso, not {split}")
    if split == "loso":
        return leave_one_subject_out(clips, untested)
    if split == "kfold":
        return grouped_k_fold(clips, folds, kind)
    return leave_one_dataset_out(clips) if split == "lodo" else published_split(clips)


def leave_one_subject_out(clips: pd.DataFrame, untested: Collection[str] = ()) -> list[Fold]:
    """Return one fold per subject with clips in the table, sorted by name.

    `untested` subjects are in every training set but have no fold; unknown names are ignored. Raises UserError if there
    are fewer than two subjects, or none is tested.
    """
    owner = owners(clips)
    names = sorted(owner.unique())
    if len(names) < 2:
        raise UserError(
            f"leave-one-subject-out needs at least two subjects; the clip table has {len(names)} ({', '.join(names)})."
        )
    tested = [name for name in names if name not in untested]
    if not tested:
        raise UserError(f"protocol.untested names every subject ({', '.join(names)}): none is left to test.")
    return _partition([_fold(name, owner == name) for name in tested], owner, owner.isin(tested))


def grouped_k_fold(clips: pd.DataFrame, folds: int, kind: LabelKind = LabelKind.SINGLE) -> list[Fold]:
    """Return k folds of whole subjects, with the classes spread over them as evenly as subjects allow.

    Uses scikit-learn's StratifiedGroupKFold without shuffling. A multi-label clip counts once for each class it shows,
    or for an extra class if it shows none (ours). Raises UserError unless k is 2 to the number of subjects.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second, and other splits do not need it

    owner = owners(clips)
    subjects = owner.nunique()
    if not 2 <= folds <= subjects:
        raise UserError(f"protocol.folds is {folds}; expected 2 to {subjects}, the number of subjects")
    # One row for each class of a clip; grouping keeps subjects whole.
    names = names_of(clips["target"].reset_index(drop=True), kind)
    of_row = owner.iloc[names.index].to_numpy()
    classes = names.astype("category").cat.codes.to_numpy()
    if np.bincount(classes).max() < folds:  # no class can be in every fold, so there is nothing to stratify
        classes = np.zeros_like(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with fewer clips than folds
        held_out = [test for _, test in StratifiedGroupKFold(folds).split(classes, classes, of_row)]
    k_folds = [
        _fold(f"{number:0{len(str(folds))}d}-of-{folds}", np.isin(np.arange(len(clips)), names.index[test]))
        for number, test in enumerate(held_out, start=1)
    ]
    return _partition(k_folds, owner, np.ones(len(clips), dtype=bool))


def leave_one_dataset_out(clips: pd.DataFrame) -> list[Fold]:
    """Return one fold per dataset of a composite, sorted by name; raises UserError if there is only one dataset."""
    names = sorted(clips["dataset"].unique())
    if len(names) < 2:
        raise UserError(f"leave-one-dataset-out needs at least two datasets; the clips are from {', '.join(names)}.")
    folds = [_fold(name, clips["dataset"] == name) for name in names]
    return _partition(folds, owners(clips), np.ones(len(clips), dtype=bool))


def published_split(clips: pd.DataFrame) -> list[Fold]:
    """Return one fold per published test part, trained on the part 'train'; raises UserError if either is missing."""
    parts = clips["split"]
    tested = sorted(set(parts) - {"train", ""})
    if not tested or not (parts == "train").any():
        found = ", ".join(sorted(set(parts) - {""})) or "none"
        raise UserError(
            f"protocol.split=fixed needs a part 'train' and another one; the annotation has: {found}.\n"
            "  Put the owners' workbook of each part into data.root, or choose protocol.split=loso."
        )
    folds = [Fold(name, _rows(parts == "train"), _rows(parts == name)) for name in tested]
    return _partition(folds, owners(clips), parts.isin(tested))


def with_inner_subjects(fold: Fold, clips: pd.DataFrame, subjects: int, seed: int) -> Fold:
    """Return the fold with this number of training subjects moved to `inner_rows` as inner validation subjects (ours).

    Of 64 random choices, the one whose class shares are nearest to those of all training clips (total variation
    distance) is used. Raises UserError if no training subject would be left.
    """
    if subjects == 0:
        return fold
    train = np.array(fold.train_rows)
    owner = owners(clips).to_numpy()[train]
    names = np.unique(owner)
    if not 0 < subjects < len(names):
        raise UserError(
            f"selection.inner_subjects is {subjects}; fold {fold.name} trains on {len(names)} subjects: expected "
            f"0 to {len(names) - 1}"
        )
    counts = pd.crosstab(owner, clips["target"].to_numpy()[train]).loc[names].to_numpy()
    shares = counts.sum(axis=0) / counts.sum()
    generator = np.random.default_rng(seed)
    draws = [generator.choice(len(names), subjects, replace=False) for _ in range(64)]
    drawn = np.stack([counts[draw].sum(axis=0) for draw in draws])
    distances = np.abs(drawn / drawn.sum(axis=1, keepdims=True) - shares).sum(axis=1)
    inner = np.isin(owner, names[draws[int(distances.argmin())]])
    return replace(fold, train_rows=tuple(train[~inner].tolist()), inner_rows=tuple(train[inner].tolist()))


def owners(clips: pd.DataFrame) -> pd.Series:
    """Return the subject of each clip, prefixed by its dataset if there are several."""
    several = clips["dataset"].nunique() > 1
    return clips["dataset"] + "_" + clips["subject"] if several else clips["subject"]


def rows_under_test(folds: Sequence[Fold]) -> list[int]:
    """Return the rows of the clip table that any fold tests, ascending."""
    return sorted(int(row) for fold in folds for row in fold.test_rows)


def everybody(clips: pd.DataFrame) -> Fold:
    """Return a fold that trains on all clips, regardless of the owners' split, and tests none."""
    return Fold(ALL, tuple(range(len(clips))), ())


def choose_fold(folds: list[Fold], name: str | None) -> Fold:
    """Return the fold of that name; raises UserError listing the names if there is none."""
    for fold in folds:
        if fold.name == name:
            return fold
    asked = f"there is no fold '{name}'" if name is not None else "no fold was chosen"
    raise UserError(f"{asked} (fold=<name>). Folds: {', '.join(fold.name for fold in folds)}")


def _fold(name: str, held_out: "np.ndarray | pd.Series") -> Fold:
    """Return the fold that tests the clips in the mask `held_out` and trains on all others."""
    return Fold(str(name), _rows(~held_out), _rows(held_out))


def _rows(mask: "np.ndarray | pd.Series") -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())


def _partition(folds: list[Fold], owner: pd.Series, tested: "np.ndarray | pd.Series") -> list[Fold]:
    """Return the folds, asserting that they test each of the `tested` clips exactly once and that none trains on a
    subject it tests.
    """
    if rows_under_test(folds) != list(_rows(tested)):
        raise AssertionError("the folds do not test every clip exactly once")
    for fold in folds:
        if set(owner.iloc[list(fold.train_rows)]) & set(owner.iloc[list(fold.test_rows)]):
            raise AssertionError(f"fold {fold.name} trains on a subject it tests")
    return folds
