"""Leave one subject out: a score is worth nothing unless these hold."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.splits import choose_fold, leave_one_subject_out, rows_under_test
from fdp_lightning.errors import UserError

SUBJECTS = st.lists(st.sampled_from(["01", "1", "010", "10", "006", "6", "spNO.1"]), min_size=2, max_size=40)


def table(subjects, datasets=None) -> pd.DataFrame:
    return pd.DataFrame({"dataset": datasets or ["casme2"] * len(subjects), "subject": subjects})


@given(SUBJECTS.filter(lambda subjects: len(set(subjects)) > 1))
def test_folds_test_every_clip_once_and_never_train_on_their_own_subject(subjects):
    clips = table(subjects).set_axis(range(100, 100 + len(subjects)))  # rows are places, not labels
    folds = leave_one_subject_out(clips)
    assert sorted(row for fold in folds for row in fold.test_rows) == list(range(len(clips)))
    assert [fold.name for fold in folds] == sorted(set(subjects))
    for fold in folds:
        assert set(clips["subject"].iloc[list(fold.test_rows)]) == {fold.name}
        assert fold.name not in set(clips["subject"].iloc[list(fold.train_rows)])
        assert sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))


@given(st.lists(st.tuples(st.sampled_from(["casme2", "samm"]), st.sampled_from(["01", "02"])), min_size=2))
def test_subjects_of_two_datasets_that_share_a_name_are_two_folds(owners):
    clips = table([subject for _, subject in owners], [dataset for dataset, _ in owners])
    if len(set(owners)) < 2:
        with pytest.raises(UserError):
            leave_one_subject_out(clips)
        return
    folds = leave_one_subject_out(clips)
    assert len(folds) == len(set(owners))
    for fold in folds:
        assert len({owners[row] for row in fold.test_rows}) == 1
        assert not {owners[row] for row in fold.test_rows} & {owners[row] for row in fold.train_rows}


@pytest.mark.parametrize("subjects", [["01"], ["01"] * 5, []])
def test_fewer_than_two_subjects_are_refused(subjects):
    with pytest.raises(UserError, match="at least two subjects"):
        leave_one_subject_out(table(subjects))


@given(SUBJECTS.filter(lambda subjects: len(set(subjects)) > 1), st.data())
def test_subjects_that_are_not_tested_train_every_fold_and_all_others_are_tested_once(subjects, data):
    untested = data.draw(st.lists(st.sampled_from([*subjects, "036"]), min_size=1))
    clips = table(subjects)
    if set(subjects) <= set(untested):
        with pytest.raises(UserError, match=r"protocol\.untested names every subject"):
            leave_one_subject_out(clips, untested)
        return
    folds = leave_one_subject_out(clips, untested)
    assert [fold.name for fold in folds] == sorted(set(subjects) - set(untested))
    tested = [row for row, subject in enumerate(subjects) if subject not in untested]
    assert rows_under_test(folds) == tested == sorted(row for fold in folds for row in fold.test_rows)
    for fold in folds:
        assert sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))


def test_subjects_that_differ_in_leading_zeros_only_are_two_folds():
    folds = leave_one_subject_out(table(["010", "10", "010"]))
    assert [(fold.name, fold.test_rows) for fold in folds] == [("010", (0, 2)), ("10", (1,))]


@pytest.mark.parametrize("asked", ["8", "10", None])
def test_a_fold_that_is_not_there_is_refused_with_those_that_are(asked):
    folds = leave_one_subject_out(table(["010", "011"]))
    with pytest.raises(UserError, match="010, 011") as caught:
        choose_fold(folds, asked)
    assert "fold=<subject>" in str(caught.value)


def test_a_fold_is_chosen_by_its_name():
    folds = leave_one_subject_out(table(["010", "011"]))
    assert choose_fold(folds, "011") is folds[1]
