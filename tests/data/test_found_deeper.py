"""Copies unpacked one level off, and subjects with a word before the number: found, said, and never mixed up."""

import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook
from tests.data import layouts
from tests.data.layouts import WRITERS, missing_frames

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.clips import COLUMNS
from fdp_lightning.data.checks.clips import folder_problems, list_folders
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.workbook import padded
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly


@pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)
def test_a_root_above_the_copy_finds_every_frame_and_says_where(dataset: type[FaceDataset], tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path / "a" / "b")
    found, at_home = dataset(tmp_path), dataset(tmp_path / "a" / "b")
    clips = found.clips()
    assert missing_frames(clips) == []
    assert list(clips.columns) == COLUMNS and set(clips["dataset"]) == {dataset.name}
    assert found.found_deeper().startswith(str(tmp_path / "a" / "b")) and at_home.found_deeper() == ""
    kinds = {problem.kind for problem in folder_problems(found, clips, list_folders(clips["folder"]))}
    assert kinds - {"unlabelled_folder"} == {"found_deeper"}  # frames outside of clips are no problem of a recording
    found.require_frames()
    pd.testing.assert_frame_equal(at_home.clips(), clips)


@pytest.mark.parametrize(
    ("dataset", "folder"), [(CASME2, "CASME2_RAW_selected"), (FourDME, "gray_micro"), (MMEW, "Micro_Expression")]
)
def test_a_folder_within_one_of_its_name_is_entered(dataset: type[FaceDataset], folder: str, tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path)
    (tmp_path / folder).rename(tmp_path / "inner")
    (tmp_path / folder).mkdir()
    (tmp_path / "inner").rename(tmp_path / folder / folder)
    found = dataset(tmp_path)
    assert missing_frames(found.clips()) == []
    assert found.found_deeper() == str(tmp_path / folder / folder)


def test_two_places_that_may_be_meant_are_not_chosen_between(tmp_path: Path) -> None:
    layouts.samm(tmp_path / "SAMM")
    shutil.copytree(tmp_path / "SAMM" / "006", tmp_path / "SAMM_CROP" / "006")
    with pytest.raises(UserError) as caught:
        SAMM(tmp_path).clips()
    for part in (str(tmp_path / "SAMM"), str(tmp_path / "SAMM_CROP"), "data.root"):
        assert part in str(caught.value)


def test_a_copy_without_a_frame_is_one_message_and_not_one_a_clip(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    for folder in ("006", "011"):
        shutil.rmtree(tmp_path / folder)
    with pytest.raises(UserError, match="holds no folder of a subject"):
        SAMM(tmp_path).require_frames()
    clips = SAMM(tmp_path).clips()
    (problem,) = folder_problems(SAMM(tmp_path), clips, list_folders(clips["folder"]))
    assert (problem.clip, problem.kind, problem.fatal) == ("samm", "missing_folder", True)


def test_a_run_says_where_it_found_frames(samm_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "SAMM").symlink_to(samm_root)
    config = configuration(
        "data=samm", f"data.root={tmp_path / 'above'}", f"data.store={tmp_path / 'stores'}", "protocol.strict=false",
        "data.faces.method=none", "data.workers=1",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert len(ready_data(config).clips)
    assert str(tmp_path / "above" / "SAMM") in caplog.text


@pytest.mark.parametrize(
    "cells",
    [
        ["sub01", "sub02"], ["Sub 1", "SUB 02"], ["Subject_1", "subject-2"], ["S1", "2"], ["p01", "p02.0"],
        ["No. 1", "No.2"], ["#1", "#2"], ["被试1", "被试2"], ["１", "0002"], ["1号", "2号"],
    ],
)  # fmt: skip
def test_a_word_before_a_subjects_number_is_cut_off(cells: list[str]) -> None:
    assert [*padded(pd.Series(cells), 2)] == ["01", "02"]
    assert [*padded(pd.Series(["A1", "B1"]), 2)] == ["A1", "B1"]  # two subjects


@pytest.mark.parametrize("dataset", [d for d in WRITERS if d not in (FourDME, DFME)], ids=lambda dataset: dataset.name)
def test_subjects_with_a_word_before_the_number_have_their_frames(dataset: type[FaceDataset], tmp_path: Path) -> None:
    header = {SAMM: 14, CASMESquared: 0}.get(dataset, 1)
    WRITERS[dataset](tmp_path)
    expected = dataset(tmp_path).clips()
    for book in tmp_path.glob("*.xlsx"):
        workbook = load_workbook(book)
        cells = workbook["label" if dataset is CASME3A else workbook.sheetnames[0]]
        for (cell,) in cells.iter_rows(min_row=header + 1, max_col=1):
            if digits := "".join(filter(str.isdigit, str(cell.value or ""))):
                cell.value = f"Subject {digits}"
        workbook.save(book)
    pd.testing.assert_frame_equal(dataset(tmp_path).clips(), expected)
    assert missing_frames(dataset(tmp_path).clips()) == []
